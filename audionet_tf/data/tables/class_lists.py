"""Class names: one per line in the order of the classes, or a CSV of classes."""

import importlib.resources
import pathlib
import re

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import csv_files

IMAGENET_CLASSES = 1000
MAX_CLASSES = 100_000  # of any model or file of predictions, so that a damaged one cannot make us allocate gigabytes

UNKNOWN = 'unknown'  # a class of students that say so where a sound is unlike all that they know


def read_class_names(path):
  """Reads class names from a text file, one per line, or from a CSV (`.csv`, `.tsv`) in a format of `read_vocabulary`.

  Returns:
    list of str, not empty.

  Raises:
    UserError: there is no such file, it is not text, it holds no names, or a line is empty.
  """
  if csv_files.is_table(path):
    return [row['display_name'] for row in read_vocabulary(path)]
  names = read_lines(path)
  if '' in names:
    raise UserError(f'{path}: line {names.index("") + 1} is empty; expected is a class name on every line')
  return names


def read_lines(path):
  """The lines of a text file of names up to the last that is not empty; UserError where there is none."""
  text = csv_files.read_text(path, 'class names, one per line').rstrip()
  if not text:
    raise UserError(f'{path}: holds no class names; expected one per line')
  return [line.strip() for line in re.split(r'\r*\n|\r', text)]


def read_vocabulary(path):
  """Reads a CSV of classes: AudioSet's and YAMNet's `index,mid,display_name`, or FSD50K's `index,name,mid`.

  Neither needs its header.

  Returns:
    list of dicts `index`, `mid`, `display_name`, str, sorted by index: 0, 1, ...

  Raises:
    UserError: there is no such file, it has other columns, or the indices have gaps or repeat.
  """
  rows = read_headless(path) or csv_files.read_table(path, (('index',), ('mid',), ('display_name',)))
  for row in rows:
    csv_files.required(path, row, 'display_name')
  if sorted(row['index'] for row in rows) != sorted(map(str, range(len(rows)))):
    raise UserError(f'{path}: the column index must hold each number from 0 to {len(rows) - 1} once')
  return sorted(rows, key=lambda row: int(row['index']))


def read_headless(path):
  """Rows of a CSV of classes without a header, which FSD50K's never has; an empty list if the file has another form."""
  lines, rows = [], []
  for line, row in csv_files.read_rows(path):
    if not csv_files.is_comment(row):
      lines.append({csv_files.LINE: line})
      rows.append(row)
  if not rows or not all(len(row) == 3 and row[0].isdecimal() for row in rows):
    return []
  if all(is_mid(row[1]) for row in rows):  # AudioSet's
    named = [{'index': index, 'mid': mid, 'display_name': name} for index, mid, name in rows]
  else:
    named = [{'index': index, 'mid': mid, 'display_name': name.replace('_', ' ')} for index, name, mid in rows]
  return [row | line for row, line in zip(named, lines, strict=True)]


def is_mid(label):
  """Whether a label is an identifier of Freebase or Google's graph, as AudioSet has them: /m/09x0r."""
  return label.startswith(('/m/', '/t/', '/g/'))


def vocabulary(path):
  """Reads (name, mid) of each class from a text file or a CSV of class names. The mid is '' where the file has none."""
  if csv_files.is_table(path):
    return [(row['display_name'], row['mid']) for row in read_vocabulary(path)]
  return [(name, '') for name in read_class_names(path)]


def write_class_names(path, names):
  """Writes one name per line; line breaks inside a name become spaces."""
  lines = [' '.join(name.split()) or '?' for name in names]
  pathlib.Path(path).write_text('\n'.join(lines) + '\n', encoding='utf-8')


def class_names_by_head(label_files, classes):
  """Reads the class names of heads from the values of --labels.

  Args:
    label_files: list of 'HEAD=FILE', files with one name per line; 'FILE' suffices for a student with a single head.
    classes: dict of head to number of classes.

  Returns:
    dict of head to list of names, for the heads that have a file.

  Raises:
    UserError: there is no such head or file, a head has two files, or the number of names is wrong.
  """
  files = {}
  for text in label_files:
    head, _, file = text.partition('=')
    if head not in classes or not file:
      if len(classes) != 1:
        raise UserError(f'labels is {text!r}, expected HEAD=FILE; the heads are {", ".join(classes) or "none"}')
      head, file = next(iter(classes)), text
    if head in files:
      raise UserError(f'labels names two files for {head}, {files[head]} and {file}; give one')
    files[head] = file
  names_by_head = {head: read_class_names(file) for head, file in files.items()}
  for head, names in names_by_head.items():
    if len(names) != classes[head]:
      raise UserError(f'{files[head]}: {len(names)} class names, but the weights have {classes[head]} classes')
  return names_by_head


def numbered_class_names(count):
  """Names for classes without names: 'class 0' to 'class <count-1>'."""
  return numbered_names('class', count)


def numbered_names(word, count):
  """'WORD 0' to 'WORD <count-1>', list of str."""
  return [f'{word} {i}' for i in range(count)]


def imagenet_class_names():
  """Names of the 1000 classes of ILSVRC 2012 in the usual order, with synonyms separated by commas, list of str."""
  return (importlib.resources.files('audionet_tf.data.tables') / 'imagenet_names.txt').read_text('utf-8').splitlines()


def default_class_names(count):
  """ImageNet's names for 1000 classes, or for 1001 with 'background' first; `numbered_class_names` for other counts."""
  if count == IMAGENET_CLASSES:
    return imagenet_class_names()
  return ['background', *imagenet_class_names()] if count == IMAGENET_CLASSES + 1 else numbered_class_names(count)
