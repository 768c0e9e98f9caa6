"""The filters that hear the sound itself, of a student on the disk."""

import pathlib

from audionet_tf import results, serving, students
from audionet_tf.errors import UserError


def load(path):
  """(f32 [K, filters], StudentSettings) of a run, an export or a .keras file.

  Raises UserError: no student there, or one whose first layer hears something else, such as a spectrogram.
  """
  path = pathlib.Path(path)
  path = path / 'student.keras' if (path / 'student.keras').is_file() else path
  if path.suffix == '.keras':
    model, settings = students.load(path)
    variables = model.variables
  else:
    served = serving.load(path, names=False)
    variables, settings = served.module.student_variables, served.settings
  kernel = results.first_kernel(variables)
  if kernel is None:
    raise UserError(f'{path}: {settings.student} has no filters that hear sound itself')
  return kernel, settings
