"""The filters of a student's first layer, if its input is the waveform."""

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file, student_paths
from audionet_tf.saved_model import loader


def load(path):
  """Reads the filters of a student on disk.

  Args:
    path: of a run, an export or a `.keras` file.

  Returns:
    (f32 [kernel, filters], student_settings.StudentConfig).

  Raises:
    UserError: there is no student, or its first layer gets something else than the waveform, such as a spectrogram.
  """
  path = student_paths.resolve(path)
  if path.suffix == '.keras':
    model, settings = student_file.load(path)
    variables = model.variables
  else:
    export = loader.load(path, names=False)
    variables, settings = export.module.student_variables, export.settings
  kernel = first_kernel(variables)
  if kernel is None:
    raise UserError(
      f'{path}: {settings.student} has no filters on the waveform; choose a student such as audionet or soundnet8'
    )
  return kernel, settings


def first_kernel(variables):
  """The filters of the first convolution over the waveform, f32 [kernel, filters]; None if there is none.

  Args:
    variables: Keras or TensorFlow variables of a student; a convolution over one channel is [kernel, 1, filters].
  """
  for variable in variables:
    if len(variable.shape) == 3 and variable.shape[1] == 1 and variable.shape[0] > 1:
      return np.asarray(variable.numpy(), np.float32)[:, 0]
  return None
