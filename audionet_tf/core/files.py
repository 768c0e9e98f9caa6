"""Output files that are seen whole or not at all."""

import contextlib
import os
import pathlib


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


def sync(file):
  """Has the system write an open file to the disk: a rename alone may survive a power cut that its contents do not."""
  file.flush()
  os.fsync(file.fileno())
