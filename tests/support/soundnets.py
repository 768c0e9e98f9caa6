"""Small SoundNets for tests: random, with batch norms that move silence away from zero, as trained ones do."""

import keras
import numpy as np

from audionet_tf.models import registry, student_settings

NAMES = ['rooster', 'crane', 'rain', 'Türglocke, "alt"', 'a', 'b', 'c']


def student(name, heads=None, seed=0):
  """A student whose every layer answers clearly: weights and batch norms are drawn from `seed`."""
  model = registry.build(name, {'teacher': len(NAMES)} if heads is None else heads)
  rng = np.random.default_rng(seed)
  for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
      size = layer.gamma.shape
      moments = [rng.uniform(0.5, 2, size), rng.uniform(-1, 1, size), rng.normal(size=size), rng.uniform(0.5, 2, size)]
      layer.set_weights(moments)
    elif isinstance(layer, keras.layers.Conv1D):
      fan = np.prod(layer.kernel.shape[:2])
      bias = rng.normal(size=layer.bias.shape)
      layer.set_weights([rng.normal(scale=fan**-0.5, size=layer.kernel.shape), bias])
  return model


def settings(name, window_seconds=20.0, classes=None):
  return student_settings.StudentConfig(name, 22_050, 'first', window_seconds, classes or {'teacher': NAMES})


def noise(batch, samples, seed=0):
  """f32 [batch, samples] in [-1, 1], its loudness changing."""
  rng = np.random.default_rng(seed)
  return (rng.uniform(-1, 1, [batch, samples]) * np.linspace(0.05, 0.5, samples)).astype(np.float32)
