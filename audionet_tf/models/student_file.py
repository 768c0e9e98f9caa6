"""A student on disk: `X.keras` with the model, and beside it `X.json` with its settings (`student_settings`)."""

import dataclasses
import pathlib

import keras
import numpy as np

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.layers import categories, mean_step, nearest_text  # noqa: F401 (register layers that a file may hold)
from audionet_tf.models import (
  registry,  # noqa: F401 (its networks register theirs)
  student_settings,
)


def save(path, model, settings):
  """Writes a student atomically.

  Args:
    path: of the .keras file; the .json is written beside it.
    model: keras.Model.
    settings: student_settings.StudentConfig.
  """
  path = pathlib.Path(path)
  with files.atomic_write(path, 'wb', files.partial_path(path)) as file:
    model.save(file.name)
  files.write_json(path.with_suffix('.json'), dataclasses.asdict(settings))


def load(path):
  """Reads a student.

  Args:
    path: of the .keras file, with the .json beside it.

  Returns:
    (keras.Model, student_settings.StudentConfig).

  Raises:
    UserError: a file is missing or damaged.
  """
  path = pathlib.Path(path)
  settings = student_settings.read_settings(path)
  try:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
  except Exception as error:  # Keras raises whatever its parts raise: a damaged file is the user's to mend
    raise UserError(f'{path}: not a readable .keras file ({text.brief(error)})') from error
  return model, settings


def saved(path, student, settings):
  """What `load` reads, if a .keras file holds the weights of a student, and its .json the settings; else None."""
  try:
    model, saved_settings = load(path)
  except UserError:
    return None
  weights, saved_weights = student.get_weights(), model.get_weights()
  same = saved_settings == settings and len(saved_weights) == len(weights)
  return (model, saved_settings) if same and all(map(np.array_equal, saved_weights, weights)) else None
