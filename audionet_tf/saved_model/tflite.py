"""An export's `serving_default` as a TensorFlow Lite file, checked with the interpreter at several lengths.

Built-in operations only: it runs where the Flex delegate does not exist. The interpreter resizes `waveform`, so that
any length goes, as in the SavedModel. Read it through its signature: outputs have no fixed order.

TensorFlow Lite has no transform in float64: of a network on log-mel bands, a copy with float32 is converted. Beside a
loud pure tone its silent bands are the rounding of that, and answers to such sounds may differ by TOLERANCE_FLOAT32.
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
  """Writes `path` from a SavedModel, then compares it with the model in memory.

  Args:
    saved_model: folder of one version.
    path: of the .tflite file.
    model, settings: what was exported.
    length: samples in a window.

  Raises:
    RuntimeError: the file does not answer as the model does.
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
    expected = verify.expected_answers(model, settings, waveform)
    verify.check_close(run(waveform=waveform), expected, f'{path.name}, {waveform.shape[1]} samples', tolerance)
