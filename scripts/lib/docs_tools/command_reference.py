"""Prints docs/commands.md: for every command its help text and its flags, read from the program itself.

  scripts/command_reference > docs/commands.md

Every command is imported in a process of its own, because several of them define flags of the same names.
"""

import configparser
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
HEAD = """\
# Commands

This page is generated from the programs: `scripts/command_reference > docs/commands.md`.

Every command takes `--help`, and `--flagfile=FILE`, which reads flags from a file with one flag per line. A flag that
follows `--flagfile` overrides the file. Flags marked with * may be repeated. The exit code is 0, 1 where
anything failed, or 130 after Ctrl-C.

"""
# Run in the child: the module's docstring and flags as JSON. A flag of a module belongs to the name it is imported by.
DESCRIBE = """
import importlib, json, sys
from absl import flags
module = importlib.import_module(sys.argv[1])
described_flags = [
  {
    'name': flag.name,
    'help': flag.help or '',
    'default': flag.default,
    'many': isinstance(flag, flags.MultiFlag),
    'values': list(getattr(flag.parser, 'enum_values', None) or []),
  }
  for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[1])
]
described = {'text': module.__doc__, 'flags': described_flags, 'topics': getattr(module, 'TOPICS', {})}
described['needs'] = getattr(module, 'NEEDS', ())
print(json.dumps(described, default=str))
"""
TABLE = ('| flag | default | meaning |', '|---|---|---|')
ABSL_ADDS = re.compile(r'^<[^>]*>: |;\s*repeat this option to specify a list of values$|^a comma separated list$')


def commands():
  """[(program, module)] of setup.cfg, such as ('audionet-train', 'audionet_tf.train')."""
  config = configparser.ConfigParser()
  config.read(ROOT / 'setup.cfg')
  lines = config['options.entry_points']['console_scripts'].split('\n')
  pairs = [tuple(part.strip() for part in line.split('=')) for line in lines if line.strip()]
  return [(program, target.partition(':')[0]) for program, target in pairs]


def describe(module):
  """Reads the docstring and flags of a module.

  Returns:
    dict: `text`, its docstring; `flags`, a list of dict in the order of their definition; `topics`, the first flag of
    each group to its heading; `needs`, lists of alternatives of which one must be given.
  """
  child = subprocess.run([sys.executable, '-c', DESCRIBE, module], cwd=ROOT, capture_output=True, text=True, check=True)
  return json.loads(child.stdout.splitlines()[-1])


def cell(text):
  """Text for a cell of a Markdown table."""
  return ' '.join(text.split()).replace('|', r'\|').replace('<', '&lt;').replace('{', '&#123;').replace('*', r'\*')


def default_text(default):
  """A flag's default as it is typed; '' without one."""
  if default is None or default in ([], ''):
    return ''
  if isinstance(default, bool):
    return 'true' if default else 'false'
  if isinstance(default, float):
    return f'{default:g}'
  return ','.join(map(str, default)) if isinstance(default, list) else str(default)


def flag_row(flag, needs):
  """A row of the table of flags."""
  name = f'`--{flag["name"]}`' + (' *' if flag['many'] else '')
  default = default_text(flag['default'])
  meaning = cell(ABSL_ADDS.sub('', flag['help']))
  if flag['values']:
    meaning += f' One of {", ".join(f"`{value}`" for value in flag["values"])}.'
  required = [need for need in needs if f'--{flag["name"]}' in need]
  shown = f'`{default}`' if default else ' or '.join(['required', *others(required[0], flag)]) if required else ''
  return f'| {name} | {shown} | {meaning} |'


def others(need, flag):
  """The alternatives to a flag in one of `needs`, in backquotes."""
  return [f'`{name}`' for name in need if name != f'--{flag["name"]}']


def section(program, module):
  """Markdown of one command: its docstring, then a table of flags for each topic."""
  description = describe(module)
  parts = [f'## {module}', f'Installed as `{program}`.', f'```text\n{description["text"].strip()}\n```']
  rows = []
  for flag in description['flags']:
    if not rows or flag['name'] in description['topics']:
      rows = list(TABLE)
      parts += [f'**{description["topics"].get(flag["name"], "Flags")}**', rows]
    rows.append(flag_row(flag, description['needs']))
  return '\n\n'.join(part if isinstance(part, str) else '\n'.join(part) for part in parts) + '\n'


if __name__ == '__main__':
  print(HEAD + '\n'.join(section(*pair) for pair in commands()), end='')
