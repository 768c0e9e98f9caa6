"""The index of a collection: vectors of the windows of its files, in one `.npz` file.

| array     | dtype, shape          | content                                                    |
|-----------|-----------------------|------------------------------------------------------------|
| `model`   | str                   | which student and windows the vectors are of               |
| `paths`   | str [files]           | absolute paths                                             |
| `stamps`  | int64 [files, 2]      | size in bytes and time of change in ns, when it was read   |
| `counts`  | int64 [files]         | number of its windows                                      |
| `times`   | float64 [windows, 2]  | start and end in seconds, file after file                  |
| `vectors` | float16 [windows, N]  | of length 1                                                |
"""

import contextlib
import dataclasses
import pathlib
import sys
import time
import zipfile

import numpy as np
import tqdm

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

SAVE_SECONDS = 60  # an interrupted command loses what it read since
FIRST_MEMBER = b'model.npy'  # of the zip archive, by which even a damaged index is known


@dataclasses.dataclass(frozen=True)
class Entry:
  """A file in the index.

  Attributes:
    stamp: (size in bytes, time of change in ns).
    times: f64 [n, 2], start and end of its windows, in seconds.
    vectors: f16 [n, width].
  """

  stamp: tuple
  times: np.ndarray
  vectors: np.ndarray


def check(path):
  """UserError if there is a file that is no index, and so is not to be written over; a damaged index is one still."""
  if not path.exists():
    return
  try:
    with open(path, 'rb') as file:
      start = file.read(len(FIRST_MEMBER) + 30)
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({text.brief(error)})') from error
  if not (start.startswith(b'PK\x03\x04') and start.endswith(FIRST_MEMBER)):
    raise UserError(f'{path}: not an index; choose another --index=FILE')


def read(path, model, width):
  """The index in a file: dict of path (str) to Entry. A damaged one, or one of another model, is empty, and reported.

  Args:
    path: pathlib.Path of the index, which may be missing.
    model: str, which student and windows the vectors must be of.
    width: of the vectors.

  Raises:
    UserError: the file is no index, or cannot be read.
  """
  check(path)
  if not path.exists():
    return {}
  try:
    with zipfile.ZipFile(path) as archive:
      if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise ValueError('compressed')  # little could unpack to much
    with np.load(path, allow_pickle=False) as arrays:
      if str(arrays['model']) != model:
        print(f'{path}: of another student or of other windows; it is made again', file=sys.stderr)
        return {}
      return entries(width, *(arrays[name] for name in ('paths', 'stamps', 'counts', 'times', 'vectors')))
  except OSError as error:
    raise UserError(f'{path}: cannot be read ({text.brief(error)})') from error
  except Exception as error:  # NumPy and zipfile raise whatever damaged bytes hit
    print(f'{path}: damaged ({text.brief(error)}); it is made again', file=sys.stderr)
    return {}


def entries(width, paths, stamps, counts, times, vectors):
  """dict of path to Entry, from the arrays of an index. ValueError: they do not go together."""
  rows = int(counts.sum())
  kinds = ''.join(array.dtype.kind for array in (paths, stamps, counts, times, vectors))
  shapes = stamps.shape == (len(paths), 2) and counts.shape == (len(paths),) and times.shape == (rows, 2)
  if kinds != 'Uiiff' or not shapes or vectors.shape != (rows, width) or (counts < 1).any():
    raise ValueError(f'{len(paths)} files, {rows} windows of {width}, but vectors {list(vectors.shape)}')
  if not (np.isfinite(times).all() and np.isfinite(vectors).all()):
    raise ValueError('numbers that are not finite')
  ends = np.cumsum(counts)[:-1]
  parts = zip(paths.tolist(), stamps.tolist(), np.split(times, ends), np.split(vectors, ends), strict=True)
  return {path: Entry(tuple(stamp), *rows) for path, stamp, *rows in parts}


def write(path, model, index):
  """Writes an index atomically. `index`: dict of path to Entry, not empty."""
  listed = index.values()
  with files.atomic_write(path, 'wb') as file:
    np.savez(
      file,
      model=np.str_(model),
      paths=np.array(list(index), np.str_),
      stamps=np.array([entry.stamp for entry in listed], np.int64),
      counts=np.array([len(entry.times) for entry in listed], np.int64),
      times=np.concatenate([entry.times for entry in listed]),
      vectors=np.concatenate([entry.vectors for entry in listed]),
    )


def stamp_of(path):
  """`Entry.stamp` of a file as it is now."""
  status = pathlib.Path(path).stat()
  return status.st_size, status.st_mtime_ns


def extended(path, model, width, paths, embed):
  """The index of a collection, after reading the files that it lacks or that have changed.

  Args:
    path: pathlib.Path of the index, which is written if something is new.
    model, width: as for `read`.
    paths: list of pathlib.Path of sound and video files.
    embed: function of a path to (f64 [n, 2], f16 [n, width]): times and vectors.

  Returns:
    (dict of path to Entry, of `paths` only; list of the paths that cannot be read, which are reported on stderr).

  Raises:
    UserError: none of the files can be read, or as `read`.
  """
  index = read(path, model, width)
  missing = [file for file in paths if str(file) not in index or index[str(file)].stamp != stamp_of(file)]
  unreadable, messages, saved_at, new = [], [], time.monotonic(), False
  try:
    for file in tqdm.tqdm(missing, desc='reading sounds', unit=' files', delay=1):
      try:
        index[str(file)] = Entry(stamp_of(file), *embed(file))
        new = True
      except (UserError, OSError) as error:
        unreadable.append(file)
        index.pop(str(file), None)
        messages.append(text.printable(f'{file}: {getattr(error, "reason", None) or error}'))
      if new and time.monotonic() - saved_at > SAVE_SECONDS:
        write(path, model, index)
        saved_at, new = time.monotonic(), False
  finally:
    for message in messages:  # after the progress bar
      print(message, file=sys.stderr)
    if new and (kept := existing(index)):
      write(path, model, kept)
  found = {str(file): index[str(file)] for file in paths if str(file) in index}
  if not found:
    raise UserError(f'none of the {len(paths)} files can be read')
  return found, unreadable


def existing(index):
  """The entries whose files are there still."""
  kept = {}
  for path, entry in index.items():
    with contextlib.suppress(OSError):
      if pathlib.Path(path).is_file():
        kept[path] = entry
  return kept
