"""Labels as a teacher: a CSV with the classes of each clip.

Multi-label tables (`data/tables/weak_labels.py` describes their forms) give 0 or 1 for every class: a window has all
labels of the rows that it overlaps with. They need a loss of `losses.MULTI_LABEL_LOSSES`.

One class per clip gives one-hot distributions. The KL divergence from such a distribution is the cross-entropy of the
label. The CSV has a header; `filename` or `path` names a clip, `category` or `target` its class. A video of the records
is looked up by its whole id, else by its file name, with or without suffix: `fold1/dog-7.mp4` matches `dog-7.wav` too.
Class names are the categories, ordered by `target`, or alphabetically if there is none.
"""

import functools
import json

import numpy as np

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists, csv_files, segment_names, weak_labels
from audionet_tf.teachers import precomputed


def load_table(path, classes=None):
  """Loads the precomputed.PrecomputedTargets of a CSV of either kind.

  Args:
    path: pathlib.Path of the CSV.
    classes: path of a file of class names, for a multi-label table; else None.

  Raises:
    UserError: there is no such file, or it is in neither form.
  """
  if weak_labels.is_weak(path):
    return load_weak(path, classes)
  if classes is not None:
    raise UserError(f'{path}: its own categories are the class names; leave out {classes}')
  return load(path)


def load_weak(path, classes=None):
  """Loads the precomputed.PrecomputedTargets of a multi-label CSV.

  Args:
    path: pathlib.Path of the CSV.
    classes: path of a file of its classes (`class_lists.vocabulary`), or None.

  Raises:
    UserError: there is no such file, or `weak_labels.read` refuses it.
  """
  precomputed.check_file(path)
  vocabulary = classes and class_lists.vocabulary(classes)
  table = weak_labels.read(path, vocabulary)
  digest = digests.of_text(json.dumps([digests.of_file(path), vocabulary]))
  targets = functools.partial(multi_hot_targets, path, table)
  return precomputed.PrecomputedTargets(len(table.class_names), table.class_names, digest, targets, True)


def multi_hot_targets(path, table, manifest):
  """`PrecomputedTargets.targets` of a weak_labels.Table: f32 [A, classes] of 0 and 1."""
  params = manifest['params']
  rows_of = {video['id']: table.find(video['id']) for video in manifest['videos']}
  missing = [video for video, rows in rows_of.items() if rows is None]
  if missing:
    raise UserError(f'{path}: no row for {text.first_of(missing)} of the records')

  for video in manifest['videos']:
    rows = rows_of[video['id']]
    end = float(params.start_seconds(video['first_window'] + video['windows'] - 1)) + params.window_seconds
    if segment_names.is_whole_file({(row.start, row.end) for row in rows}, end):
      rows_of[video['id']] = weak_labels.without_times(rows)

  def targets(video, window):
    start = float(params.start_seconds(window))
    labels = table.multi_hot(rows_of[video], start, start + params.window_seconds)
    return np.repeat(labels[None], params.answers_per_window, axis=0)

  return targets


def load(path):
  """Loads the precomputed.PrecomputedTargets of a CSV with one class per clip.

  Raises:
    UserError: there is no such file, a column is missing, or category and target contradict each other.
  """
  precomputed.check_file(path)
  rows = csv_files.read_table(path, (('path', 'filename'), ('category', 'target')))
  class_names = classes_of(path, rows)
  index = {}
  column = 'path' if 'path' in rows[0] else 'filename'
  for row in rows:
    name = csv_files.required(path, row, column)
    category = class_names.index(category_of(row))
    for key in (name, *weak_labels.names_of(name)):
      index.setdefault(key, set()).add(category)
  targets = functools.partial(one_hot_targets, path, index, len(class_names))
  return precomputed.PrecomputedTargets(len(class_names), class_names, digests.of_file(path), targets)


def category_of(row):
  """Name of a row's class; '' if it has none."""
  return row['category'] if 'category' in row else row['target']


def classes_of(path, rows):
  """The categories in order. UserError if a category has two targets, or two categories share one."""
  for row in rows:
    csv_files.required(path, row, 'category' if 'category' in row else 'target')
  pairs = {(category_of(row), row.get('target') or '') for row in rows}
  names, targets = ([pair[i] for pair in pairs] for i in (0, 1))
  if not any(targets):
    return sorted(names)
  for row in rows:
    if csv_files.whole_number(row['target']) is None:
      shown = text.brief_value(row['target'])
      raise UserError(f'{path}: line {row[csv_files.LINE]}: target is {shown}; expected is a whole number')
  if len(set(names)) < len(pairs) or len({int(target) for target in targets}) < len(pairs):
    raise UserError(f'{path}: a category has several targets, or a target several categories; expected is one each')
  return [name for _, name in sorted((int(target), name) for name, target in pairs)]


def one_hot_targets(path, index, classes, manifest):
  """`PrecomputedTargets.targets`; `index`: dict of path, name and stem to the set of classes of its rows."""
  class_of, missing, ambiguous = {}, [], []
  for video in (video['id'] for video in manifest['videos']):
    categories = next((index[key] for key in (video, *weak_labels.names_of(video)) if key in index), set())
    if len(categories) == 1:
      class_of[video] = min(categories)
    else:
      (ambiguous if categories else missing).append(video)
  for videos, what in ((missing, 'no row for'), (ambiguous, 'rows of different categories for')):
    if videos:
      raise UserError(f'{path}: {what} {text.first_of(videos)} of the records')
  one_hot = np.eye(classes, dtype=np.float32)
  size = manifest['params'].answers_per_window
  return lambda video, window: np.repeat(one_hot[None, class_of[video]], size, axis=0)
