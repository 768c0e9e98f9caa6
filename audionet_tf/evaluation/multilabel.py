"""How well a student finds several labels in clips that it never heard, by a table of labels (`weak_labels`)."""

import pathlib
import sys
import tempfile

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists, params, weak_labels
from audionet_tf.evaluation import clip_accuracy, metrics
from audionet_tf.inference import windows

ROW = np.dtype([('score', '<f4'), ('label', '?')])  # of a clip and a class


def read(path, class_names, vocabulary=None):
  """The weak_labels.Table of a CSV, in the classes of a student.

  Args:
    path: of the CSV.
    class_names: of the student.
    vocabulary: path of a CSV `index,mid,display_name`, where the table names classes by `mid`; or None.
  """
  mids = {weak_labels.plain(name): mid for name, mid in class_lists.vocabulary(vocabulary)} if vocabulary else {}
  return weak_labels.read(path, [(name, mids.get(weak_labels.plain(name), '')) for name in class_names])


def clips(table, root):
  """List of (path, span, rows): the sounds that a table is about, each once.

  `span` is (start, end) in seconds, None for all of the file. AudioSet's clips may be files of their own.

  Args:
    table: label_tables.Table.
    root: folder that its names start from; a file elsewhere in it will do, of the same name with any suffix.

  Raises:
    UserError: there is no such file.
  """
  root, by_name, found = pathlib.Path(root), None, {}
  for row in table.rows:
    span = None if row.start is None else (row.start, row.end)
    cut = [(f'{row.name}_{row.start:g}', None)] if span else []
    key = row.name, span
    if key in found:
      found[key][2].append(row)
      continue
    if (root / row.name).is_file():
      found[key] = (root / row.name, span, [row])
      continue
    by_name = by_name or files_by_name(root)
    places = [(by_name.get(name, []), part) for name, part in (*cut, (weak_labels.names_of(row.name)[1], span))]
    places += [(by_name.get(row.name, []), span)]  # a name with a dot in it and no suffix
    paths, part = next((place for place in places if place[0]), ([], None))
    if len(paths) != 1:
      what = f'{len(paths)} files are called' if paths else 'there is no file'
      raise UserError(f'{root}: {what} {row.name}; --media_root says where the clips are')
    found[key] = (paths[0], part, [row])
  return list(found.values())


def files_by_name(root):
  """dict of name without suffix to the paths of that name in a folder and those in it."""
  found = {}
  for path in sorted(root.rglob('*')):
    if path.is_file():
      found.setdefault(weak_labels.names_of(path.name)[1], []).append(path)
  return found


def evaluate(student, table, root, window_seconds=None):
  """Scores every clip, a mean over its windows and their steps, and measures class by class.

  A clip that cannot be read is told on stderr and left out.

  Args:
    student: evaluation.Student.
    table: of `read`.
    root: see `clips`.
    window_seconds: as of `clip_accuracy.evaluate_clips`.

  Returns:
    dict: `clips`; `unreadable` (paths); `means` of score_metrics; `calibration`, of all classes; `classes`: dict of
    class name to the dict of `metrics.of_class`, falling by average precision.
  """
  settings = student.settings
  least_rest = windows.default_min_remainder(settings.student, window_seconds)
  window_seconds = window_seconds or settings.window_seconds
  cut = params.Framing(window_seconds, window_seconds, settings.sample_rate_hz, settings.mono)
  unreadable, calibration, wanted = [], metrics.Calibration(), clips(table, root)
  with tempfile.TemporaryFile() as file:  # of many clips and classes, more than fits into memory
    store = np.memmap(file, ROW, 'w+', shape=(len(table.class_names), len(wanted)))
    count = 0
    for path, span, rows in tqdm.tqdm(wanted, desc='listening', unit=' clips', delay=1):
      try:
        scores = clip_accuracy.clip_probabilities(student, path, cut, span, least_rest)
      except (UserError, OSError) as error:
        unreadable.append(str(path))
        tqdm.tqdm.write(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
        continue
      labelled = table.multi_hot(rows, 0, float('inf')) > 0
      calibration.add(scores, labelled)
      store['score'][:, count], store['label'][:, count] = scores, labelled
      count += 1
    if not count:
      raise UserError(f'none of the {len(wanted)} clips can be read')
    names = unique(table.class_names)
    found = {
      name: metrics.of_class(np.array(row['score']), np.array(row['label']))
      for name, row in zip(names, store[:, :count], strict=True)
    }
  order = sorted(
    found, key=lambda name: -1 if found[name]['average_precision'] is None else found[name]['average_precision']
  )
  return {
    'clips': count,
    'unreadable': unreadable,
    'means': metrics.means(found),
    'calibration': calibration.result(),
    'classes': {name: found[name] for name in reversed(order)},
  }


def unique(names):
  """The names; those that are there before get their number."""
  return [name if name not in names[:number] else f'{name} ({number})' for number, name in enumerate(names)]
