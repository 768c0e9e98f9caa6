"""Lists the commands, or runs one: `python -m audionet_tf train ...` is `python -m audionet_tf.train ...`."""

import ast
import importlib.util
import pathlib
import runpy
import sys

from audionet_tf.core import cli

# In the order of their use.
COMMANDS = {
  'download': 'audionet_tf.download',
  'build': 'tfrecords.build',
  'beam': 'tfrecords.beam',
  'verify': 'tfrecords.verify',
  'label': 'audionet_tf.label',
  'train': 'audionet_tf.train',
  'evaluate': 'audionet_tf.evaluate',
  'infer': 'audionet_tf.infer',
  'caption': 'audionet_tf.caption',
  'stream': 'audionet_tf.stream',
  'review': 'audionet_tf.review',
  'serve': 'audionet_tf.serve',
  'features': 'audionet_tf.features',
  'search': 'audionet_tf.search',
  'probe': 'audionet_tf.probe',
  'plot': 'audionet_tf.plot',
  'join': 'audionet_tf.join',
  'convert': 'audionet_tf.convert',
  'export': 'audionet_tf.export',
}


def summary(module):
  """The first line of a module's docstring. The module is not imported: commands define flags of the same names."""
  source = pathlib.Path(importlib.util.find_spec(module).origin).read_text('utf-8')
  return ast.get_docstring(ast.parse(source)).splitlines()[0]


def listing():
  """The commands, one per line."""
  lines = [f'  {name:10}{summary(module)}' for name, module in COMMANDS.items()]
  usage = 'python -m audionet_tf COMMAND --help explains a command; python -m audionet_tf --version.'
  return '\n'.join(['Trains networks to recognise sounds from unlabelled video. Commands:', '', *lines, '', usage])


def main():
  name = sys.argv[1] if len(sys.argv) > 1 else '--help'
  if name in COMMANDS:
    del sys.argv[1]
    runpy.run_module(COMMANDS[name], run_name='__main__', alter_sys=True)
  elif name in cli.HELP:
    cli.show(listing())
  elif name == '--version':
    cli.show(cli.versions())
  else:
    sys.exit(cli.fail(f'{name!r} is not a command; there are {", ".join(COMMANDS)}'))


if __name__ == '__main__':
  main()
