"""Converts an export's `serving_default` to TensorFlow Lite, and checks it with the interpreter at several lengths.

The file uses built-in operations only, so that no Flex delegate is needed. Resize the input `waveform` for sound of any
length. Use the signature: the outputs have no fixed order.

TensorFlow Lite has no float64 FFT, so a network on log-mel bands is converted with float32. Next to a loud pure tone
its silent bands then hold rounding errors, and outputs may differ by TOLERANCE_FLOAT32.
"""

import contextlib
import pathlib
import tempfile

import tensorflow as tf

from audionet_tf.core import files, tflite_interpreter
from audionet_tf.layers import log_mel
from audionet_tf.models import registry
from audionet_tf.saved_model import verify, writer

TOLERANCE_FLOAT32 = 1e-2


def convert(saved_model, path, model, settings, length):
  """Writes a `.tflite` file from a SavedModel, then compares it with the model in memory.

  Args:
    saved_model: folder of one version.
    path: pathlib.Path of the `.tflite` file.
    model: keras.Model that was exported.
    settings: its student_file.StudentConfig.
    length: samples in a window.

  Raises:
    RuntimeError: the file's outputs differ from the model's.
  """
  copy = log_mel.in_float32(model)
  with contextlib.ExitStack() as stack:
    if copy is not model:
      saved_model = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent)))
      writer.write(copy, settings, saved_model)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=['serving_default'])
    with files.atomic_write(path, 'wb') as file:
      file.write(converter.convert())
  tolerance = verify.TOLERANCE if copy is model else TOLERANCE_FLOAT32
  run = tflite_interpreter.interpreter(path).get_signature_runner('serving_default')
  for waveform in verify.probe_waveforms(length, registry.shortest_samples(settings.student)):
    expected = verify.expected_predictions(model, settings, waveform)
    verify.check_close(run(waveform=waveform), expected, f'{path.name}, {waveform.shape[1]} samples', tolerance)
