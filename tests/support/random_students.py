"""Every student of the registry, with random weights whose answers differ for each sound and class."""

import keras
import numpy as np

from audionet_tf.models import registry, student_settings
from audionet_tf.models.heads import LOGITS

CLASSES = {'things': ['a', 'b', 'c', 'd', 'e'], 'places': ['x', 'y']}


def settings(name):
  """student_settings.StudentConfig: of windows that give one step, or of half a second where any length does."""
  network = registry.network(name)
  rate = network.sample_rate_hz or 22_050
  seconds = max(0.5, -(-registry.shortest_samples(name) * 100 // rate) / 100)
  classes = {} if network.is_autoencoder else CLASSES
  return student_settings.StudentConfig(name, rate, 'mean', seconds, classes)


def student(name, waveform):
  """keras.Model with the heads of `settings`, whose logits have a deviation of 2 for `waveform` f32 [B, samples]."""
  keras.utils.set_random_seed(0)
  rng = np.random.default_rng(0)
  model = registry.build(name, {head: len(names) for head, names in settings(name).classes.items()})
  moments = {'gamma': (0.8, 1.25), 'beta': (-0.1, 0.1), 'moving_mean': (-0.1, 0.1), 'moving_variance': (0.8, 1.25)}
  for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
      layer.set_weights([rng.uniform(*moments[weight.name], weight.shape) for weight in layer.weights])
    elif name.startswith('vggish') and isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
      shape = layer.kernel.shape  # which begins so small that silence and sound give the same
      layer.set_weights([rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape), rng.normal(0, 0.05, shape[-1])])
  outputs = model(waveform, training=False)
  for head in settings(name).classes:
    for layer in model.layers:
      if layer.name.endswith(f'_{head}') and layer.weights:
        layer.set_weights([2 * weight / np.std(outputs[LOGITS + head]) for weight in layer.get_weights()])
  return model
