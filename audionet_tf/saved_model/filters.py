"""The filters of the layer that gets the waveform, of a student on disk."""

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file, student_paths
from audionet_tf.saved_model import loader


def load(path):
  """(f32 [K, filters], StudentSettings) of a run, an export or a .keras file.

  Raises UserError: no student there, or one whose first layer hears something else, such as a spectrogram.
  """
  path = student_paths.resolve(path)
  if path.suffix == '.keras':
    model, settings = student_file.load(path)
    variables = model.variables
  else:
    served = loader.load(path, names=False)
    variables, settings = served.module.student_variables, served.settings
  kernel = first_kernel(variables)
  if kernel is None:
    raise UserError(f'{path}: {settings.student} has no filters that hear sound itself')
  return kernel, settings


def first_kernel(variables):
  """f32 [K, filters] of the first layer that hears sound itself; None where there is none.

  Args:
    variables: Keras or TensorFlow variables of a student; a convolution over one channel is [K, 1, filters].
  """
  for variable in variables:
    if len(variable.shape) == 3 and variable.shape[1] == 1 and variable.shape[0] > 1:
      return np.asarray(variable.numpy(), np.float32)[:, 0]
  return None
