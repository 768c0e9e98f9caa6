"""A trained student as a function from sound to logits, from a run, an export or a `.keras` file."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.models import alignment, heads, student_file, student_paths, student_settings
from audionet_tf.saved_model import loader, signatures


@dataclasses.dataclass(frozen=True)
class LogitsModel:
  """A trained student, from a .keras file or a SavedModel.

  Attributes:
    logits: f32 [B, samples] -> f32 [B, T, classes], of the first head. T = 1, their mean, for an older SavedModel
      without the signatures `layers` and `steps`. Raises UserError if they are not finite.
    settings: student_settings.StudentConfig.
    alignment: RecordParams -> f32 [T, pictures], the weights of a window's pictures in the target of each step.
    head: name of that head, and of its teacher.
    class_names: list of str [classes].
  """

  logits: Callable
  settings: student_settings.StudentConfig
  alignment: Callable
  head: str
  class_names: list

  def probabilities(self, logits):
    """Probabilities of logits, both float [..., classes], as a NumPy array."""
    return self.settings.probabilities(self.head, logits).numpy()


def load_student(path):
  """Loads a student.

  Args:
    path: of a run, an export (`RUN/export`), one of its versions (`RUN/export/1`) or a `.keras` file.

  Returns:
    LogitsModel.

  Raises:
    UserError: there is no student, or it has no class names or no logits of its first head.
  """
  path = student_paths.resolve(path)
  if path.suffix == '.keras':
    model, settings = student_file.load(path)
    student_settings.check_names(path, settings)
    head = next(iter(settings.classes))
    outputs = model.output if isinstance(model.output, dict) else {}
    if f'{heads.LOGITS}{head}' not in outputs:
      raise UserError(f'{path}: its outputs are not those of a student with head {head}')
    return stepwise_model(lambda waveform: model(waveform, training=False)[heads.LOGITS + head], settings, head)
  export = loader.load(path)
  head = next(iter(export.settings.classes))
  if signatures.LAYERS in export.signatures:
    signature, logits = signatures.LAYERS, signatures.layer_of(export.settings, head)
  elif signatures.STEPS in export.signatures:
    signature, logits = signatures.STEPS, heads.LOGITS + head
  else:
    return mean_model(export, head)
  return stepwise_model(lambda waveform: export.signatures[signature](waveform=waveform)[logits], export.settings, head)


def read_settings(path):
  """The student_settings.StudentConfig of a student, which is not loaded; `path` and errors as of `load_student`."""
  path = student_paths.resolve(path)
  return (
    student_settings.read_settings(path)
    if path.suffix == '.keras'
    else loader.read_settings(student_paths.find_export(path))
  )


def mean_model(export, head):
  """The LogitsModel of a loader.LoadedExport with a single step, or with only the mean of its steps."""

  def mean_alignment(params):
    return np.full([1, params.answers_per_window], 1 / params.answers_per_window, np.float32)

  def logits(waveform):
    return require_finite(export.predict(waveform)['logits'][:, None])

  return LogitsModel(logits, export.settings, mean_alignment, head, export.class_names)


def stepwise_model(function, settings, head):
  """The LogitsModel of a function from waveforms f32 [B, samples] to logits, a tensor [B, T, classes]."""
  compiled = tf.function(function, input_signature=[tf.TensorSpec([None, None], tf.float32)])

  def logits(waveform):
    return require_finite(compiled(waveform).numpy())

  def step_alignment(params):
    return alignment.for_student(settings.student, params, settings.target_steps)

  return LogitsModel(logits, settings, step_alignment, head, settings.classes[head])


def require_finite(logits):
  """Returns the logits; UserError if some are not finite."""
  if not np.isfinite(logits).all():
    raise UserError('the student predicts values that are not finite: its training diverged; train it again')
  return logits
