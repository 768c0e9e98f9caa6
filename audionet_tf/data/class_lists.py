"""Class names, one a line in the order of the classes, and tables of labels (CSV). UTF-8."""

import csv
import pathlib

from audionet_tf.core.errors import UserError

MAX_CLASSES = 100_000  # of any model or file of predictions: a damaged number must not allocate gigabytes


def read_class_names(path):
  """The class names in a text file, one a line, or in a .csv of `read_vocabulary`. UserError when there are none."""
  path = pathlib.Path(path)
  if path.suffix.lower() == '.csv':
    return [row['display_name'] for row in read_vocabulary(path)]
  try:
    names = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
  except FileNotFoundError:
    raise UserError(f'{path}: no such file of class names') from None
  except (UnicodeDecodeError, IsADirectoryError):
    raise UserError(f'{path}: not a text file of class names, one a line') from None
  while names and not names[-1]:
    names.pop()
  if not names:
    raise UserError(f'{path}: no class names in it; expected is one a line')
  return names


def read_vocabulary(path):
  """Rows of AudioSet's and YAMNet's CSV of classes, `index,mid,display_name`, in the order of `index`: 0, 1, ...

  FSD50K's is read too: it has no header, and name and mid the other way round.
  """
  rows = headless(path) or read_table(path, (('index',), ('mid',), ('display_name',)))
  if sorted(row['index'] for row in rows) != sorted(map(str, range(len(rows)))):
    raise UserError(f'{path}: index does not go from 0 to {len(rows) - 1}, each once')
  return sorted(rows, key=lambda row: int(row['index']))


def headless(path):
  """Rows of FSD50K's CSV of classes; none where the first line is not of its form."""
  path = pathlib.Path(path)
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      rows = [row for row in csv.reader(file) if row]
  except (csv.Error, OSError, UnicodeDecodeError):
    return []  # for `read_table` to say
  if not rows or not all(len(row) == 3 and row[0].isdecimal() for row in rows):
    return []
  return [{'index': row[0], 'mid': row[2], 'display_name': row[1].replace('_', ' ')} for row in rows]


def vocabulary(path):
  """List of (name, mid) of the classes in a file of class names: a text file or a CSV. The mid is '' without one."""
  if pathlib.Path(path).suffix.lower() == '.csv':
    return [(row['display_name'], row['mid']) for row in read_vocabulary(path)]
  return [(name, '') for name in read_class_names(path)]


def write_class_names(path, names):
  """Writes one name a line; line breaks inside a name become spaces."""
  lines = [' '.join(name.split()) or '?' for name in names]
  pathlib.Path(path).write_text('\n'.join(lines) + '\n', encoding='utf-8')


def numbered_class_names(count):
  """Stand-ins where a teacher comes without names: 'class 0' to 'class <count-1>'."""
  return [f'class {i}' for i in range(count)]


def read_table(path, columns):
  """Rows of a CSV file as dicts. UserError: no such file, or none of a tuple of alternative columns in it.

  Args:
    path: CSV with a header.
    columns: tuple of tuples of names; of each at least one must be there.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected is a CSV')
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      rows = list(csv.DictReader(file, restval=''))
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f'{path}: not a CSV ({error})') from None
  if not rows:
    raise UserError(f'{path}: no rows below its header')
  for names in columns:
    if not set(names) & set(rows[0]):
      raise UserError(f'{path}: no column {" or ".join(names)}; it has {", ".join(filter(None, rows[0]))}')
  return rows
