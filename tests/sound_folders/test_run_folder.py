"""A run on labelled sounds never removes or overwrites what it did not make."""

import json

import pytest

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.sound_folders import labelled, pipeline, report_page, run_folder

NAMES = [f'{label}/{name}.wav' for label in ('cat', 'dog') for name in 'abcd']
HEADER = 'path,category,fold,recording\n'
SETTINGS = json.dumps({'student': 'audionet', 'teachers': []})


def make(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name)
  return folder


def content(folder):
  return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def never(*arguments, **named):
  raise AssertionError('built or trained')


def run(sounds, run_dir, resume=False, build=never):
  pipeline.run(sounds, run_dir, build, never, {'student': 'audionet'}, resume=resume)


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize(
  ('sounds', 'run_dir'),
  [('sounds', ''), ('sounds/train', ''), ('', 'runs/x'), ('sounds/train', 'sounds/train'), ('link', 'sounds/runs')],
)
def test_sounds_and_run_do_not_overlap(tmp_path, sounds, run_dir, resume):
  make(tmp_path, *(f'sounds/train/{name}' for name in NAMES), 'report/mine.txt')
  (tmp_path / 'link').symlink_to(tmp_path / 'sounds')
  (tmp_path / 'sounds.csv').write_text(HEADER)
  before = content(tmp_path)
  with pytest.raises(UserError, match='overlaps with the sounds'):
    run(tmp_path / sounds, tmp_path / run_dir, resume)
  assert content(tmp_path) == before


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('notes.txt', 'mine', 'holds something that is no run'),
    ('sounds.csv', 'name,label\n', 'holds something that is no run'),
    ('sounds/train/dog/a.wav', 'mine', 'holds something that is no run'),
    ('sounds.csv', HEADER, 'not a link that the run made'),
  ],
)
def test_folders_that_are_no_run_are_kept(tmp_path, name, text, message, resume):
  make(tmp_path / 'set', *NAMES)
  make(tmp_path / 'run', name, 'sounds/train/dog/b.wav', 'report/index.html')
  (tmp_path / 'run' / name).write_text(text)
  before = content(tmp_path)
  with pytest.raises(UserError, match=message):
    run(tmp_path / 'set', tmp_path / 'run', resume)
  assert content(tmp_path) == before


def test_settings_of_another_program_do_not_make_a_run(tmp_path):
  make(tmp_path / 'set', *NAMES)
  make(tmp_path / 'run', 'settings.json')
  (tmp_path / 'run/settings.json').write_text('{"editor.tabSize": 2}')
  with pytest.raises(UserError, match='holds something that is no run'):
    run(tmp_path / 'set', tmp_path / 'run', resume=True)


@pytest.mark.parametrize('stage', ['', 'head', 'tuned'])
def test_finished_runs_are_not_begun_again(tmp_path, stage):
  make(tmp_path / 'set', *NAMES)
  make(tmp_path / 'run', f'{stage}/settings.json', 'sounds.csv')
  (tmp_path / 'run' / stage / 'settings.json').write_text(SETTINGS)
  (tmp_path / 'run/sounds.csv').write_text(HEADER)
  with pytest.raises(UserError, match='holds a run already; go on with --resume'):
    run(tmp_path / 'set', tmp_path / 'run')


def test_the_run_is_locked_while_records_are_built(tmp_path):
  make(tmp_path / 'set', *NAMES)

  def build(*arguments, **named):
    with pytest.raises(UserError, match='another training is running there'):
      run(tmp_path / 'set', tmp_path / 'run')
    raise KeyError('built')

  for _ in range(2):  # a build that was interrupted begins again
    with pytest.raises(KeyError, match='built'):
      run(tmp_path / 'set', tmp_path / 'run', build=build)
  with files.locked(tmp_path / 'run', wait=False):
    pass


def test_links_are_replaced_and_what_they_lead_to_is_kept(tmp_path):
  make(tmp_path / 'set', *NAMES)
  sounds = labelled.read(tmp_path / 'set')
  run_folder.link(tmp_path / 'links', sounds)
  run_folder.link(tmp_path / 'links', sounds[:1])
  assert list((tmp_path / 'links').rglob('*.wav')) == [tmp_path / 'links/cat/a.wav']
  assert (tmp_path / 'links/cat/a.wav').read_text() == 'cat/a.wav' and len(content(tmp_path / 'set')) == len(NAMES)
  assert not (tmp_path / 'links/dog').exists()


def test_a_report_of_somebody_else_is_kept(tmp_path):
  make(tmp_path / 'report', 'index.html')
  measured = {'accuracy': 1, 'clips': 0, 'categories': ['a'], 'confusion': [[0]], 'results': []}
  with pytest.raises(UserError, match='holds something else'):
    report_page.write(tmp_path / 'report', 'title', ['first'], measured)
  assert (tmp_path / 'report/index.html').read_text() == 'index.html'
