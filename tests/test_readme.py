"""Command lines of README, CONTRIBUTING and docs: every program exists, and so does every flag; flag files; links."""

import functools
import itertools
import pathlib
import re
import tomllib
from configparser import ConfigParser

import commands
import documents
import pytest

from audionet_tf.core import flagfiles

ROOT = pathlib.Path(__file__).parents[1]
OTHERS = ('pip', '.venv/bin/pip', 'tensorboard', 'curl', 'docker', 'mkdocs', 'find', 'rm')  # programs that are not ours


@functools.cache
def help_text(module):
  return commands.run(module, '--helpfull', cwd=ROOT).stdout


def check_flags(module, arguments):
  own = itertools.takewhile(lambda argument: argument != '--', arguments)  # options behind it are Beam's
  for argument in own:
    if argument.startswith('--') and not argument.startswith('--flagfile='):
      name = argument[2:].split('=')[0]
      assert re.search(rf'^  --(\[no\])?{name}:', help_text(module), re.MULTILINE), f'{module} has no flag --{name}'


@pytest.mark.parametrize(
  'document, words', documents.command_lines(), ids=lambda x: ' '.join(x)[:60] if isinstance(x, list) else x
)
def test_command_line(document, words):
  module = documents.module_of(words)
  if module:
    check_flags(module, words[3:])
    for argument in words[3:]:
      if argument.startswith('--flagfile='):
        assert (ROOT / argument.partition('=')[2]).is_file()
      if argument.startswith('--preset='):
        assert argument.partition('=')[2] in flagfiles.preset_names()
  elif words[0].startswith('scripts/'):
    assert (ROOT / words[0]).stat().st_mode & 0o111
  else:
    assert words[0] in OTHERS


def test_the_map_of_clips_is_drawn_from_features_of_clips_alone():
  given = [(words[2:], dict(word.partition('=')[::2] for word in words)) for _, words in documents.command_lines()]
  (drawn,) = [flags for words, flags in given if words[1:2] == ['tsne']]
  made = [flags for words, flags in given if words[:1] == ['audionet_tf.features']]
  tables = [flags.get('--clips') for flags in made if flags['--output'] == drawn['--features']]
  assert tables == [drawn['--clips']]  # not of a file that the table does not list


@pytest.mark.parametrize(
  'path', [ROOT / 'flags.txt', *map(flagfiles.preset_path, flagfiles.preset_names())], ids=lambda path: path.name
)
def test_flagfiles(path):
  lines = [line for line in path.read_text().splitlines() if line and not line.startswith('#')]
  assert [line.partition('=')[0] for line in lines[:2]] == ['--records', '--run_dir']
  check_flags('audionet_tf.train', lines)


def test_files_and_programs_that_the_documents_name():
  config = ConfigParser()
  config.read(ROOT / 'setup.cfg')
  programs = set(re.findall(r'^(\S+) =', config['options.entry_points']['console_scripts'], re.MULTILINE))
  quickstart = (ROOT / 'docs/quickstart.md').read_text()
  assert set(re.findall(r'`(audionet-\w+)`', quickstart)) == programs
  for document in (*documents.DOCUMENTS, 'CHANGELOG.md'):
    path = ROOT / document
    for link in re.findall(r'\]\(([\w./-]+)\)', path.read_text()):
      assert (path.parent / link).exists(), f'{document} links to {link}'
  tomllib.loads((ROOT / 'pyproject.toml').read_text())
  citation = (ROOT / 'CITATION.cff').read_text()
  assert f'version: {config["metadata"]["version"]}\n' in citation


@pytest.mark.parametrize(
  'path, extras_left_open',
  [
    ('constraints.txt', {'clip', 'gs', 'hub', 'microphone'}),  # tests have stand-ins for the last two
    # Beam needs older packages, and sed_eval pkg_resources
    ('constraints-latest.txt', {'gs', 'torch', 'hub', 'microphone', 'beam', 'events'}),
  ],
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
