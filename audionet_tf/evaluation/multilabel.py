"""Multi-label evaluation of a student on clips with a table of labels (`data/tables/weak_labels.py`)."""

import contextlib
import math
import os
import pathlib
import sys
import tempfile

import numpy as np
import tqdm

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.data.tables import class_lists, segment_names, weak_labels
from audionet_tf.evaluation import clip_accuracy, metrics
from audionet_tf.inference import windows
from audionet_tf.media import decoding
from audionet_tf.models import registry

CELL = np.dtype([('score', '<f4'), ('label', '?')])  # of one clip and one class


def read(path, class_names, vocabulary=None):
  """Reads a table of labels in terms of the student's classes.

  Args:
    path: of the CSV.
    class_names: list of str, of the student.
    vocabulary: path of a CSV `index,mid,display_name` if the table names classes by `mid`, or None.

  Returns:
    weak_labels.Table.

  Raises:
    UserError: a file cannot be read, or a label is not among the classes.
  """
  mids = {weak_labels.plain(name): mid for name, mid in class_lists.vocabulary(vocabulary)} if vocabulary else {}
  return weak_labels.read(path, [(name, mids.get(weak_labels.plain(name), '')) for name in class_names])


def clips(table, root):
  """Finds the media files of a table's clips.

  Args:
    table: weak_labels.Table.
    root: folder that the names in the table are relative to. A file anywhere in it matches too if the table finds its
      rows by the file's name (`weak_labels.Table.find`).

  Returns:
    (list of (path, span, rows), each clip once; `span` is (start, end) in seconds, or None for the whole file;
    dict of the names of other clips to why they have no file).
  """
  root, rows_of, located, missing = pathlib.Path(root), {}, {}, {}
  for row in table.rows:
    rows_of.setdefault(key_of(row), []).append(row)
  for name, span in rows_of:
    if files.is_no_folder(root / name):
      located[name, span] = root / name, span
  found = files_of(table, root) if len(located) < len(rows_of) else {}
  for key in (key for key in rows_of if key not in located):
    parts, wholes = found.get(key, ([], []))
    paths, span = (parts, None) if parts else (wholes, key[1])
    if len(paths) == 1:
      located[key] = paths[0], span
    else:
      missing[key[0]] = f'{len(paths)} files are called' if paths else 'there is no file'
  return [(*located[key], rows) for key, rows in rows_of.items() if key in located], missing


def key_of(row):
  """(name, span) of a row's clip; `span` is (start, end) in seconds, or None for the whole clip."""
  return row.name, None if row.start is None else (row.start, row.end)


def files_of(table, root):
  """dict of `key_of` to (files that hold only the clip, files that hold it), of all files below a folder."""
  found = {}
  for path in sorted(root.rglob('*')):
    if not files.is_no_folder(path):
      continue
    try:
      rows, is_part = table.match(path.relative_to(root).as_posix())
    except UserError:  # rows of several names match
      continue
    for key in {key_of(row) for row in rows or ()}:
      found.setdefault(key, ([], []))[0 if is_part else 1].append(path)
  return found


def span_within(path, span):
  """The span, (start, end) in seconds, of a clip in a file; None if the file is too short and so is the clip itself."""
  seconds = None
  with contextlib.suppress(UserError, OSError):  # reported when the file is decoded
    seconds = span and decoding.declared_duration(path)
  return None if seconds and segment_names.is_whole_file({span}, float(seconds)) else span


def evaluate(student, table, root, window_seconds=None):
  """Scores every clip by the mean over its windows and their steps, and computes the metrics of each class.

  Clips without a file and unreadable ones are reported on stderr and skipped.

  Args:
    student: predictor.LogitsModel.
    table: weak_labels.Table, as `read` returns it.
    root: folder of the media files.
    window_seconds: length of a window; None for that of training, where the last window of a clip may end with it.

  Returns:
    dict: `clips`, their number; `unreadable`, list of paths; `missing`, dict of clips without a file to the reason;
    `means`, from `metrics.means`; `calibration`, from
    `metrics.Calibration`; `classes`, dict of class name to the dict of `metrics.of_class`, best average precision
    first.

  Raises:
    UserError: no clip has a file, or none can be read.
  """
  settings = student.settings
  min_remainder = windows.default_min_remainder(registry.network(settings.student).short_input, window_seconds)
  window_seconds = window_seconds or settings.window_seconds
  framing = params.Framing(window_seconds, window_seconds, settings.sample_rate_hz, settings.mono)
  calibration = metrics.Calibration()
  located, missing = clips(table, root)
  report_missing(missing, root, len(located))
  with tempfile.TemporaryFile() as file:  # many clips times classes do not fit into memory
    shape = len(table.class_names), len(located)
    with files.space_in(tempfile.gettempdir()):  # here: a page that finds no space later ends the process
      os.posix_fallocate(file.fileno(), 0, max(1, CELL.itemsize * math.prod(shape)))
    store = np.memmap(file, CELL, 'w+', shape=shape)
    unreadable, count = [], 0
    for labels, scores in scored(student, table, located, framing, min_remainder, unreadable):
      calibration.add(scores, labels)
      store['score'][:, count], store['label'][:, count] = scores, labels
      count += 1
    if not count:
      raise UserError(f'none of the {len(located)} clips can be read')
    names = unique(table.class_names)
    measured = {
      name: metrics.of_class(np.array(row['score']), np.array(row['label']))
      for name, row in zip(names, store[:, :count], strict=True)
    }
  order = sorted(
    measured,
    key=lambda name: -1 if measured[name]['average_precision'] is None else measured[name]['average_precision'],
  )
  return {
    'clips': count,
    'unreadable': unreadable,
    'missing': missing,
    'means': metrics.means(measured),
    'calibration': calibration.result(),
    'classes': {name: measured[name] for name in reversed(order)},
  }


def scored(student, table, located, framing, min_remainder, unreadable):
  """Yields bool and f32 [classes], labels and scores, of every clip that can be read; `unreadable` gets the others."""
  for path, span, rows in tqdm.tqdm(located, desc='predicting', unit=' clips', delay=1):
    try:
      span = span_within(path, span)
      scores = clip_accuracy.clip_probabilities(student, path, framing, span, min_remainder)
    except (UserError, OSError) as error:
      unreadable.append(str(path))
      tqdm.tqdm.write(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
      continue
    yield table.multi_hot(rows, 0, float('inf')) > 0, scores


def report_missing(missing, root, located):
  """Names on stderr the clips without a file. UserError if no clip has one."""
  if not missing:
    return
  reason, advice = next(iter(missing.items())), f'--media_root says where the clips are, now {root}'
  if not located:
    raise UserError(f'{root}: {reason[1]} {reason[0]}, nor one of any other clip of the table; {advice}')
  listed = text.first_of([f'{name} ({problem})' for name, problem in missing.items()])
  total = located + len(missing)
  print(f'{len(missing)} of {total} clips are left out: {listed}; {advice}', file=sys.stderr)


def unique(names):
  """The names; those that occur before get their position appended."""
  return [name if name not in names[:number] else f'{name} ({number})' for number, name in enumerate(names)]
