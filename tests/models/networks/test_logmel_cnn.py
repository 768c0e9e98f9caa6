"""The log-mel network: outputs, parameters, and what SpecAugment masks in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.data import batch_keys
from audionet_tf.models import registry
from audionet_tf.training.steps import spec_augment
from audionet_tf.training.steps.distiller import Distiller


def student():
  keras.utils.set_random_seed(0)
  return registry.build('logmel_cnn', {'a': 7, 'b': 3})


def test_outputs_and_parameters():
  outputs = student()(np.zeros([2, 30_000], np.float32))
  assert {name: tuple(x.shape) for name, x in outputs.items()} == {
    'embedding': (2, 192),
    'logits/a': (2, 1, 7),
    'logits/b': (2, 1, 3),
  }
  convolutions = 35 * 24 + 9 * (24 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 192 + 192 * 192)
  norms = 4 * (64 + 24 + 2 * (48 + 96 + 192))
  assert student().count_params() == convolutions + norms + 193 * 10


def test_shortest_sound():
  shortest = registry.shortest_samples('logmel_cnn')
  assert student()(np.zeros([1, shortest], np.float32))['embedding'].shape == (1, 192)
  with pytest.raises(ValueError, match=f'at least {shortest} samples'):
    student()(np.zeros([1, shortest - 1], np.float32))


def test_masked_values_are_the_mean():
  spectrogram = np.random.default_rng(0).normal(size=[2, 10, 8]).astype(np.float32)
  batch = {
    batch_keys.HIDDEN_TIME: tf.constant([[0.2, 0.5], [0, 0]]),
    batch_keys.HIDDEN_FREQUENCY: tf.constant([[0, 0], [0.5, 1]]),
  }
  masked = spec_augment.mask(spectrogram, batch).numpy()
  expected = spectrogram.copy()
  expected[0, 2:5] = spectrogram[0].mean()
  expected[1, :, 4:] = spectrogram[1].mean()
  np.testing.assert_allclose(masked, expected, atol=1e-6)
  assert spec_augment.mask(spectrogram, {}) is spectrogram


def test_masked_sound_has_no_gradient():
  """The gradient towards masked sound is small, and empty masks change nothing."""
  distiller = Distiller(student(), ['a', 'b'], 2)
  rng = np.random.default_rng(1)
  audio = tf.Variable(rng.normal(size=[2, 30_000]).astype(np.float32))
  nothing = tf.zeros([2, 2])

  def outputs(hidden):
    keras.utils.set_random_seed(3)
    for layer in distiller.student.layers:
      if isinstance(layer, keras.layers.Dropout):
        layer.seed_generator.state.assign([0, 5])
    return distiller.forward({'audio': audio} | hidden)

  plain = outputs({})
  for name, values in outputs({batch_keys.HIDDEN_TIME: nothing}).items():
    np.testing.assert_allclose(values, plain[name], rtol=1e-4, atol=1e-5)
  with tf.GradientTape() as tape:
    masked = outputs({batch_keys.HIDDEN_TIME: tf.constant([[0.5, 1], [0.5, 1]])})
    loss = tf.reduce_sum(masked['logits/a'][0] * rng.normal(size=7).astype(np.float32))
  gradient = np.abs(tape.gradient(loss, audio).numpy())
  # Masked values are the mean, which masked sound still moves a little.
  assert gradient[0, :13_000].max() > 20 * gradient[0, 17_000:].max()
