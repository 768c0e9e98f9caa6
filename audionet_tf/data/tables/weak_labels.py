"""Tables of weak labels: which classes occur in a clip or a part of it, but not exactly when.

| table                             | columns                                                                        |
|-----------------------------------|--------------------------------------------------------------------------------|
| AudioSet's segments (no header)   | `YTID, start_seconds, end_seconds, "/m/1,/m/2"`; lines with `#` are comments,  |
|                                   | and may be missing                                                             |
| FSD50K's                          | `fname`, `labels` and `mids`, separated by commas                              |
| ESC's                             | `filename`, `category` (or `target`)                                           |
| any other                         | `path`, `file`, `filename`, `fname`, `video` or `ytid`; `labels` or `mids`;    |
|                                   | optionally `start` and `end`, or `start_seconds` and `end_seconds`             |

Labels are separated by `;`, or by `,` unless the whole cell is the name of a class. An empty cell means that no class
occurs. Several rows may have the same name. A clip is looked up by the full name of its file, then by the name without
folder, with or without suffix, then by the names that downloaders of AudioSet give (`segment_names`).
"""

import dataclasses
import pathlib

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists, csv_files, segment_names

NAMES = ('path', 'file', 'filename', 'fname', 'video', 'ytid')
STARTS, ENDS = ('start', 'start_seconds'), ('end', 'end_seconds')
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
    """The rows of a clip; without times if the file holds only their segment.

    Args:
      clip: its path, with '/'.

    Returns:
      list of Row, or None if the table has none for the clip.

    Raises:
      UserError: rows of several names match equally well.
    """
    rows, is_part = self.match(clip)
    return without_times(rows) if is_part else rows

  def match(self, clip):
    """(rows of a clip or None, whether its name says that it holds only their segment); as `find`."""
    name, stem = names_of(clip)
    for key in (clip, name, *segment_names.whole_names(stem)):
      if key in self.index:
        by_name = self.index[key]
        if len(by_name) > 1 and key not in by_name:
          raise UserError(
            f'{clip}: matches rows of {" and ".join(sorted(by_name)[:3])}; give the full path in the table'
          )
        return by_name.get(key) or next(iter(by_name.values())), False
    for video, start, end in (*segment_names.parts(stem), *segment_names.parts(name)):
      rows = [row for row in self.index.get(video, {}).get(video, ()) if row.start is not None]
      rows = [row for row in rows if segment_names.is_time(start, row.start) and segment_names.is_time(end, row.end)]
      if len({(row.start, row.end) if end or not start else row.start for row in rows}) == 1:
        return rows, True
    return None, False

  def multi_hot(self, rows, start, end):
    """f32 [classes]: 1 for the labels of all rows that overlap the interval from `start` to `end`, in seconds."""
    targets = np.zeros(len(self.class_names), np.float32)
    for row in rows:
      if row.start is None or min(row.end, end) > max(row.start, start):
        targets[list(row.labels)] = 1
    return targets


def without_times(rows):
  """The rows, for a file that holds only their segment."""
  return [dataclasses.replace(row, start=None, end=None) for row in rows]


def names_of(path):
  """(file name, file name without suffix) of a path with '/', both without .gz."""
  name = pathlib.PurePosixPath(path).name.removesuffix('.gz')
  return name, pathlib.PurePosixPath(name).stem


def is_weak(path):
  """Whether a CSV is a multi-label table: AudioSet's segments, or a column of labels that do not exclude each other."""
  path = pathlib.Path(path)
  return is_segments(path) or bool(MULTI_LABEL_COLUMNS & set(csv_files.read_table(path, ())[0]))


def is_segments(path):
  """Whether a CSV has the format of AudioSet's segments."""
  rows = [row for _, row in csv_files.read_rows(path)]
  first = next((row for row in rows if not csv_files.is_comment(row)), None)
  if first is None:
    return bool(rows)
  if csv_files.is_comment(rows[0]):
    return not set(NAMES) & {cell.lower() for cell in first}
  return csv_files.is_segment(first) and segment_names.is_id(first[0])


def read(path, vocabulary=None):
  """Reads a table of weak labels.

  Args:
    path: of the CSV.
    vocabulary: list of (name, mid) of the classes, from `class_lists.vocabulary`; None for the labels of the table, in
      alphabetical order, each in its first spelling (`plain`).

  Returns:
    Table.

  Raises:
    UserError: there is no such file, a column is missing, times are not valid, or labels are not in the vocabulary, or
      of more than one class.
  """
  path = pathlib.Path(path)
  raw = read_segments(path) if is_segments(path) else read_rows(path)
  if not vocabulary:
    spellings = {}
    for label in sorted({label for *_, cell in raw for label in split(cell, ())}):
      spellings.setdefault(plain(label), label)
    vocabulary = [(label, '') for label in spellings.values()]
  if not vocabulary:
    raise UserError(f'{path}: the table holds no labels')
  exact, alike = {}, {}  # a name, and what is plain of it: numbers of the classes
  for number, pair in enumerate(vocabulary):
    for name in {name for name in pair if name}:
      exact.setdefault(name, {})[number] = True
      alike.setdefault(plain(name), {})[number] = True
  rows, unknown, ambiguous = [], {}, {}
  for name, start, end, cell in raw:
    labels = split(cell, alike)
    numbers = {label: list(exact.get(label) or alike.get(plain(label), ())) for label in labels}
    unknown |= dict.fromkeys(label for label in labels if not numbers[label])
    ambiguous |= dict.fromkeys(label for label in labels if len(numbers[label]) > 1)
    rows.append(Row(name, start, end, tuple(numbers[label][0] for label in labels if numbers[label])))
  if unknown:
    mids = any(map(class_lists.is_mid, unknown))
    raise UserError(
      f'{path}: {text.first_of([repr(label) for label in unknown])}: not among the {len(vocabulary)} classes'
      + ('; to resolve mids, pass a CSV index,mid,display_name as --vocabulary (in training: --teacher_labels)' * mids)
    )
  if ambiguous:
    raise UserError(
      f'{path}: {text.first_of([repr(label) for label in ambiguous])}: of more than one class, as case and underscores '
      'do not count; give the classes names that differ'
    )
  index = {}
  for row in rows:
    for key in {row.name, *names_of(row.name)}:
      index.setdefault(key, {}).setdefault(row.name, []).append(row)
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
  values = []
  for line, row in csv_files.read_rows(path):
    if csv_files.is_comment(row):
      continue
    if len(row) < 4:
      raise UserError(f'{path}: line {line}: {",".join(row)[:80]!r} expected YTID, start_seconds, end_seconds, labels')
    if not row[0]:
      raise UserError(f'{path}: line {line} has no YTID')
    values.append((row[0], *span(path, line, *row[:3]), ','.join(row[3:])))
  if not values:
    raise UserError(f'{path}: the table has no rows')
  return values


def read_rows(path):
  """Rows of a table with a header, list of (name, start, end, cell of labels); times in seconds, or None."""
  rows = csv_files.read_table(path, (NAMES, LABELS))
  name, start, end, labels = (
    next((column for column in columns if column in rows[0]), None) for columns in (NAMES, STARTS, ENDS, LABELS)
  )
  if (start is None) != (end is None):
    raise UserError(f'{path}: has only the column {start or end}; give both start and end, or neither')
  values = []
  for row in rows:
    file = csv_files.required(path, row, name)
    timed = start is not None and (row[start] or row[end])
    times = span(path, row[csv_files.LINE], file, row[start], row[end]) if timed else (None, None)
    values.append((file, *times, row[labels]))
  return values


def span(path, line, name, start, end):
  """Parses (start, end) in seconds. UserError unless they are numbers, not negative, and in this order."""
  if not (csv_files.is_number(start) and csv_files.is_number(end)):
    times = f'start {start[:40]} s, end {end[:40]} s'
    raise UserError(f'{path}: line {line}: {name}: {times}: expected are numbers such as 30.5')
  start_seconds, end_seconds = float(start), float(end)
  if not 0 <= start_seconds < end_seconds:
    raise UserError(f'{path}: line {line}: {name}: start {start} s, end {end} s: end must be after start')
  return start_seconds, end_seconds
