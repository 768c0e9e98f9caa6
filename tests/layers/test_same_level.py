"""A front end that does not mind levels or filters: against NumPy, in students, in their files and exports."""

import keras
import numpy as np
import pytest
import soundnets
import tensorflow as tf
from scipy import special

from audionet_tf.core import tflite_interpreter
from audionet_tf.layers import log_mel
from audionet_tf.models import registry, student_file
from audionet_tf.saved_model import export, loader

STUDENTS = ('logmel_cnn_level', 'logmel_cnn_contrast')


def sounds(samples=30_000):
  rng = np.random.default_rng(0)
  envelope = np.array([0.001, 0.1, 0.5])[:, None] * np.linspace(0.1, 1, samples)
  return (rng.uniform(-1, 1, [3, samples]) * envelope).astype(np.float32)


@pytest.fixture(scope='module', params=STUDENTS)
def model(request):
  keras.utils.set_random_seed(0)
  return registry.build(request.param, {'teacher': 7})


def test_every_sound_has_the_same_root_mean_square():
  found = log_mel.SameLevel(0.2)(sounds()).numpy().astype(np.float64)
  np.testing.assert_allclose(np.sqrt((found**2).mean(1)), 0.2, rtol=1e-5)
  for row, before in zip(found, sounds(), strict=True):
    np.testing.assert_allclose(row * np.linalg.norm(before), before * np.linalg.norm(row), rtol=1e-3, atol=1e-6)


def test_what_is_nearly_silence_is_raised_but_not_without_bounds():
  sound = np.zeros([2, 1000], np.float32)
  sound[1] = 1e-7 * (-1.0) ** np.arange(1000)
  found = log_mel.SameLevel(0.1, softest=1e-5)(sound).numpy()
  assert not found[0].any()
  np.testing.assert_allclose(found[1], 1e4 * sound[1], rtol=1e-4)


def test_gradient_towards_silence_is_finite():
  sound = tf.Variable(tf.zeros([1, 800]))
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(log_mel.SameLevel()(sound))
  assert np.isfinite(tape.gradient(total, sound).numpy()).all()


def test_student_says_the_same_at_every_level(model):
  loud = model(sounds(), training=False)['logits/teacher'].numpy()
  for factor in (0.05, 10):
    found = model(np.float32(factor) * sounds(), training=False)['logits/teacher'].numpy()
    np.testing.assert_allclose(found, loud, atol=1e-3 * np.abs(loud).max())


def test_but_for_the_level_it_is_the_plain_network():
  keras.utils.set_random_seed(0)
  model, plain = (registry.build(name, {'teacher': 7}) for name in ('logmel_cnn_level', 'logmel_cnn'))
  plain.set_weights(model.get_weights())
  expected = plain(log_mel.SameLevel()(sounds()), training=False)['logits/teacher'].numpy()
  found = model(sounds(), training=False)['logits/teacher']
  np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_contrast_does_not_notice_what_a_filter_adds_to_a_band():
  spectrogram = np.random.default_rng(1).normal(size=[2, 9, 5, 1]).astype(np.float32)
  found = log_mel.Contrast()(spectrogram).numpy()
  np.testing.assert_array_equal(found[..., :1], spectrogram)
  np.testing.assert_allclose(found[..., 1], spectrogram[..., 0] - spectrogram[..., 0].mean(1, keepdims=True), atol=1e-6)
  filtered = log_mel.Contrast()(spectrogram + np.arange(5, dtype=np.float32)[:, None]).numpy()
  np.testing.assert_allclose(filtered[..., 1], found[..., 1], atol=1e-5)


def test_other_students_have_no_such_layer():
  assert not [layer for layer in registry.build('logmel_cnn', {'t': 2}).layers if isinstance(layer, log_mel.SameLevel)]


def test_file_saved_model_and_tflite_say_the_same(model, tmp_path):
  settings = soundnets.settings(model.name, 1.5)
  student_file.save(tmp_path / 'student.keras', model, settings)
  again, _ = student_file.load(tmp_path / 'student.keras')
  (layer,) = (layer for layer in again.layers if isinstance(layer, log_mel.SameLevel))
  assert (layer.level, layer.softest) == (0.1, 1e-5)
  logits = model(sounds(), training=False)['logits/teacher'].numpy()[:, 0]
  np.testing.assert_allclose(again(sounds(), training=False)['logits/teacher'][:, 0], logits, atol=1e-5)
  folder = export.export(again, settings, tmp_path / 'export', tflite=True)
  served = loader.load(folder)
  lite = tflite_interpreter.interpreter(folder / 'model_any_length.tflite').get_signature_runner('serving_default')
  for waveform in (sounds(), np.float32(0.05) * sounds()):
    for answers in (served.predict(waveform), lite(waveform=waveform)):
      np.testing.assert_allclose(answers['probabilities'], special.softmax(logits, -1), atol=2e-3)
