"""What README, CONTRIBUTING and docs hold in fenced blocks."""

import pathlib
import re
import shlex

from audionet_tf.__main__ import COMMANDS

ROOT = pathlib.Path(__file__).parents[2]
# docs/commands.md is made from the programs themselves.
PAGES = sorted(path for path in (ROOT / 'docs').glob('*.md') if path.name != 'commands.md')
DOCUMENTS = ('README.md', 'CONTRIBUTING.md', *(f'docs/{path.name}' for path in PAGES))


def blocks(document):
  """[(language, text)] of the fenced blocks, in their order."""
  text = (ROOT / document).read_text()
  return re.findall(r'^```(\w+)\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


def commands_in(block):
  """The words of every command line of a `sh` block; a redirection and what follows it is left out."""
  lines = block.replace('\\\n', ' ').splitlines()
  return [as_module(shlex.split(line.partition(' > ')[0])) for line in lines if line.strip()]


def as_module(words):
  """`audionet-infer a.wav` as `python -m audionet_tf.infer a.wav`; other words as they are."""
  module = COMMANDS.get(words[0].removeprefix('audionet-')) if words[0].startswith('audionet-') else None
  return ['python', '-m', module, *words[1:]] if module else words


def command_lines():
  """[(document, words)] of all `sh` blocks."""
  return [
    (document, words)
    for document in DOCUMENTS
    for language, block in blocks(document)
    if language == 'sh'
    for words in commands_in(block)
  ]


def module_of(words):
  """The module that a command line runs, None for other programs."""
  return words[2] if words[:2] == ['python', '-m'] else None
