"""Flag files on the command line: presets by name, and the note about flags that a file overrides."""

import importlib
import os
import re
import threading

import commands
import pytest

from audionet_tf.core import cli, flagfiles
from audionet_tf.core.errors import UserError

NAMES = ['best', 'demo', 'joined', 'labels_soundnet5', 'labels_soundnet8', 'logmel_cnn', 'mixtures', 'paper']
importlib.import_module('audionet_tf.train')  # defines the flags


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The current folder, with a flag file."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'my.txt').write_text('# mine\n--teacher=vgg16\n--epochs=7\n--nonesterov\n--embeddings=a.tfrecord\n')
  return tmp_path


def test_presets_are_found_by_name(folder):
  assert flagfiles.preset_names() == [
    *NAMES,
    'soundnet5',
    'soundnet8',
    'sounds',
    'sounds_head',
    'sounds_tune',
    'transfer_soundnet8',
  ]
  best = f'--flagfile={flagfiles.preset_path("best")}'
  for words in (
    ['--preset=best'],
    ['--preset', 'best'],
    ['--flagfile=best'],
    ['--flagfile=best.flags'],
    ['-preset=best'],
  ):
    assert flagfiles.resolved(['train', *words, '--epochs=3']) == ['train', best, '--epochs=3']
  (folder / 'best').write_text('--epochs=9\n')
  assert flagfiles.resolved(['train', '--flagfile=best']) == ['train', '--flagfile=best']  # a file comes first
  assert flagfiles.resolved(['train', '--preset=best']) == ['train', best]
  assert flagfiles.resolved(['train', '--', '--preset=best']) == ['train', '--', '--preset=best']
  for word in ('--preset=bset', '--flagfile=bset', '--flagfile=none/best', '--preset=my.txt', f'--flagfile={folder}'):
    with pytest.raises(UserError, match=f'no such flag file or preset; presets are {", ".join(NAMES)}'):
      flagfiles.resolved(['train', word])


@pytest.mark.parametrize(
  ('words', 'note'),
  [
    ('--teacher=x --flagfile=my.txt', '--flagfile=my.txt comes after --teacher=x and overrides it; put it first'),
    ('--epochs 3 --nesterov --flagfile my.txt', 'after --epochs=3, --nesterov and overrides them'),
    ('--epochs=3 --preset=best', 'note: --preset=best comes after --epochs=3 and overrides it'),
    ('--flagfile=my.txt --teacher=x', None),
    ('--teacher=vgg16 --flagfile=my.txt', None),  # the same value
    ('--epochs=3 --flagfile=my.txt --epochs=4', None),
    ('--embeddings=b.tfrecord --flagfile=my.txt', None),  # both count
    ('--student=yamnet --flagfile=my.txt', None),
  ],
)
def test_overridden_flags_are_noted(folder, words, note):
  argv = flagfiles.resolved(['train', *words.split()])
  line = flagfiles.override_note(argv, flagfiles.expanded(argv)[1])
  assert line is None if note is None else note in line


def test_the_note_and_the_list_of_presets_are_one_line_each(folder):
  done = commands.run('audionet_tf.train', '--epochs=3', '--flagfile=my.txt', '--records=none', cwd=folder)
  note, error = done.stderr.splitlines()
  assert note.startswith('note: --flagfile=my.txt comes after --epochs=3') and error.startswith('error: ')
  done = commands.run('audionet_tf.train', '--preset=bset')
  assert done.returncode == 1 and done.stderr.startswith('error: bset: no such flag file or preset; presets are best, ')


@pytest.mark.parametrize('flag_file', ['pipe', 'names_it.txt', 'names_that.txt'])
def test_a_flag_file_that_is_a_pipe_is_read_once(folder, flag_file):
  """A second time it would be waited for, for ever."""
  os.mkfifo(folder / 'pipe')
  (folder / 'names_it.txt').write_text('--teacher=x\n--flagfile=pipe\n')
  (folder / 'names_that.txt').write_text('--flagfile=names_it.txt\n')
  text = '--records=none\n--run_dir=run\n--epochs=4\n'
  writer = threading.Thread(target=(folder / 'pipe').write_text, args=(text,), daemon=True)
  writer.start()
  done = commands.run('audionet_tf.train', '--epochs=3', f'--flagfile={flag_file}', cwd=folder, timeout=60)
  note, error = done.stderr.splitlines()
  assert done.returncode == 1 and error.startswith('error: none: ')
  assert note == f'note: --flagfile={flag_file} comes after --epochs=3 and overrides it; put it first'


@pytest.mark.parametrize(
  ('words', 'script'),
  [
    ('--preset=demo', 'scripts/demo'),
    ('--preset=mixtures --epochs=3', 'scripts/benchmark_mixtures --data=FOLDER'),
    ('--preset=labels_soundnet8', 'scripts/benchmark_transfer --rows=labels8 --data=FOLDER --videos=FOLDER'),
    ('--preset=best', None),
    ('--preset=demo --flagfile=my.txt', None),  # the last file counts
    ('--epochs=3', None),
  ],
)
def test_presets_of_scripts_name_the_script_that_makes_their_records(folder, words, script):
  assert flagfiles.script(flagfiles.resolved(['train', *words.split()])) == script


def test_missing_records_of_a_preset_name_what_makes_them(folder):
  done = commands.run('audionet_tf.train', '--preset=demo', cwd=folder)
  assert done.returncode == 1 and done.stderr.startswith('error: runs/demo/records/train: no records here')
  assert done.stderr.endswith(': scripts/demo\n')


@pytest.mark.parametrize(
  ('content', 'message'),
  [(b'--epochs=3\n--run_dir=caf\xe9\n', 'is not UTF-8 text: .* at byte 24'), (b'--' + b'x' * 5000, 'a name too long')],
)
def test_flag_files_that_absl_fails_on_are_one_line(tmp_path, capsys, content, message):
  path = tmp_path / 'x.flags'
  path.write_bytes(content)
  with pytest.raises(SystemExit) as caught:
    cli.parse(str, ['train', f'--flagfile={path}'])
  shown = capsys.readouterr().err
  assert caught.value.code == 1 and re.search(message, shown) and shown.count('\n') == 1
