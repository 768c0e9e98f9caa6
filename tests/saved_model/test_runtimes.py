"""Students in TensorFlow Lite (LiteRT), ONNX Runtime and TensorFlow's C API against Keras, at two lengths."""

import numpy as np
import onnx_or_skip  # noqa: F401 (skips this module where the extra is missing)
import pytest
import random_students
import saved_model_capi
import soundnets

from audionet_tf.models import registry
from audionet_tf.saved_model import export, onnx_file, signatures, tflite, verify

# More than 20 M weights, which take gigabytes and minutes each: their layers are those of the others, but for sizes.
LARGE = ('vggish', 'alexnet', 'vgg19', 'inception', 'resnet')
NAMES = [name for name in registry.STUDENTS if not name.startswith(LARGE)]
FARTHEST = 1e-4  # of probabilities and embedding, the latter relative to its largest value


@pytest.mark.long
@pytest.mark.parametrize('name', NAMES)
def test_runtimes_answer_as_keras_does(name, tmp_path):
  settings = random_students.settings(name)
  window = signatures.window_samples(settings)
  model = random_students.student(name, soundnets.noise(1, 3 * window))
  version = export.export(model, settings, tmp_path, tflite=True, onnx=True)
  one, any_length = (tflite.runner(version / file) for file in (tflite.WINDOW_FILE, tflite.ANY_LENGTH_FILE))
  onnx = onnx_file.runner(version / onnx_file.FILE)
  for samples in (window, 2 * window + window // 3):
    waveform = soundnets.noise(1, samples, seed=1)
    expected = verify.expected_predictions(model, settings, waveform)
    found = {
      'LiteRT': any_length(waveform=waveform),
      'ONNX': onnx(waveform),
      'C API': saved_model_capi.answers(version, 'serving_default', waveform, list(expected), tmp_path),
    }
    found |= {'LiteRT, one window': one(waveform=waveform)} if samples == window else {}
    for runtime, outputs in found.items():
      for key in expected.keys() & outputs.keys():
        atol = FARTHEST * max(1, np.abs(expected[key]).max())
        np.testing.assert_allclose(outputs[key], expected[key], rtol=0, atol=atol, err_msg=f'{runtime} {key}')
    assert not settings.classes or np.ptp(expected['probabilities']) > 0.1
