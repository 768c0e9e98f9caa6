"""Model cards: what they say is in the run, and the Hub's front matter is YAML."""

import json
import pathlib

import audionets
import commands
import hub_stand_in
import pytest
import yaml

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file
from audionet_tf.saved_model import card

TRAINED = pathlib.Path(__file__).parents[1] / 'artifacts/trained'
FIGURES = {
  'model': 'x',
  'clips': {'source': '/home/me/clips.csv', 'accuracy': 0.8125, 'clips': 80, 'unreadable': [], 'confusion': [[1]]},
  'labels': {'source': 'labels.csv', 'clips': 9, 'means': {'average_precision': 0.5}},
}


def parts(path):
  """(front matter, text) of a card."""
  _, front, body = path.read_text(encoding='utf-8').split('---\n', 2)
  return yaml.safe_load(front), body


def test_card_of_a_run(tmp_path):
  model, settings = student_file.load(TRAINED / 'student.keras')
  card.write(tmp_path / 'README.md', model, settings, TRAINED, FIGURES, 'apache-2.0', ['model.tflite'])
  front, body = parts(tmp_path / 'README.md')
  assert (front['license'], front['library_name'], front['pipeline_tag']) == (
    'apache-2.0',
    'keras',
    'audio-classification',
  )
  (result,) = front['model-index'][0]['results']
  assert result['metrics'] == [{'type': 'accuracy', 'value': 0.8125}] and result['dataset']['name'] == 'clips.csv'
  run = json.loads((TRAINED / 'settings.json').read_text())
  last = json.loads((TRAINED / 'metrics.jsonl').read_text().splitlines()[-1])
  for said in (
    f'{model.count_params():,} parameters',
    f'{run["records"]["windows"]} windows, records {run["records"]["digest"]}',
    f'| epochs | {run["epochs"]} |',
    f'kl {last["kl"]:.4g}',
    '| accuracy | 0.8125 |',
    '| average_precision | 0.5 |',
    '`model.tflite`',
    'No decision about safety',
    *(f'`{name}`' for names in settings.classes.values() for name in names),
  ):
    assert said in body, said
  assert '/home/me' not in body and 'unreadable' not in body
  for teacher in settings.teachers.values():
    assert pathlib.Path(teacher['source']).name in body and teacher['digest'][:16] in body


def test_figures_may_be_the_report_on_held_out_sounds(tmp_path):
  """report.json of `train --sounds`, where `clips` is a number."""
  report = {'accuracy': 0.75, 'clips': 8, 'unreadable': [], 'confusion': [[1]], 'classes': {'dog': {'clips': 8}}}
  (tmp_path / 'report.json').write_text(json.dumps(report))
  classes = {'labels': ['cat', 'dog']}
  figures = card.read_figures(tmp_path / 'report.json')
  card.write(tmp_path / 'README.md', audionets.student(classes), audionets.settings_for(classes), None, figures)
  front, body = parts(tmp_path / 'README.md')
  (result,) = front['model-index'][0]['results']
  assert result['metrics'] == [{'type': 'accuracy', 'value': 0.75}] and result['dataset']['name'] == 'held-out sounds'
  assert 'On clips, `held-out sounds`' in body and '| accuracy | 0.75 |' in body and 'On classes' not in body


@pytest.mark.parametrize('clips', [3, [1], {'accuracy': 'high'}, {'accuracy': None}])
def test_figures_without_an_accuracy_make_no_index(tmp_path, clips):
  classes = {'labels': ['cat', 'dog']}
  figures = {'clips': clips, 'labels': {'source': 'x', 'means': {'average_precision': 0.5}}}
  card.write(tmp_path / 'README.md', audionets.student(classes), audionets.settings_for(classes), None, figures)
  front, body = parts(tmp_path / 'README.md')
  assert 'model-index' not in front and '| average_precision | 0.5 |' in body


def test_what_is_not_known_is_said(tmp_path):
  classes = {'teacher': ['dog | "bark"\n', 'unknown']}
  card.write(tmp_path / 'README.md', audionets.student(classes), audionets.settings_for(classes))
  front, body = parts(tmp_path / 'README.md')
  assert 'license' not in front and 'model-index' not in front
  assert 'Not stated.' in body and 'None were given.' in body and 'should be `unknown`' in body
  assert '## Data' not in body and '## Teachers' not in body and '`dog | "bark"`' in body


def test_card_of_the_starter_has_what_its_own_says(tmp_path):
  classes = {'category': ['dog', 'unknown']}
  (tmp_path / 'card.md').write_text(
    '# In the box\n\nTrained on x.\n\n## Figures\n\n| a |\n|---|\n\n## Authors\n\nHer and him.\n'
  )
  card.write(tmp_path / 'README.md', audionets.student(classes), audionets.settings_for(classes), tmp_path)
  _, body = parts(tmp_path / 'README.md')
  for said in ('## Data and training\n\nTrained on x.\n', '## Figures\n\n| a |\n', '## Authors\n\nHer and him.'):
    assert said in body, said
  assert 'None were given' not in body and 'In the box' not in body


@pytest.mark.parametrize('means', [[1.0], 'x', None, {'a': [1]}])
def test_figures_that_somebody_has_edited(tmp_path, means):
  (tmp_path / 'figures.json').write_text(json.dumps({'labels': {'clips': 9, 'means': means}}))
  assert '| clips | 9 |' in card.shown_figures(card.read_figures(tmp_path / 'figures.json'))
  (tmp_path / 'figures.json').write_text('[' * 100_000)
  with pytest.raises(UserError, match='not figures of'):
    card.read_figures(tmp_path / 'figures.json')
  assert card.last_epoch(tmp_path / 'figures.json') == {}


@pytest.mark.long
def test_export_to_the_hub_and_back(tmp_path):
  """With a stand-in for its library: what export uploads is what infer takes."""

  def run(*words):
    done = hub_stand_in.run(tmp_path / 'hub', *map(str, words))
    assert done.returncode == 0, done.stderr
    return done.stdout

  printed = run('audionet_tf.export', f'--model={TRAINED}', '--output=hf://me/colours', '--license=mit')
  assert printed == 'hf://me/colours\n'
  there = tmp_path / 'hub/me/colours'
  files = {str(path.relative_to(there)) for path in there.rglob('*') if path.is_file()}
  assert files >= {'README.md', 'student.keras', 'student.json', 'export/1/saved_model.pb'} and '.lock' not in files
  front, _ = parts(there / 'README.md')
  assert front['license'] == 'mit'
  sound = TRAINED.parent / 'sound.wav'
  assert run('audionet_tf.infer', '--model=hf://me/colours', sound) == run(
    'audionet_tf.infer', f'--model={TRAINED}', sound
  )


def test_command_writes_it_into_the_version(tmp_path):
  (tmp_path / 'figures.json').write_text(json.dumps(FIGURES))
  flags = ['--card', f'--figures={tmp_path}/figures.json', '--license=cc-by-4.0']
  done = commands.run('audionet_tf.export', f'--model={TRAINED}', f'--output={tmp_path}/out', *flags)
  assert done.returncode == 0, done.stderr
  front, body = parts(tmp_path / 'out/1/README.md')
  assert front['license'] == 'cc-by-4.0' and '| accuracy | 0.8125 |' in body
  assert '"README.md"' in (tmp_path / 'out/1/assets.extra/checksums.json').read_text()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--license=mit'], '--license goes with --card'),
    (['--figures=x.json'], '--figures goes with --card'),
    (['--card', '--figures=nowhere.json'], 'nowhere.json: no such file'),
    (['--output=hf://dogs'], 'expected is hf://user/repository'),
  ],
)
def test_mistakes_are_one_line(arguments, message):
  done = commands.run('audionet_tf.export', f'--model={TRAINED}', '--output=out', *arguments)
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert message in done.stderr
