"""Runs commands of this project for scripts, and shows each so that a user can repeat it."""

import pathlib
import shlex
import subprocess
import sys

from audionet_tf.core import cli

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(module, *arguments):
  """Runs `python -m module`, its stdout to stderr; UserError if it fails."""
  line = [sys.executable, '-m', module, *map(str, arguments)]
  print('$', shlex.join(['python', *line[1:]]), file=sys.stderr, flush=True)
  code = subprocess.run(line, cwd=ROOT, stdout=sys.stderr, check=False).returncode
  cli.require(not code, f'{module} failed with exit code {code}')
