"""Runs the tests of a mutant in a process that has imported TensorFlow already, in a copy of the project.

mutmut runs each mutant in a fork of the process that has run the tests once; TensorFlow's threads, which those tests
have started, are missing in the fork, and it waits for ever. cosmic-ray starts Python for each mutant, and importing
TensorFlow takes longer than most tests do. Here the forks come from a server that has imported TensorFlow and computed
nothing (as in `tests/support/commands.py`). pytest's plugins are not loaded: schemathesis alone takes longer than most
tests. Each worker has a copy of the project, so that processes which tests start run the mutant too.
"""

import contextlib
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import sys

MEMORY_BYTES = 12 << 30  # address space: a mutant may loop for ever and keep what it reads
ROOT = pathlib.Path(__file__).resolve().parents[3]
COPIED = ('audionet_tf', 'tfrecords', 'tests', 'scripts', 'setup.cfg', 'flags.txt')
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(
  ['tensorflow', 'keras', 'pytest', 'av', 'scipy.ndimage', 'scipy.signal', 'scipy.special', 'sklearn.metrics',
   'sklearn.svm', 'PIL.Image', 'tensorboard.plugins.hparams.api_pb2', 'matplotlib.backends.backend_agg']
)  # fmt: skip
# No rewriting of asserts, and no search for what tests left behind: nobody reads why a test failed.
PYTEST = ['-x', '-q', '--assert=plain', *(f'-pno:{name}' for name in ('cacheprovider', 'unraisableexception'))]


def copy_project(folder):
  """Copies what tests need. Compiled files are checked by content: a mutant may have the size and time of another."""
  for name in COPIED:
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, folder / name)
  return folder


def passes(copy, tests, limit_seconds):
  """Whether the tests pass in a copy of the project; they do not if they take longer than the limit.

  Args:
    copy: pathlib.Path of the copy.
    tests: paths of test files, relative to it.
    limit_seconds: None for no limit.
  """
  process = SERVER.Process(target=_test, args=(str(copy), tests))
  process.start()
  process.join(limit_seconds)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)  # and what the tests have started
  process.join()
  return process.exitcode == 0


def _test(copy, tests):
  """In a process of its own: pytest, with nothing on the screen, in the copy."""
  os.setsid()
  os.chdir(copy)
  resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES,) * 2)
  screen = os.open(os.devnull, os.O_RDWR)
  for number in (0, 1, 2):
    os.dup2(screen, number)
  places = [copy, f'{copy}/scripts/lib', f'{copy}/tests/support']
  for name in [name for name in sys.modules if name.split('.')[0] == 'audionet_tf']:
    del sys.modules[name]  # imported with this script, from the project itself
  sys.path[:] = places + [path for path in sys.path if not path.startswith(str(ROOT)) or 'site-packages' in path]
  os.environ |= {'PYTHONPATH': os.pathsep.join(places), 'PYTHONDONTWRITEBYTECODE': '1', 'TF_CPP_MIN_LOG_LEVEL': '3'}
  os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'
  sys.dont_write_bytecode = True
  import pytest

  os._exit(pytest.main([*PYTEST, *tests]))
