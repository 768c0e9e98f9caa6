"""Multi-label evaluation of a student on clips with a table of labels (`data/weak_labels.py`)."""

import pathlib
import sys
import tempfile

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists, params, weak_labels
from audionet_tf.evaluation import clip_accuracy, metrics
from audionet_tf.inference import windows

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
    root: folder that the names in the table are relative to. A file anywhere in it matches too if it has the same name,
      with any suffix; AudioSet's clips may be files `<id>_<start>` that hold the clip only.

  Returns:
    list of (path, span, rows), each clip once; `span` is (start, end) in seconds, or None for the whole file.

  Raises:
    UserError: a clip has no file, or several.
  """
  root, by_name, located = pathlib.Path(root), None, {}
  for row in table.rows:
    span = None if row.start is None else (row.start, row.end)
    key = row.name, span
    if key in located:
      located[key][2].append(row)
      continue
    if (root / row.name).is_file():
      located[key] = (root / row.name, span, [row])
      continue
    by_name = by_name or files_by_name(root)
    candidates = [(f'{row.name}_{row.start:g}', None)] if span else []  # a file that holds the clip only
    candidates += [(weak_labels.names_of(row.name)[1], span), (row.name, span)]  # the last: a dot, but no suffix
    matches = ((by_name[name], part) for name, part in candidates if name in by_name)
    paths, part = next(matches, ([], None))
    if len(paths) != 1:
      problem = f'{len(paths)} files are called' if paths else 'there is no file'
      raise UserError(f'{root}: {problem} {row.name}; --media_root says where the clips are')
    located[key] = (paths[0], part, [row])
  return list(located.values())


def files_by_name(root):
  """dict of name without suffix to the paths of the files with that name, anywhere below a folder."""
  paths = {}
  for path in sorted(root.rglob('*')):
    if path.is_file():
      paths.setdefault(weak_labels.names_of(path.name)[1], []).append(path)
  return paths


def evaluate(student, table, root, window_seconds=None):
  """Scores every clip by the mean over its windows and their steps, and computes the metrics of each class.

  Unreadable clips are reported on stderr and skipped.

  Args:
    student: predictor.LogitsModel.
    table: weak_labels.Table, as `read` returns it.
    root: folder of the media files.
    window_seconds: length of a window; None for that of training, where the last window of a clip may end with it.

  Returns:
    dict: `clips`, their number; `unreadable`, list of paths; `means`, from `metrics.means`; `calibration`, from
    `metrics.Calibration`; `classes`, dict of class name to the dict of `metrics.of_class`, best average precision
    first.

  Raises:
    UserError: a clip has no file or several, or no clip can be read.
  """
  settings = student.settings
  min_remainder = windows.default_min_remainder(settings.student, window_seconds)
  window_seconds = window_seconds or settings.window_seconds
  framing = params.Framing(window_seconds, window_seconds, settings.sample_rate_hz, settings.mono)
  unreadable, calibration, located = [], metrics.Calibration(), clips(table, root)
  with tempfile.TemporaryFile() as file:  # many clips times classes do not fit into memory
    store = np.memmap(file, CELL, 'w+', shape=(len(table.class_names), len(located)))
    count = 0
    for path, span, rows in tqdm.tqdm(located, desc='predicting', unit=' clips', delay=1):
      try:
        scores = clip_accuracy.clip_probabilities(student, path, framing, span, min_remainder)
      except (UserError, OSError) as error:
        unreadable.append(str(path))
        tqdm.tqdm.write(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
        continue
      labels = table.multi_hot(rows, 0, float('inf')) > 0
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
    'means': metrics.means(measured),
    'calibration': calibration.result(),
    'classes': {name: measured[name] for name in reversed(order)},
  }


def unique(names):
  """The names; those that occur before get their position appended."""
  return [name if name not in names[:number] else f'{name} ({number})' for number, name in enumerate(names)]
