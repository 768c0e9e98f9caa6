"""Small random AudioNets for tests, and their predictions in PyTorch."""

import numpy as np
from torch_or_skip import torch

from audionet_tf.models import registry, student_settings


def settings_for(classes):
  """The StudentConfig of an AudioNet."""
  return student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, classes)


def student(heads, seed=0):
  """An AudioNet with random weights, whose predictions differ clearly."""
  model = registry.build('audionet', {head: len(names) for head, names in heads.items()})
  rng = np.random.default_rng(seed)
  for variable in model.weights:
    variable.assign(rng.normal(scale=0.5, size=variable.shape))
  return model


def sounds(batch, samples, seed=0):
  """Noise at different levels, f32 [batch, samples]."""
  rng = np.random.default_rng(seed)
  return (rng.normal(size=[batch, samples]) * 10.0 ** rng.uniform(-2, 0, [batch, 1])).astype(np.float32)


def torch_predictions(model, waveform, head='teacher'):
  """dict of arrays, computed by AudioNet's layers in PyTorch with the weights of a Keras model."""
  with torch.no_grad():
    weights = {w.path: torch.tensor(w.numpy()) for w in model.weights}
    conv, dense = weights['conv/kernel'].permute(2, 1, 0), weights[f'dense_{head}/kernel']
    x = torch.nn.functional.conv1d(torch.tensor(waveform)[:, None], conv, weights['conv/bias'], stride=2, padding=32)
    embedding = torch.nn.functional.max_pool1d(x, 8, stride=1, padding=4).mean(2)
    logits = embedding @ dense + weights[f'dense_{head}/bias']
    return {
      'embedding': embedding.numpy(),
      'logits': logits.numpy(),
      'probabilities': torch.softmax(logits, 1).numpy(),
    }


def assert_same(outputs, expected, tolerance=2e-5):
  for name, value in expected.items():
    np.testing.assert_allclose(outputs[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
