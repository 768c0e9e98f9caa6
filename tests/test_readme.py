"""Every command line of README and CONTRIBUTING: its program exists, and so does every flag; the cheap ones are run."""

import functools
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser

import commands
import pytest
import synthetic_records

from demo import clips

ROOT = pathlib.Path(__file__).parents[1]

DOCUMENTS = ('README.md', 'CONTRIBUTING.md')
OTHERS = ('pip', '.venv/bin/pip', 'tensorboard')  # programs that are not ours
NEEDS_MORE = ('convert', 'download', 'serve')  # a checkpoint, a network, somebody to ask
NOT_AGAIN = (
  'runs/small',
  'clips_5s',
  'soundnet',
  'esc10',
  'audioset',
  'vggish',
  'yamnet.keras',
)  # in lines whose kind other tests run, at length


def blocks(document, language):
  return re.findall(rf'^```{language}\n(.*?)^```', (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)


def command_lines():
  """[(document, words)] of all fenced sh blocks."""
  return [
    (document, shlex.split(line))
    for document in DOCUMENTS
    for block in blocks(document, 'sh')
    for line in block.replace('\\\n', ' ').splitlines()
    if line.strip()
  ]


def module_of(words):
  """The module that a command line runs, None for other programs."""
  return words[2] if words[:2] == ['python', '-m'] else None


@functools.cache
def help_text(module):
  return commands.run(module, '--helpfull', cwd=ROOT).stdout


def check_flags(module, arguments):
  for argument in arguments:
    if argument.startswith('--') and not argument.startswith('--flagfile='):
      name = argument[2:].split('=')[0]
      assert re.search(rf'^  --(\[no\])?{name}:', help_text(module), re.MULTILINE), f'{module} has no flag --{name}'


@pytest.mark.parametrize(
  'document, words', command_lines(), ids=lambda x: ' '.join(x)[:60] if isinstance(x, list) else x
)
def test_command_line(document, words):
  module = module_of(words)
  if module:
    check_flags(module, words[3:])
    for argument in words[3:]:
      if argument.startswith('--flagfile='):
        assert (ROOT / argument.partition('=')[2]).is_file()
  elif words[0].startswith('scripts/'):
    assert (ROOT / words[0]).stat().st_mode & 0o111
  else:
    assert words[0] in OTHERS


def test_the_map_of_clips_is_drawn_from_features_of_clips_alone():
  given = [(words[2:], dict(word.partition('=')[::2] for word in words)) for _, words in command_lines()]
  (drawn,) = [flags for words, flags in given if words[1:2] == ['tsne']]
  made = [flags for words, flags in given if words[:1] == ['audionet_tf.features']]
  tables = [flags.get('--clips') for flags in made if flags['--output'] == drawn['--features']]
  assert tables == [drawn['--clips']]  # not of a file that the table does not list


@pytest.mark.parametrize(
  'path', ['flags.txt', *(f'scripts/flags/{path.name}' for path in sorted((ROOT / 'scripts/flags').glob('*.flags')))]
)
def test_flagfiles(path):
  lines = [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith('#')]
  assert lines
  check_flags('audionet_tf.train', lines)


def test_files_and_programs_that_the_documents_name():
  config = ConfigParser()
  config.read(ROOT / 'setup.cfg')
  programs = set(re.findall(r'^(\S+) =', config['options.entry_points']['console_scripts'], re.MULTILINE))
  readme = (ROOT / 'README.md').read_text()
  assert set(re.findall(r'`(audionet-\w+)`', readme)) == programs
  for document in (*DOCUMENTS, 'CHANGELOG.md'):
    for link in re.findall(r'\]\(([\w./-]+)\)', (ROOT / document).read_text()):
      assert (ROOT / link).exists(), f'{document} links to {link}'
  tomllib.loads((ROOT / 'pyproject.toml').read_text())


@pytest.mark.parametrize(
  'path, extras_left_open', [('constraints.txt', {'litert'}), ('constraints-latest.txt', {'torch'})]
)
def test_constraints_hold_every_dependency_and_no_place(path, extras_left_open):
  lines = (ROOT / path).read_text().splitlines()
  pins = [line for line in lines if line and not line.startswith('#')]
  assert [line for line in pins if not re.fullmatch(r'[\w.-]+==[\w.]+', line)] == []
  pinned = {line.partition('==')[0].lower().replace('_', '-') for line in pins}
  config = ConfigParser()
  config.read(ROOT / 'setup.cfg')
  extras = config['options.extras_require']
  parts = [config['options']['install_requires'], *(extras[name] for name in set(extras) - extras_left_open)]
  wanted = '\n'.join(parts)
  names = {re.split(r'[<>=;]', line)[0].lower().replace('_', '-') for line in wanted.split('\n') if line}
  assert names <= pinned


@pytest.mark.slow
def test_readme_runs_from_clips_to_figures(tmp_path):
  """The commands in their order, on two clips, with a small teacher and few epochs; then the serving example."""
  (tmp_path / 'clips').mkdir()
  for thing in ('kettle', 'drum'):
    clips.write(tmp_path / f'clips/{thing}.mp4', clips.clip(thing, 0), 1)
  clips.write(tmp_path / 'cat.mp4', clips.clip('kettle', 1), 1)
  teacher = synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  small = {
    'tfrecords.build': ['--image_size=32'],
    'audionet_tf.train': [f'--teacher={teacher}', '--epochs=50', '--learning_rate=1e-4'],
  }
  (tmp_path / 'flags.txt').write_text((ROOT / 'flags.txt').read_text())
  (tmp_path / 'groups.csv').write_text('category,class_name\none,class 1\ntwo,class 2\n')
  (tmp_path / 'videos.csv').write_text('path,category\ncat.mp4,one\n')
  for document, words in command_lines():
    module = module_of(words)
    ours = document == 'README.md' and module and module.split('.')[-1] not in NEEDS_MORE
    if ours and not any(part in word for part in NOT_AGAIN for word in words):
      child = commands.run(module, *words[3:], *small.get(module, []), cwd=tmp_path)
      assert child.returncode == 0, f'{shlex.join(words)}: {child.stderr[-1500:]}'
  for name in ('heard/cat.mp4.csv', 'clips.json', 'confusion.png', 'figures/kl.png', 'figures/cat.png'):
    assert (tmp_path / name).stat().st_size
  assert (tmp_path / 'exports/clips/1/model.tflite').stat().st_size
  (serving,) = blocks('README.md', 'python')
  child = subprocess.run([sys.executable, '-c', serving], cwd=tmp_path, capture_output=True, text=True)
  assert child.returncode == 0 and "b'class" in child.stdout, child.stderr[-1500:]
