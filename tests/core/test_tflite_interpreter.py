"""TensorFlow Lite files in LiteRT."""

import image_classifiers
import numpy as np
import pytest

from audionet_tf.core import tflite_interpreter


def test_predictions_match_numpy(tmp_path):
  path = image_classifiers.Classifier(1).to_tflite(tmp_path / 'x.tflite')
  interpreter = tflite_interpreter.interpreter(path, threads=1)
  pictures = image_classifiers.IMAGES[:1].astype(np.float32) / 255
  scores = interpreter.get_signature_runner('serving_default')(pictures=pictures)['scores']
  expected = image_classifiers.softmax(pictures.mean((1, 2)) @ image_classifiers.KERNEL + image_classifiers.BIAS)
  np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize('content', [b'', b'no model' * 9])
def test_invalid_files_are_refused(tmp_path, content):
  (tmp_path / 'x.tflite').write_bytes(content)
  with pytest.raises((ValueError, RuntimeError)):
    tflite_interpreter.interpreter(tmp_path / 'x.tflite')
