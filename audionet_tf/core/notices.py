"""Hides notices that TensorFlow writes to stderr and that no environment variable silences."""

import contextlib
import os
import re
import sys
import tempfile

from audionet_tf.core import interruption

NOTICE = re.compile(
  rb'WARNING: All log messages before absl::InitializeLog|[IW]\d{4} |\d[\d:. -]*: [IW] |INFO: Created TensorFlow Lite'
)
# That a worker is lost is an exception too, which the program reports.
LOST_WORKER = re.compile(rb'E\d{4} .*coordination_service')


def quietly(function, *arguments):
  """Calls the function, then prints what it wrote to stderr except for the notices; returns what it returned."""
  sys.stderr.flush()
  with _caught() as screen:
    interruption.screen = screen
    return function(*arguments)


@contextlib.contextmanager
def hidden():
  """A context in which only Python writes to stderr. What TensorFlow wrote is printed at the end, but for notices.

  If the process is ended inside it, that is lost. TF_CPP_MIN_LOG_LEVEL=0 hides nothing.
  """
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL') == '0':
    yield
    return
  before = sys.stderr
  before.flush()
  with _caught() as screen:
    interruption.screen = screen
    with open(screen, 'w', buffering=1, encoding='utf-8', errors='backslashreplace', closefd=False) as sys.stderr:
      try:
        yield
      finally:
        sys.stderr.flush()
        sys.stderr = before


@contextlib.contextmanager
def _caught():
  """A context at whose end what it wrote to file descriptor 2 is printed; yields the descriptor of the screen."""
  screen = os.dup(2)
  with _memory() as file:
    os.dup2(file.fileno(), 2)
    try:
      yield screen
    finally:
      sys.stderr.flush()
      os.dup2(screen, 2)
      interruption.screen = 2
      os.close(screen)
      file.seek(0)
      for line in file:
        if not (NOTICE.match(line) or LOST_WORKER.match(line)):
          os.write(2, line)


def _memory():
  """A file in memory, where the system has such: a command needs no folder for temporary files to say what is wrong."""
  return open(os.memfd_create('stderr'), 'w+b') if hasattr(os, 'memfd_create') else tempfile.TemporaryFile()
