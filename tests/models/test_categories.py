"""Categories and `unknown` behind a student: against NumPy, calibrated on numbers, in the file and the exports."""

import keras
import numpy as np
import pytest
import soundnets
from scipy import special

from audionet_tf.core import tflite_interpreter
from audionet_tf.evaluation import predictor
from audionet_tf.layers import categories as layers_categories
from audionet_tf.models import categories, student_file
from audionet_tf.models.networks import logmel_cnn
from audionet_tf.saved_model import export, loader

TABLE = (('conv1', 3, (7, 5), (4, 2)), ('pool1', None, 2, 2), ('conv2', 8, 3, 1))
GROUPS = {'dog': [0, 2], 'rain': [3]}
RNG = np.random.default_rng(0)
KNOWN, OTHERS = (np.abs(RNG.normal(size=[count, 8])).astype(np.float32) for count in (12, 5))


def familiarity(embedding):
  """f64 [B], one pair after the other."""
  found = []
  for row in embedding.astype(np.float64):
    cosines = [sorted(x @ row / np.linalg.norm(x) / np.linalg.norm(row) for x in group) for group in (KNOWN, OTHERS)]
    found.append(np.mean(cosines[0][-3:]) - np.mean(cosines[1][-3:]) / 3)
  return np.array(found)


def test_familiarity_is_the_nearest_cosines():
  embedding = np.abs(RNG.normal(size=[6, 8])).astype(np.float32)
  found = categories.familiarity_of(KNOWN, OTHERS)(embedding)
  np.testing.assert_allclose(found, familiarity(embedding), atol=1e-6)
  np.testing.assert_allclose(categories.familiarity_of(KNOWN, OTHERS)(10 * embedding), found, atol=1e-6)


def test_probabilities_are_shares_of_what_is_known():
  logits, near = RNG.normal(size=[4, 2, 6]).astype(np.float32), np.array([0.1, 0.3, 0.5, 0.9], np.float32)
  found = np.exp(layers_categories.Categories(list(GROUPS.values()), 0.3, 20.0)([logits, near]))
  probabilities = special.softmax(logits.astype(np.float64), -1)
  sums = np.stack([probabilities[..., of].sum(-1) for of in GROUPS.values()], -1)
  known = special.expit(20 * (near.astype(np.float64) - 0.3))[:, None, None]
  expected = np.concatenate([known * sums / sums.sum(-1, keepdims=True), np.tile(1 - known, [1, 2, 1])], -1)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_threshold_takes_a_share_of_the_known_for_unknown():
  known, others = RNG.normal(0.6, 0.1, 400).astype(np.float32), RNG.normal(0.3, 0.1, 900).astype(np.float32)
  threshold, slope = categories.calibrated(known, others)
  assert np.mean(known < threshold) == pytest.approx(0.02, abs=0.005)
  assert slope == pytest.approx(30, rel=0.25)  # of two normal distributions: difference of means by variance


@pytest.fixture(scope='module')
def made():
  """(model, settings) of a small student with the head, and the student itself."""
  keras.utils.set_random_seed(0)
  plain = logmel_cnn.logmel_cnn({'teacher': 7}, TABLE, name='logmel_cnn_level', same_level=True)
  layer = categories.familiarity_of(KNOWN, OTHERS)
  return *categories.added(plain, soundnets.settings('logmel_cnn_level', 1.0), GROUPS, layer, 0.4, 10.0), plain


def test_file_and_exports_name_categories(made, tmp_path):
  model, settings, plain = made
  assert list(settings.classes) == ['category', 'teacher'] and settings.classes['category'] == [
    'dog',
    'rain',
    'unknown',
  ]
  student_file.save(tmp_path / 'student.keras', model, settings)
  again, _ = student_file.load(tmp_path / 'student.keras')
  sounds = soundnets.noise(3, 22_050)
  before = plain(sounds, training=False)
  embedding = before['embedding'].numpy()
  known = special.expit(10 * (familiarity(embedding) - 0.4))
  probabilities = special.softmax(before['logits/teacher'].numpy()[:, 0].astype(np.float64), -1)
  sums = np.stack([probabilities[:, of].sum(1) for of in GROUPS.values()], 1)
  expected = np.concatenate([known[:, None] * sums / sums.sum(1, keepdims=True), 1 - known[:, None]], 1)
  np.testing.assert_allclose(special.softmax(again(sounds)['logits/category'][:, 0], -1), expected, atol=1e-4)
  np.testing.assert_allclose(again(sounds)['logits/teacher'], before['logits/teacher'], atol=1e-5)
  folder = export.export(again, settings, tmp_path / 'export', tflite=True)
  served = loader.load(folder)
  assert served.class_names == ['dog', 'rain', 'unknown']
  np.testing.assert_allclose(served.predict(sounds)['probabilities'], expected, atol=1e-4)
  lite = tflite_interpreter.interpreter(folder / 'model_any_length.tflite').get_signature_runner('serving_default')
  np.testing.assert_allclose(lite(waveform=sounds)['probabilities'], expected, atol=2e-3)
  student = predictor.load_student(tmp_path / 'student.keras')
  np.testing.assert_allclose(student.probabilities(student.logits(sounds))[:, 0], expected, atol=1e-4)
