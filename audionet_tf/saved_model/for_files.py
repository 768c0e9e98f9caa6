"""Loads a student that predicts files, from an export or from a .keras file: both have the same signatures."""

from audionet_tf.models import student_file, student_paths, student_settings
from audionet_tf.saved_model import export, loader, signatures


def load(path, names=True):
  """Loads a student.

  Args:
    path: of a run (its export, if it has one), an export, a .keras file, or 'starter'.
    names: whether the student must have class names.

  Returns:
    loader.LoadedExport.

  Raises:
    UserError: there is no student, it is damaged, or it has no classes.
  """
  path = student_paths.find_for_files(path)
  if path.suffix != '.keras':
    return loader.load(path, names)
  model, settings = student_file.load(path)
  if names:
    student_settings.check_names(path, settings)
  return of_model(model, settings, path)


def of_model(model, settings, path):
  """The loader.LoadedExport of a student in memory; `path` is for messages. Errors are those of `load`."""
  export.check_settings(model, settings)
  class_names = next(iter(settings.classes.values()), [])
  return loader.LoadedExport(settings, class_names, signatures.all_signatures(model, settings), model, path)
