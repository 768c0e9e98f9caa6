"""Full disks: a small file system of its own for a process, which needs no root where users may have namespaces."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && shift 2 && exec "$@"'


def run(program, folder, *arguments, size='8m', timeout=3000):
  """Runs a Python program with a file system of `size` mounted at `folder`; returns what it prints as JSON.

  Skips the test, loudly, where the system does not allow that.
  """
  folder.mkdir(exist_ok=True)
  become = ['unshare', '--map-root-user', '--mount', 'sh', '-c', MOUNT, 'sh', str(folder), size]
  if shutil.which('unshare') is None or subprocess.run([*become, 'true'], capture_output=True).returncode:
    pytest.skip('!!!! FULL AND READ-ONLY DISKS NOT TESTED: no user namespaces here')
  words = [*become, sys.executable, '-c', program, str(folder), *map(str, arguments)]
  environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path)), 'TF_CPP_MIN_LOG_LEVEL': '3'}
  done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=timeout)
  assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
  # Whatever dies while it is thrown away prints a traceback, although nobody raises it.
  assert 'Traceback' not in done.stderr and 'ignored' not in done.stderr, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def leave(folder, free_bytes):
  """Fills the file system at `folder` but for `free_bytes`."""
  filler = folder / 'filler'
  filler.unlink(missing_ok=True)
  size = shutil.disk_usage(folder).free - free_bytes
  with open(filler, 'wb') as file:
    for begin in range(0, size, 1 << 12):
      file.write(bytes(min(1 << 12, size - begin)))


def tried(function, folder, free_bytes):
  """[kind of error or None, its text, list of files left] of a function on a nearly full disk, which is freed then."""
  leave(folder, free_bytes)
  kind, text = None, ''
  try:
    function()
  except Exception as error:
    kind, text = type(error).__name__, str(error)
  left = sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob('*') if path.is_file())
  (folder / 'filler').unlink()
  return [kind, text, [name for name in left if name != 'filler']]
