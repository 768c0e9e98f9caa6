"""Where a review may be written: folders of its own, one process at a time. Needs no TensorFlow."""

import contextlib

from audionet_tf.core import files
from audionet_tf.core.errors import UserError

EVENTS, DECIDED, TABLE, SOUNDS = 'events.json', 'decided.json', 'metadata.csv', 'sounds'
UNFINISHED = {DECIDED, TABLE, SOUNDS, files.LOCK_NAME}  # what a review may hold before EVENTS, which comes last


def check_new(folder):
  """UserError unless a new review may fill a folder: it is missing, empty, or holds a review that was interrupted.

  Args:
    folder: pathlib.Path.
  """
  if folder.exists() and not folder.is_dir():
    raise UserError(f'{folder}: not a folder; choose another --output')
  names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
  is_unfinished = DECIDED in names and names <= UNFINISHED
  if not is_unfinished and not names <= {files.LOCK_NAME}:
    raise UserError(f'{folder}: holds something that is no review; choose a new --output')


@contextlib.contextmanager
def locked(folder):
  """Holds the lock of a folder, made if missing. UserError if another review has it: each would undo the other's.

  Args:
    folder: pathlib.Path.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(folder, wait=False))
    except BlockingIOError:
      raise UserError(f'{folder}: another review is open there; end it, or choose another --output') from None
    yield
