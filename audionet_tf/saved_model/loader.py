"""Loads an export. `writer` lists its files, `signatures` its inputs and outputs."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from audionet_tf.core import saved_model_allowlist, text
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_paths, student_settings
from audionet_tf.saved_model import verify
from audionet_tf.saved_model.writer import SETTINGS_FILE


@dataclasses.dataclass(frozen=True)
class LoadedExport:
  """A loaded export.

  Attributes:
    settings: student_settings.StudentConfig.
    class_names: list of str, of the first head; empty without heads.
    signatures: dict of signature name to concrete function; call them with `waveform=`.
    module: the loaded object, which keeps the variables alive.
    path: of the version's folder.
  """

  settings: student_settings.StudentConfig
  class_names: list
  signatures: dict
  module: object = dataclasses.field(repr=False)
  path: pathlib.Path | None = None

  @property
  def network(self):
    """The registry.Architecture of the student."""
    return registry.network(self.settings.student)

  @property
  def shortest_samples(self):
    """The fewest samples that the student takes."""
    return registry.shortest_of(self.network)

  def predict(self, waveform):
    """Calls `serving_default` on f32 [batch, samples]; returns a dict of NumPy arrays, `top_classes` as str."""
    return self._call('serving_default', waveform)

  def windows(self, waveform):
    """Calls `windows` on f32 [samples]; returns a dict of NumPy arrays, `top_classes` as str."""
    return self._call('windows', waveform)

  def _call(self, signature, waveform):
    outputs = self.signatures[signature](waveform=tf.constant(waveform, tf.float32))
    arrays = {name: output.numpy() for name, output in outputs.items()}
    if 'top_classes' in arrays:
      arrays['top_classes'] = np.char.decode(arrays['top_classes'].astype(bytes), 'utf-8')
    return arrays


def read_settings(path):
  """Reads the student_settings.StudentConfig in the assets of a version's folder. UserError if missing or not valid."""
  file = path / 'assets' / SETTINGS_FILE
  if not file.is_file():
    raise UserError(f'{path}: a SavedModel, but not of a student: assets/{SETTINGS_FILE} is missing')
  return student_settings.settings_in(file)


def load(path, names=True):
  """Loads an export.

  Args:
    path: of a version's folder, of the folder of versions (the highest is loaded), or of a run that holds an export.
    names: whether the student must have class names.

  Returns:
    LoadedExport.

  Raises:
    UserError: there is no export, it is damaged, lacks a signature or an output, contains forbidden operations, or
      has no classes.
  """
  path = student_paths.find_export(path)
  settings = read_settings(path)
  if names:
    student_settings.check_names(path, settings)
  class_names = next(iter(settings.classes.values()), [])
  saved_model_allowlist.check_operations(path)
  try:
    module = tf.saved_model.load(str(path))
    expected = verify.expected_outputs(settings).keys()
    functions = {name: function for name, function in module.signatures.items() if name in expected}
  except Exception as error:  # a damaged export can make TensorFlow raise anything
    raise UserError(f'{path}: not a readable export ({text.brief(error)})') from error
  verify.check_signatures(path, functions, settings)
  probabilities = functions['serving_default'].structured_outputs.get('probabilities')
  classes = 0 if probabilities is None else probabilities.shape[-1]
  if classes != len(class_names):
    raise UserError(f'{path}: {classes} classes, but {len(class_names)} class names; export the student again')
  return LoadedExport(settings, class_names, functions, module, path)
