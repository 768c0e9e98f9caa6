"""Runs modules of the project, and of scripts/lib, in processes of their own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(*words):
  """`python -m words`, as subprocess.run has it with its output as text; finds modules in this tree first."""
  path = os.pathsep.join([str(ROOT / 'scripts/lib'), str(ROOT), os.environ.get('PYTHONPATH', '')])
  command = [sys.executable, '-m', *map(str, words)]
  return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {'PYTHONPATH': path})
