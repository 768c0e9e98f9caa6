"""Tables of annotated events: those of DCASE, and Raven's selection tables.

| table                                | a row                                                                        |
|--------------------------------------|------------------------------------------------------------------------------|
| DCASE's, separated by commas or tabs | `filename` or `file`; `onset`, `offset` in seconds; `event_label` or `label` |
| Raven's (.txt), or a folder of these | `Begin Time (s)`, `End Time (s)`; `Annotation`, `Label`, `Species` or others |

A row of DCASE's without times is a file without events. Raven's `Begin File` names the file, in which `File Offset (s)`
is the beginning; without it the table is of the file that it is called after: `clip.Table.1.selections.txt` of
`clip.wav`. The two rows that Raven writes for one selection, one per view, count once: they agree in number, file and
times.
"""

import dataclasses
import os
import pathlib

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import csv_files
from audionet_tf.media.containers import integrity

FILE, ONSET, OFFSET, LABEL = ('filename', 'file'), ('onset',), ('offset',), ('event_label', 'label')
BEGIN, END = 'begin time (s)', 'end time (s)'
RAVEN_LABELS = (
  'annotation',
  'label',
  'species',
  'common name',
  'event_label',
  'sound type',
  'class',
  'call type',
  'tags',
)
RAVEN_SUFFIX = '.txt'


@dataclasses.dataclass(frozen=True)
class Annotation:
  """An annotated event: seconds since the start of the file, and its label."""

  onset: float
  offset: float
  label: str


def read(path):
  """Reads annotated events.

  Args:
    path: of a table, or of a folder of Raven's tables.

  Returns:
    dict of file name to list of Annotation, by onset; empty for a file without events. A file that a Raven table is
    called after has no suffix.

  Raises:
    UserError: there is no such file, it is not such a table, or a time is not a number, or an end before its start.
  """
  path = pathlib.Path(path)
  paths = sorted(path.glob(f'*{RAVEN_SUFFIX}')) if path.is_dir() else [path]
  if not paths:
    raise UserError(f'{path}: no selection tables (.txt) in this folder')
  events = {}
  for table in paths:
    if table != path:  # it would wait for a pipe
      integrity.check_regular(table, may_be_empty=True)
    for name, found in (read_raven if table.suffix.lower() == RAVEN_SUFFIX else read_dcase)(table).items():
      events.setdefault(name, []).extend(found)
  return {name: by_onset(found) for name, found in events.items()}


def by_onset(events):
  """The list of Annotation in order."""
  return sorted(events, key=lambda event: (event.onset, event.offset, event.label))


def read_dcase(path):
  """dict as from `read`, of a table of DCASE."""
  events = {}
  for row in csv_files.read_table(path, (FILE, ONSET, OFFSET, LABEL)):
    line = row[csv_files.LINE]
    values = [next(row[name] for name in names if name in row) for names in (FILE, ONSET, OFFSET, LABEL)]
    name, *rest = values
    if not name:
      raise UserError(f'{path}: line {line} names no file')
    found = events.setdefault(name, [])
    if any(rest):
      found.append(annotation(path, line, *rest))
  return events


def read_raven(path):
  """dict as from `read`, of one of Raven's selection tables."""
  rows = csv_files.read_table(path, ((BEGIN,), (END,), RAVEN_LABELS))
  label = next(name for name in RAVEN_LABELS if name in rows[0])
  events, seen = {}, set()
  for row in rows:
    line = row[csv_files.LINE]
    selection = tuple(row.get(name, '') for name in ('selection', 'begin file', BEGIN, END))
    if selection[0] and selection in seen:  # in another view
      continue
    seen.add(selection)
    found = annotation(path, line, row[BEGIN], row[END], row[label])
    name = row.get('begin file', '') or path.name.partition('.')[0]
    if row.get('begin file') and row.get('file offset (s)'):
      onset = seconds(path, line, row['file offset (s)'])
      found = dataclasses.replace(found, onset=onset, offset=round(onset + found.offset - found.onset, 6))
    events.setdefault(name, []).append(found)
  return events


def annotation(path, line, onset, offset, label):
  """The Annotation of the cells of a row. UserError if it is none."""
  begin, end = seconds(path, line, onset), seconds(path, line, offset)
  if not begin < end:
    raise UserError(f'{path}: line {line} is from {begin:g} to {end:g} s; expected is an end after the start')
  if not label:
    raise UserError(f'{path}: line {line} has no label')
  return Annotation(begin, end, text.one_line(label))


def seconds(path, line, cell):
  """A time in seconds. UserError unless the cell is a number from 0 on."""
  value = float(cell) if csv_files.is_number(cell) else -1.0
  if value < 0:
    raise UserError(f'{path}: line {line}: time is {text.brief_value(cell)}; expected are seconds, 0 or more')
  return value


def locate(names, root):
  """Finds the files of events below a folder.

  Args:
    names: of the files, relative to `root`, with or without suffix. Those that lead out of it count as missing.
    root: pathlib.Path of a folder.

  Returns:
    (dict of name to pathlib.Path, dict of the other names to why they have no file).
  """
  found, missing, by_stem = {}, {}, {}
  for path in sorted(root.iterdir()) if root.is_dir() else ():
    if files.is_no_folder(path) and path.suffix.lower() not in (RAVEN_SUFFIX, *csv_files.SUFFIXES):
      by_stem.setdefault(path.name.partition('.')[0], []).append(path)
  for name in names:
    same = by_stem.get(name, [])
    if os.path.isabs(name) or '..' in pathlib.PurePath(name).parts:
      missing[name] = f'not below {root}'
    elif files.is_no_folder(root / name):  # False for a name that is too long
      found[name] = root / name
    elif len(same) == 1:
      found[name] = same[0]
    else:
      missing[name] = f'{len(same)} files are called so' if same else 'no such file'
  return found, missing


def by_file(annotated, found):
  """The annotated events of each file, together where it has several names: `clip` and `clip.wav` of two Raven tables.

  Args:
    annotated: dict as from `read`.
    found: dict of name to path, from `locate`.

  Returns:
    dict of the first of a file's names to list of Annotation, by onset.
  """
  names, events = {}, {}
  for name, path in found.items():
    events.setdefault(names.setdefault(path, name), []).extend(annotated[name])
  return {name: by_onset(together) for name, together in events.items()}
