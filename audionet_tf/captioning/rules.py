"""Tables for captions: display names, thresholds and stop lists, as CSV or one name per line."""

import pathlib

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists, csv_files

CLASS_COLUMNS = ('class_name', 'mid', 'name')  # the first that has classes of the student counts; else `index`


def read_names(path, class_names):
  """dict of class name to display name.

  Args:
    path: CSV with `display_name` and `class_name`, `mid` or `name`, where rows of other classes are ignored; or with
      `index` and one row per class. AudioSet's `index,mid,display_name` can be both.
    class_names: of the student.

  Raises:
    UserError: no such file, no such column, or no row of any of the classes.
  """
  rows = csv_files.read_table(path, [(*CLASS_COLUMNS, 'index'), ('display_name',)])
  columns = [[row[column] for row in rows] for column in CLASS_COLUMNS if column in rows[0]]
  indices = [row.get('index', '') for row in rows]
  if sorted(indices) == sorted(map(str, range(len(class_names)))):
    columns.append([class_names[int(index)] for index in indices])
  shown = [row['display_name'] for row in rows]
  for keys in columns:
    names = {}
    for row, key, name in zip(rows, keys, shown, strict=True):
      if key in class_names and names.setdefault(key, name or key) != (name or key):
        raise UserError(f'{path}: line {row[csv_files.LINE]} gives {key!r} another display_name; expected is one each')
    if names:
      return names
  raise UserError(f'{path}: names none of the {len(class_names)} classes, such as {class_names[0]!r}')


def read_thresholds(path):
  """dict of name to threshold, from a CSV with `threshold` and `class_name`, `name` or `display_name`.

  Raises:
    UserError: no such file, no such column, or a threshold that is not a number.
  """
  columns = ('class_name', 'name', 'display_name')
  rows = csv_files.read_table(path, [columns, ('threshold',)])
  column = next(column for column in columns if column in rows[0])
  thresholds = {}
  for row in rows:
    name, line = csv_files.required(path, row, column), row[csv_files.LINE]
    value = float(row['threshold']) if csv_files.is_number(row['threshold']) else -1
    if not 0 < value <= 1:
      raise UserError(f'{path}: line {line}: threshold is {row["threshold"]!r}, allowed is 0 to 1')
    if thresholds.setdefault(name, value) != value:
      raise UserError(f'{path}: line {line} gives {name!r} another threshold; expected is one each')
  return thresholds


def read_stop(words):
  """The names in a list, or in the text file, one per line, that is its only entry."""
  if len(words) == 1 and pathlib.Path(words[0]).is_file():
    read = class_lists.read_class_names if csv_files.is_table(words[0]) else class_lists.read_lines
    return tuple(filter(None, read(words[0])))
  return tuple(word.strip() for word in words if word.strip())
