"""Labels as a teacher: a CSV that says what each clip is, as distributions that are sure of one class.

The KL divergence from such a distribution is the cross-entropy of the label.

The CSV has a header; `filename` or `path` names a clip, `category` or `target` its class. A video of the records is
found by its whole id, else by the name of its file, with or without suffix: `fold1/dog-7.mp4` is `dog-7.wav` too.
Class names are the categories in the order of `target`, or of the alphabet where there is none.
"""

import functools
import pathlib

import numpy as np

from audionet_tf import given_answers, labels
from audionet_tf.errors import UserError
from audionet_tf.teacher_files import file_digest


def load(path):
  """The given_answers.Given of a CSV. UserError: no such file, no such columns, categories and targets that differ."""
  given_answers.check_file(path)
  rows = labels.read_table(path, (('path', 'filename'), ('category', 'target')))
  class_names = classes_of(path, rows)
  index = {}
  for row in rows:
    name = row.get('path') or row.get('filename') or ''
    category = class_names.index(category_of(row))
    for key in (name, *names_of(name)):
      index.setdefault(key, set()).add(category)
  answers = functools.partial(one_hot_answers, path, index, len(class_names))
  return given_answers.Given(len(class_names), class_names, file_digest(path), answers)


def category_of(row):
  return row.get('category') or row.get('target') or ''


def classes_of(path, rows):
  """The categories in order. UserError where one has two targets, or two have one."""
  pairs = {(category_of(row), row.get('target') or '') for row in rows}
  names, targets = ([pair[i] for pair in pairs] for i in (0, 1))
  if '' in names:
    raise UserError(f'{path}: a row without category')
  if not any(targets):
    return sorted(names)
  if not all(target.isdecimal() for target in targets):
    raise UserError(f'{path}: targets are {", ".join(sorted(set(targets))[:5])}; expected are whole numbers')
  if len(set(names)) < len(pairs) or len({int(target) for target in targets}) < len(pairs):
    raise UserError(f'{path}: category and target do not go together one to one')
  return [name for _, name in sorted((int(target), name) for name, target in pairs)]


def names_of(path):
  """(name of the file, the same without suffix) of a path with '/'; .gz apart."""
  name = pathlib.PurePosixPath(path).name.removesuffix('.gz')
  return name, pathlib.PurePosixPath(name).stem


def one_hot_answers(path, index, classes, manifest):
  """`Given.answers`; `index`: dict of path, name and stem to the set of classes that rows of that name have."""
  found, missing, ambiguous = {}, [], []
  for video in (video['id'] for video in manifest['videos']):
    categories = next((index[key] for key in (video, *names_of(video)) if key in index), set())
    if len(categories) == 1:
      found[video] = min(categories)
    else:
      (ambiguous if categories else missing).append(video)
  for videos, what in ((missing, 'no row for'), (ambiguous, 'rows of different categories for')):
    if videos:
      raise UserError(f'{path}: {what} {given_answers.named(videos)} of the records')
  sure = np.eye(classes, dtype=np.float32)
  size = manifest['params'].answers_per_window
  return lambda video, window: np.repeat(sure[None, found[video]], size, axis=0)
