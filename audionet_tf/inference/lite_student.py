"""The starter in LiteRT, for commands whose users wait for a first result: it starts in a tenth of TensorFlow's time.

The package has the starter's .tflite file beside its .keras file (scripts/make_starter): sound of any length in,
`signatures.numeric_outputs` out, weights in float16. Only the starter is predicted so. LiteRT does not check what it
reads, so that a stranger's file could crash it.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import joblib
import numpy as np

from audionet_tf.core import cli, notices, tflite_interpreter
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import sound_needs, starter, student_settings
from audionet_tf.teachers import student_words

SIGNATURE = 'serving_default'


@dataclasses.dataclass(frozen=True)
class LiteStudent:
  """A student in LiteRT, which `predict.file_predictor` takes in place of a loader.LoadedExport.

  Attributes:
    settings: student_settings.StudentConfig.
    class_names: list of str, of the first head.
    network: sound_needs.SoundNeeds.
    run: function of `waveform` f32 [batch, samples] to a dict of output name to f32 array.
    path: of the file.
  """

  settings: student_settings.StudentConfig
  class_names: list
  network: sound_needs.SoundNeeds
  run: Callable = dataclasses.field(repr=False)
  path: pathlib.Path

  @property
  def shortest_samples(self):
    """The fewest samples that the student takes."""
    return self.network.shortest_samples


def load(model, classes):
  """The student of a command that predicts sound: a LiteStudent where there is one, else a loader.LoadedExport.

  Arguments and errors are those of `student_words.load`.
  """
  student = find(model)
  if student is None:
    cli.import_tensorflow()
    student = student_words.load(model, classes)
  return student


def find(model):
  """The LiteStudent that predicts as the student at the path `model` does, or None where TensorFlow has to."""
  path = pathlib.Path(model).with_suffix('.tflite')
  if not (starter.is_starter(model) and path.is_file()):
    return None
  settings = student_settings.read_settings(model)
  network = sound_needs.STUDENTS.get(settings.student)
  if network is None:
    return None
  run = notices.quietly(runner, path)
  return LiteStudent(settings, next(iter(settings.classes.values())), network, run, path)


def runner(path):
  """The signature of a .tflite file, as a function."""
  interpreter = tflite_interpreter.interpreter(path, joblib.cpu_count())
  interpreter.allocate_tensors()  # it tells on stderr what it starts
  return interpreter.get_signature_runner(SIGNATURE)


def window_function(student, names, top, repeats, head):
  """The function of a FilePredictor of windows: int16 [B, samples] and the number of them that count to arrays by name.

  Args:
    student: LiteStudent.
    names: set of the arrays to return: `probabilities`, `embedding`, `top`, `top_probabilities`, `sum`.
    top, repeats, head: as in `predict.file_predictor`, within their limits.
  """
  several_heads = len(student.settings.classes) > 1
  first = next(iter(student.settings.classes))

  def predict_batch(pcm, count):
    outputs = student.run(waveform=np.tile(pcm.astype(np.float32) / np.float32(PCM_SCALE), [1, repeats]))
    if several_heads and head != first:
      outputs['probabilities'] = outputs[f'{head}/probabilities']
    probabilities = outputs['probabilities']
    outputs['sum'] = probabilities[:count].sum(0)
    outputs['top'] = np.argsort(-probabilities, axis=1, kind='stable')[:, :top].astype(np.int32)
    outputs['top_probabilities'] = np.take_along_axis(probabilities, outputs['top'], 1)
    return {name: outputs[name] for name in names}

  return predict_batch
