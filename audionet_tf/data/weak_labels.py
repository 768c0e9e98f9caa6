"""Tables of weakly labelled sound: which classes are heard in a clip, or in a stretch of it, but not when.

| table                               | a row                                                                      |
|-------------------------------------|----------------------------------------------------------------------------|
| AudioSet's segments, without header | `YTID, start_seconds, end_seconds, "/m/1,/m/2"`; lines of `#` are comments |
| FSD50K's                            | `fname`, `labels` and `mids`, with commas between them                     |
| ESC's                               | `filename`, `category` (or `target`)                                       |
| any other                           | `path`, `file`, `filename`, `fname` or `video`; `labels` or `mids`;        |
|                                     | perhaps `start` and `end`, or `start_seconds` and `end_seconds`            |

Labels stand with `;` between them, or with `,` where the whole is not the name of a class. No label says that no class
is heard. Rows of one name belong together. A clip is found by the whole name of its file, else by the name without
folder, with or without suffix; one of AudioSet also as `<id>_<start>`, as `audionet_tf.download` names it.
"""

import csv
import dataclasses
import math
import pathlib

import numpy as np

from audionet_tf.core import text as core_text
from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists

NAMES, STARTS, ENDS = ('path', 'file', 'filename', 'fname', 'video'), ('start', 'start_seconds'), ('end', 'end_seconds')
LABELS = ('mids', 'labels', 'positive_labels', 'category', 'target')
SEVERAL = {'mids', 'labels', 'positive_labels'}  # columns of labels that do not exclude each other


@dataclasses.dataclass(frozen=True)
class Row:
  """A row: `name` of the clip; `start` and `end`, seconds in it, or None for all of it; `labels`, ints, its classes."""

  name: str
  start: float | None
  end: float | None
  labels: tuple


@dataclasses.dataclass(frozen=True)
class Table:
  """A table. `class_names`: list of str; `rows`: list of Row; `index`: dict of key to dict of name to list of Row."""

  class_names: list
  rows: list
  index: dict

  def find(self, clip):
    """The rows of a clip, a path with '/'; None where there are none. UserError where different names fit."""
    for key in (clip, *names_of(clip)):
      if key in self.index:
        named = self.index[key]
        if len(named) > 1 and key not in named:
          raise UserError(f'{clip}: rows of {" and ".join(sorted(named)[:3])} fit it')
        return named.get(key) or next(iter(named.values()))
    return None

  def multi_hot(self, rows, start, end):
    """f32 [classes]: 1 for the labels of all rows that overlap with the stretch from `start` to `end` seconds."""
    heard = np.zeros(len(self.class_names), np.float32)
    for row in rows:
      if row.start is None or min(row.end, end) > max(row.start, start):
        heard[list(row.labels)] = 1
    return heard


def names_of(path):
  """(name of the file, the same without suffix) of a path with '/'; .gz apart."""
  name = pathlib.PurePosixPath(path).name.removesuffix('.gz')
  return name, pathlib.PurePosixPath(name).stem


def is_weak(path):
  """Whether a CSV is a table of labels that do not exclude each other."""
  path = pathlib.Path(path)
  return segments_at(path) or bool(SEVERAL & set(class_lists.read_table(path, ())[0]))


def segments_at(path):
  """Whether a CSV has the form of AudioSet's segments."""
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected is a CSV')
  with open(path, 'rb') as file:
    return file.readline(1 << 16).startswith((b'#', b'\xef\xbb\xbf#'))


def read(path, vocabulary=None):
  """The Table of a CSV.

  Args:
    path: of the CSV.
    vocabulary: list of (name, mid) of the classes (`class_lists.vocabulary`); None for the labels of the table, in
      alphabetical order.

  Raises:
    UserError: no such file, no such columns, times that are none, labels that are not in the vocabulary.
  """
  path = pathlib.Path(path)
  raw = segments(path) if segments_at(path) else table_rows(path)
  vocabulary = vocabulary or [(name, '') for name in sorted({label for *_, text in raw for label in parts(text, ())})]
  if not vocabulary:
    raise UserError(f'{path}: no labels in it')
  known = {}
  for number, pair in enumerate(vocabulary):
    known |= {plain(text): number for text in pair if text}
  rows, unknown = [], {}
  for name, start, end, text in raw:
    found = parts(text, known)
    unknown |= dict.fromkeys(label for label in found if plain(label) not in known)
    rows.append(Row(name, start, end, tuple(known[plain(label)] for label in found if plain(label) in known)))
  if unknown:
    mids = any(label.startswith(('/m/', '/t/', '/g/')) for label in unknown)
    raise UserError(
      f'{path}: {core_text.first_of([repr(label) for label in unknown])} are none of the {len(vocabulary)} classes'
      + ('; whose a mid is, a CSV index,mid,display_name says: --vocabulary, in training --teacher_labels' * mids)
    )
  index = {}
  for row in rows:
    for key in {row.name, *names_of(row.name)}:
      index.setdefault(key, {}).setdefault(row.name, []).append(row)
    if row.start is not None:
      cut = f'{row.name}_{row.start:g}'
      whole = dataclasses.replace(row, name=cut, start=None, end=None)
      index.setdefault(cut, {}).setdefault(cut, []).append(whole)
  return Table([name for name, _ in vocabulary], rows, index)


def plain(label):
  return ' '.join(label.lower().replace('_', ' ').split())


def parts(text, known):
  """The labels in a cell."""
  if ';' not in text and plain(text) in known:
    return [text.strip()]
  return [part.strip() for part in text.split(';' if ';' in text else ',') if part.strip()]


def segments(path):
  """List of (name, start, end, text of the labels) of AudioSet's form."""
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      reader = csv.reader(file, skipinitialspace=True)
      rows = [row for row in reader if row and not row[0].startswith('#')]
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f'{path}: not a CSV ({error})') from None
  for row in rows:
    if len(row) != 4:
      raise UserError(f'{path}: {",".join(row)[:80]!r} is not YTID, start_seconds, end_seconds, labels')
  if not rows:
    raise UserError(f'{path}: no rows in it')
  return [(row[0].strip(), *span(path, row[0], row[1], row[2]), row[3]) for row in rows]


def table_rows(path):
  """As `segments`, of a table with a header."""
  rows = class_lists.read_table(path, (NAMES, LABELS))
  name, start, end, text = (
    next((column for column in columns if column in rows[0]), None) for columns in (NAMES, STARTS, ENDS, LABELS)
  )
  if (start is None) != (end is None):
    raise UserError(f'{path}: has the column {start or end}; start and end go together')
  found = []
  for number, row in enumerate(rows, 2):
    if not row[name].strip():
      raise UserError(f'{path}: row {number} has no {name}')
    timed = start is not None and (row[start].strip() or row[end].strip())
    times = span(path, row[name], row[start], row[end]) if timed else (None, None)
    found.append((row[name].strip(), *times, row[text] or ''))
  return found


def span(path, name, start, end):
  """(start, end) as seconds. UserError where they are none."""
  try:
    begin, until = float(start), float(end)
  except ValueError:
    begin = until = math.nan
  if not 0 <= begin < until < math.inf:
    raise UserError(f'{path}: {name}: from {start} to {end} s is no span')
  return begin, until
