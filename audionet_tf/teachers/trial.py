"""Loads a teacher's file in a process of its own first: TensorFlow, TensorFlow Lite and HDF5 can hang or crash on files
that are damaged, which no exception tells."""

import faulthandler
import os
import pathlib
import select
import signal
import sys
import warnings

from audionet_tf.core.errors import UserError

SECONDS = 60
BYTES_PER_SECOND = 10_000_000  # in addition, for large files


def check(source, load):
  """UserError if loading a file crashes its process, or takes too long.

  The process is a fork, which costs no new import of TensorFlow. It must come before TensorFlow computes anything: a
  fork lacks its threads. Errors that are raised there are left for the caller to meet.

  Args:
    source: path of the teacher, for messages and for the time that its size allows.
    load: function without arguments.
  """
  path = pathlib.Path(source)
  sizes = [file.stat().st_size for file in (path.rglob('*') if path.is_dir() else [path]) if file.is_file()]
  seconds = SECONDS + sum(sizes) // BYTES_PER_SECOND
  status = forked(load, seconds)
  if status is None:
    raise UserError(f'{source}: not loaded within {seconds} s: it is damaged, or asks for endless work')
  if os.WIFSIGNALED(status):
    name = signal.Signals(os.WTERMSIG(status)).name
    raise UserError(f'{source}: loading it crashes the process ({name}): it is damaged, or made by another program')


def forked(function, seconds):
  """Calls a function in a forked process: its status as os.waitpid has it, or None if it took longer and was killed."""
  reading, writing = os.pipe()
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # of threads: those of OpenBLAS survive forks
    child = os.fork()
  if not child:
    call_and_exit(function, seconds)
  os.close(writing)  # the child alone holds it: its end is the end of the file
  try:
    ended, _, _ = select.select([reading], [], [], seconds)
    if not ended:
      os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return status if ended else None
  except BaseException:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise
  finally:
    os.close(reading)


def call_and_exit(function, seconds):
  """In the forked process: calls the function without a word, and ends. Without its parent it ends by an alarm."""
  try:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
      signal.signal(number, signal.SIG_DFL)
    signal.alarm(int(seconds) + 5)
    faulthandler.disable()
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115  (the process ends with it)
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # memory of GPUs is for the parent
    function()
  finally:
    os._exit(0)
