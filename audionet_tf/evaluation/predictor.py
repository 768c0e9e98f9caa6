"""A trained student as a function from sound to logits, from a run, an export or a `.keras` file."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.models import alignment as models_alignment
from audionet_tf.models import heads, student_file, student_paths
from audionet_tf.saved_model import loader, signatures


@dataclasses.dataclass(frozen=True)
class LogitsModel:
  """A trained student, from a .keras file or a SavedModel.

  Attributes:
    logits: f32 [B, samples] -> f32 [B, T, classes], of the first head. An older SavedModel without the
      signatures `layers` and `steps` gives their mean, T = 1. Raises UserError where they are not finite.
    settings: students.StudentSettings.
    alignment: RecordParams -> f32 [S, T], which pictures of a window each of the logits' steps answers for.
    head: name of that head, and of its teacher.
    class_names: list of str [classes].
  """

  logits: Callable
  settings: student_file.StudentConfig
  alignment: Callable
  head: str
  class_names: list

  def probabilities(self, logits):
    """What logits float [..., classes] say, as NumPy."""
    return self.settings.probabilities(self.head, logits).numpy()


def load_student(path):
  """The Student at `path`: RUN, RUN/export, RUN/export/1 or student.keras. UserError where there is none."""
  path = student_paths.resolve(path)
  if path.suffix == '.keras':
    model, settings = student_file.load(path)
    student_file.check_names(path, settings)
    head = next(iter(settings.classes))
    outputs = model.output if isinstance(model.output, dict) else {}
    if f'{heads.LOGITS}{head}' not in outputs:
      raise UserError(f'{path}: its outputs are not those of a student with head {head}')

    return stepwise(lambda waveform: model(waveform, training=False)[heads.LOGITS + head], settings, head)
  served = loader.load(path)
  head = next(iter(served.settings.classes))
  if signatures.LAYERS in served.signatures:
    signature, logits = signatures.LAYERS, signatures.layer_of(served.settings, head)
  elif signatures.STEPS in served.signatures:
    signature, logits = signatures.STEPS, heads.LOGITS + head
  else:
    return averaging(served, head)
  return stepwise(lambda w: served.signatures[signature](waveform=w)[logits], served.settings, head)


def averaging(served, head):
  """The Student of a loader.LoadedExport that has one step, or gives but their mean."""

  def mean(params):
    return np.full([1, params.answers_per_window], 1 / params.answers_per_window, np.float32)

  return LogitsModel(
    lambda w: finite(served.predict(w)['logits'][:, None]), served.settings, mean, head, served.class_names
  )


def stepwise(answer, settings, head):
  """The Student of a function from f32 [B, samples] to its logits, a tensor [B, T, classes]."""
  heard = tf.function(answer, input_signature=[tf.TensorSpec([None, None], tf.float32)])

  def alignment(params):
    return models_alignment.for_student(settings.student, params, settings.target_steps)

  return LogitsModel(lambda w: finite(heard(w).numpy()), settings, alignment, head, settings.classes[head])


def finite(logits):
  """`logits`, or a UserError where some are infinite or no numbers."""
  if not np.isfinite(logits).all():
    raise UserError('the student gives numbers that are not finite: its training diverged')
  return logits
