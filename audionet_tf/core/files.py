"""Output files that are seen whole or not at all, and folders held by one process."""

import contextlib
import fcntl
import json
import os
import pathlib

from audionet_tf.core.errors import UserError

LOCK_NAME = '.lock'


@contextlib.contextmanager
def atomic_write(path, mode='w', partial=None):
  """A file that becomes `path` at the end of the block, on the disk first, and vanishes where the block fails.

  Args:
    path: of the file to be; what is there stays until then.
    mode: 'w', UTF-8 with line ends as they are written, or 'wb'.
    partial: its path until then; None for a hidden one beside `path` with the same suffix.

  Yields:
    The open file. A library that writes to a path of its own opening may be given its `name`.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'.{path.stem}.partial{path.suffix}') if partial is None else partial
  text = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': ''}
  try:
    with open(partial, mode, **text) as file:
      yield file
      sync(file)
    os.replace(partial, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(partial)


def write_json(path, content, **options):
  """Writes `content` as JSON, atomically, and the folder that it belongs in. `options`: of json.dump."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with atomic_write(path) as file:
    json.dump(content, file, **{'indent': 1} | options)


def read_bytes(path, most_bytes, what):
  """What a file holds. UserError where it is missing (`what` is expected there) or larger than `most_bytes`."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected is {what}')
  size = path.stat().st_size
  if size > most_bytes:
    raise UserError(f'{path}: {size} bytes, allowed are {most_bytes}')
  return path.read_bytes()


def sync(file):
  """Has the system write an open file to the disk: a rename alone may survive a power cut that its contents do not."""
  file.flush()
  os.fsync(file.fileno())


@contextlib.contextmanager
def locked(folder, wait=True):
  """Holds the folder for this process; the system releases it when the process ends, however it ends.

  Args:
    folder: pathlib.Path of an existing folder; the lock is a file in it.
    wait: for another process to release it; if False, BlockingIOError is raised where one holds it.
  """
  with open(folder / LOCK_NAME, 'a') as file:
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    yield


atomic_write = atomic_write  # the old name, until all branches have the new one
