"""Commands as a user runs them, in processes of their own, forked from one that has imported TensorFlow already.

That one imports and computes nothing, so that a fork is as a new process is. What starts slowly is not noticed here;
`test_architecture` and `inference/test_predict` look at what commands import.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['tensorflow', 'keras', 'matplotlib.backends.backend_agg', 'sklearn.svm', 'av'])


def run(module, *arguments, cwd=None, timeout=280, check=False, environment=None):
  """`python -m module arguments`, as subprocess.run has it with its output as text; or the path of a script.

  `environment`: dict of variables to set besides those of the tests' first process.
  """
  words = [str(word) for word in (module, *arguments)]
  with tempfile.TemporaryDirectory() as folder:
    files = [pathlib.Path(folder) / name for name in ('stdout', 'stderr')]
    child = start(words, cwd, *files, environment)
    child.join(timeout)
    if child.is_alive():
      child.kill()
      child.join()
      raise subprocess.TimeoutExpired(words, timeout)
    done = subprocess.CompletedProcess(words, child.exitcode, *(file.read_text('utf-8') for file in files))
  if check:
    assert done.returncode == 0, done.stderr[-2000:]
  return done


def start(words, cwd=None, stdout=os.devnull, stderr=os.devnull, environment=None):
  """The multiprocessing.Process that runs the words: a module or script, and its arguments."""
  child = SERVER.Process(target=become, args=(words, cwd or os.getcwd(), stdout, stderr, environment))
  child.start()
  return child


def become(words, cwd, stdout, stderr, environment=None):
  """In the forked process: what `python -m` does."""
  for number, path in ((1, stdout), (2, stderr)):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
  os.chdir(cwd)
  os.environ.update(environment or {})
  sys.argv = list(words)
  if words[0].endswith('.py'):
    sys.path.insert(0, os.path.dirname(words[0]))
    runpy.run_path(words[0], run_name='__main__')
  else:
    runpy.run_module(words[0], run_name='__main__', alter_sys=True)
