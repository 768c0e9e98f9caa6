"""The starter in LiteRT, for commands whose users wait for a first result: TensorFlow would take most of that time.

The package has the starter's .tflite file beside its .keras file (scripts/make_starter): sound of any length in,
`signatures.numeric_outputs` out, weights in float16. Only the starter is predicted so: of the files of others nobody
has looked at the operations, as `core.saved_model_allowlist` does for exports.
"""

import dataclasses
import pathlib
import threading
from collections.abc import Callable

import joblib
import numpy as np

from audionet_tf.core import cli, notices, text, tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import sound_needs, starter, student_settings
from audionet_tf.teachers import student_words

SIGNATURE = 'serving_default'
MOST_THREADS = 8  # the network is small
BATCH_SAMPLES = 1 << 17  # samples per call: more are no faster here


@dataclasses.dataclass(frozen=True)
class LiteStudent:
  """A student in LiteRT, which `predict.file_predictor` takes in place of a loader.LoadedExport. It predicts windows.

  Attributes:
    settings: student_settings.StudentConfig.
    network: sound_needs.SoundNeeds.
    run: function of `waveform` f32 [batch, samples] to a dict of output name to f32 array, for any thread.
  """

  settings: student_settings.StudentConfig
  network: sound_needs.SoundNeeds
  run: Callable = dataclasses.field(repr=False)

  @property
  def shortest_samples(self):
    """The fewest samples that the student takes."""
    return self.network.shortest_samples


def load(model, classes):
  """The student of a command that predicts sound: a LiteStudent where there is one, else a loader.LoadedExport.

  Args:
    model, classes: as for `student_words.load`.

  Raises:
    UserError: as `student_words.load`, or a damaged file of the package.
  """
  student = find(model) if classes is None else None
  if student is None:
    cli.import_tensorflow()
    student = student_words.load(model, classes)
  return student


def find(model):
  """The LiteStudent that predicts as the student at the path `model` does, or None where TensorFlow has to.

  Raises:
    UserError: a file of the package is damaged.
  """
  path = pathlib.Path(model).with_suffix('.tflite')
  if not (starter.is_starter(model) and path.is_file()):
    return None
  settings = student_settings.read_settings(model)
  network = sound_needs.STUDENTS.get(settings.student)
  if network is None:
    return None
  try:
    return LiteStudent(settings, network, notices.quietly(runner, path))
  except (ValueError, RuntimeError) as error:
    raise UserError(f'{path}: damaged ({text.brief(error)}); install audionet_tf again') from error


def runner(path):
  """The signature of a .tflite file, as a function. Errors are those of `tflite_interpreter.interpreter`."""
  interpreter = tflite_interpreter.interpreter(path, min(MOST_THREADS, joblib.cpu_count()))
  interpreter.allocate_tensors()  # it tells on stderr what it starts
  signature, lock = interpreter.get_signature_runner(SIGNATURE), threading.Lock()

  def run(waveform):
    with lock:  # an interpreter has one set of tensors
      return signature(waveform=waveform)

  return run


def window_function(student, names, top, repeats, head):
  """The function of a FilePredictor of windows: int16 [B, samples] and the number of them that count to arrays by name.

  Its arrays have the windows that count alone.

  Args:
    student: LiteStudent.
    names: set of the arrays to return: `probabilities`, `embedding`, `top`, `top_probabilities`, `sum`.
    top, repeats, head: as in `predict.file_predictor`, within their limits.
  """
  first, *_ = student.settings.classes

  def predict_batch(pcm, count):
    outputs = student.run(np.tile(pcm[:count].astype(np.float32) / np.float32(PCM_SCALE), [1, repeats]))
    if head != first:
      outputs['probabilities'] = outputs[f'{head}/probabilities']
    probabilities = outputs['probabilities']
    outputs['sum'] = probabilities.sum(0)
    outputs['top'] = np.argsort(-probabilities, axis=1, kind='stable')[:, :top].astype(np.int32)
    outputs['top_probabilities'] = np.take_along_axis(probabilities, outputs['top'], 1)
    return {name: outputs[name] for name in names}

  return predict_batch
