"""The starter, a student that the package contains: what commands use without --model. Found without TensorFlow."""

import json
import sys

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.models import student_paths


def chosen(model):
  """The path of the student to use: `model`, or where that is None the starter, which one line on stderr announces.

  Raises:
    UserError: the starter is missing.
  """
  if model is not None:
    return model
  print(announcement(), file=sys.stderr, flush=True)
  return student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE


def announcement():
  """The line that says what the starter knows. UserError: it is missing."""
  file = (student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE).with_suffix('.json')
  try:
    classes = json.loads(file.read_text(encoding='utf-8'))['classes']
  except FileNotFoundError:
    raise UserError(f'{file}: this installation has no starter; choose a student with --model') from None
  first, *_ = classes.values()
  *known, unknown = (text.one_line(name).replace('_', ' ') for name in first)
  return (
    f'using the starter, which knows {", ".join(known)} and calls all else {unknown}; '
    'audionet-train makes a student of your own videos'
  )


def is_starter(path):
  """Whether `path` is that of the starter's file."""
  return path is not None and path == student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE
