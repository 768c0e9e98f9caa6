"""Tables of weak labels: which classes occur in a clip or a part of it, but not exactly when.

| table                             | columns                                                                        |
|-----------------------------------|--------------------------------------------------------------------------------|
| AudioSet's segments (no header)   | `YTID, start_seconds, end_seconds, "/m/1,/m/2"`; lines with `#` are comments   |
| FSD50K's                          | `fname`, `labels` and `mids`, separated by commas                              |
| ESC's                             | `filename`, `category` (or `target`)                                           |
| any other                         | `path`, `file`, `filename`, `fname` or `video`; `labels` or `mids`; optionally |
|                                   | `start` and `end`, or `start_seconds` and `end_seconds`                        |

Labels are separated by `;`, or by `,` unless the whole cell is the name of a class. An empty cell means that no class
occurs. Several rows may have the same name. A clip is looked up by the full name of its file, then by the name without
folder, with or without suffix; an AudioSet clip also as `<id>_<start>`, the name that `audionet_tf.download` gives it.
"""

import csv
import dataclasses
import math
import pathlib

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists

NAMES, STARTS, ENDS = ('path', 'file', 'filename', 'fname', 'video'), ('start', 'start_seconds'), ('end', 'end_seconds')
LABELS = ('mids', 'labels', 'positive_labels', 'category', 'target')
MULTI_LABEL_COLUMNS = {'mids', 'labels', 'positive_labels'}  # their labels do not exclude each other


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of a table.

  Attributes:
    name: of the clip.
    start: seconds from the start of the clip, or None if the labels are for all of it.
    end: seconds, or None like `start`.
    labels: tuple of int, class indices.
  """

  name: str
  start: float | None
  end: float | None
  labels: tuple


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of weak labels.

  Attributes:
    class_names: list of str.
    rows: list of Row.
    index: dict of lookup key to dict of name to list of Row.
  """

  class_names: list
  rows: list
  index: dict

  def find(self, clip):
    """The rows of a clip.

    Args:
      clip: its path, with '/'.

    Returns:
      list of Row, or None if the table has none for the clip.

    Raises:
      UserError: rows of several names match equally well.
    """
    for key in (clip, *names_of(clip)):
      if key in self.index:
        by_name = self.index[key]
        if len(by_name) > 1 and key not in by_name:
          raise UserError(
            f'{clip}: matches rows of {" and ".join(sorted(by_name)[:3])}; give the full path in the table'
          )
        return by_name.get(key) or next(iter(by_name.values()))
    return None

  def multi_hot(self, rows, start, end):
    """f32 [classes]: 1 for the labels of all rows that overlap the interval from `start` to `end`, in seconds."""
    targets = np.zeros(len(self.class_names), np.float32)
    for row in rows:
      if row.start is None or min(row.end, end) > max(row.start, start):
        targets[list(row.labels)] = 1
    return targets


def names_of(path):
  """(file name, file name without suffix) of a path with '/', both without .gz."""
  name = pathlib.PurePosixPath(path).name.removesuffix('.gz')
  return name, pathlib.PurePosixPath(name).stem


def is_weak(path):
  """Whether a CSV is a multi-label table: AudioSet's segments, or a column of labels that do not exclude each other."""
  path = pathlib.Path(path)
  return is_segments(path) or bool(MULTI_LABEL_COLUMNS & set(class_lists.read_table(path, ())[0]))


def is_segments(path):
  """Whether a CSV has the format of AudioSet's segments."""
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected a CSV')
  with open(path, 'rb') as file:
    return file.readline(1 << 16).startswith((b'#', b'\xef\xbb\xbf#'))


def read(path, vocabulary=None):
  """Reads a table of weak labels.

  Args:
    path: of the CSV.
    vocabulary: list of (name, mid) of the classes, from `class_lists.vocabulary`; None for the labels of the table, in
      alphabetical order.

  Returns:
    Table.

  Raises:
    UserError: there is no such file, a column is missing, times are not valid, or labels are not in the vocabulary.
  """
  path = pathlib.Path(path)
  raw = read_segments(path) if is_segments(path) else read_rows(path)
  vocabulary = vocabulary or [(name, '') for name in sorted({label for *_, cell in raw for label in split(cell, ())})]
  if not vocabulary:
    raise UserError(f'{path}: the table holds no labels')
  positions = {}
  for number, pair in enumerate(vocabulary):
    positions |= {plain(name): number for name in pair if name}
  rows, unknown = [], {}
  for name, start, end, cell in raw:
    labels = split(cell, positions)
    unknown |= dict.fromkeys(label for label in labels if plain(label) not in positions)
    rows.append(Row(name, start, end, tuple(positions[plain(label)] for label in labels if plain(label) in positions)))
  if unknown:
    mids = any(label.startswith(('/m/', '/t/', '/g/')) for label in unknown)
    raise UserError(
      f'{path}: {text.first_of([repr(label) for label in unknown])}: not among the {len(vocabulary)} classes'
      + ('; to resolve mids, pass a CSV index,mid,display_name as --vocabulary (in training: --teacher_labels)' * mids)
    )
  index = {}
  for row in rows:
    for key in {row.name, *names_of(row.name)}:
      index.setdefault(key, {}).setdefault(row.name, []).append(row)
    if row.start is not None:
      clip = f'{row.name}_{row.start:g}'  # a file that holds only this part
      whole = dataclasses.replace(row, name=clip, start=None, end=None)
      index.setdefault(clip, {}).setdefault(clip, []).append(whole)
  return Table([name for name, _ in vocabulary], rows, index)


def plain(label):
  """A label in lower case, with single spaces for underscores and white space."""
  return ' '.join(label.lower().replace('_', ' ').split())


def split(cell, names):
  """The labels in a cell. `names`: plain names of classes, which may contain commas."""
  if ';' not in cell and plain(cell) in names:
    return [cell.strip()]
  return [label.strip() for label in cell.split(';' if ';' in cell else ',') if label.strip()]


def read_segments(path):
  """Rows of AudioSet's segments, list of (name, start, end, cell of labels); times in seconds."""
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      reader = csv.reader(file, skipinitialspace=True)
      rows = [row for row in reader if row and not row[0].startswith('#')]
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f'{path}: not a CSV ({error})') from None
  for row in rows:
    if len(row) != 4:
      raise UserError(f'{path}: {",".join(row)[:80]!r} expected YTID, start_seconds, end_seconds, labels')
  if not rows:
    raise UserError(f'{path}: the table has no rows')
  return [(row[0].strip(), *span(path, row[0], row[1], row[2]), row[3]) for row in rows]


def read_rows(path):
  """Rows of a table with a header, list of (name, start, end, cell of labels); times in seconds, or None."""
  rows = class_lists.read_table(path, (NAMES, LABELS))
  name, start, end, labels = (
    next((column for column in columns if column in rows[0]), None) for columns in (NAMES, STARTS, ENDS, LABELS)
  )
  if (start is None) != (end is None):
    raise UserError(f'{path}: has only the column {start or end}; give both start and end, or neither')
  values = []
  for number, row in enumerate(rows, 2):
    if not row[name].strip():
      raise UserError(f'{path}: row {number} has no {name}')
    timed = start is not None and (row[start].strip() or row[end].strip())
    times = span(path, row[name], row[start], row[end]) if timed else (None, None)
    values.append((row[name].strip(), *times, row[labels] or ''))
  return values


def span(path, name, start, end):
  """Parses (start, end) in seconds. UserError unless they are numbers, not negative, and in this order."""
  try:
    start_seconds, end_seconds = float(start), float(end)
  except ValueError:
    start_seconds = end_seconds = math.nan
  if not 0 <= start_seconds < end_seconds < math.inf:
    raise UserError(f'{path}: {name}: start {start} s, end {end} s: end must be after start')
  return start_seconds, end_seconds
