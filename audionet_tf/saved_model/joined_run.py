"""Trained students joined into one, in a folder like that of a run: student.keras, student.json and export/1."""

import functools
import pathlib

from audionet_tf.core import files, notices
from audionet_tf.core.errors import UserError
from audionet_tf.models import student_paths


def check(models, folder, replace=False):
  """UserError for fewer than two students, one that is missing, or a folder that holds a student and keeps it.

  Args:
    models: list of runs or .keras files, or their addresses.
    folder: where the joined student is to be.
    replace: whether it may hold one.
  """
  if isinstance(models, str) or len(models) < 2:
    given = models if isinstance(models, str) else ', '.join(map(str, models)) or 'none'
    raise UserError(f'given is {given}; two or more students are needed to join them')
  for path in models:
    student_paths.require_student(keras_file(path))
  if not replace and (pathlib.Path(folder) / student_paths.STUDENT_FILE).exists():
    raise UserError(f'{folder}: holds a student already; choose another folder')


def keras_file(path):
  """The .keras file that the path of a run, or of such a file, means."""
  path = student_paths.resolve(path)
  return path if path.suffix == '.keras' else path / student_paths.STUDENT_FILE


def write(models, folder, replace=False):
  """Joins the students of `models` in `folder`, made if missing; arguments and errors as `check`, and `joined.join`'s.

  With `replace` a student that is there stays if it is the same and its export is whole; else there is a next version
  of the export, which is made first: a student without its own export would pass for finished.

  Returns:
    (keras.Model, student_settings.StudentConfig, pathlib.Path of the export).
  """
  check(models, folder, replace)
  # Here: they import TensorFlow, which mistakes need not wait for.
  from audionet_tf.models import joined, student_file
  from audionet_tf.saved_model import export

  model, settings = joined.join([student_file.load(keras_file(path)) for path in models])
  folder = pathlib.Path(folder)
  path, exports = folder / student_paths.STUDENT_FILE, folder / student_paths.EXPORT_FOLDER
  if student_file.saved(path, model, settings) and exports.is_dir():
    newest = student_paths.find_export(folder)
    if export.is_whole(newest, model, settings):
      return model, settings, newest
  with files.space_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
    exported = notices.quietly(functools.partial(export.export, model, settings, exports))
    student_file.save(path, model, settings)
  return model, settings, exported
