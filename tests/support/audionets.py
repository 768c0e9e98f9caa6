"""Small AudioNets for tests: random, with answers that differ clearly, and what PyTorch hears with their weights."""

import numpy as np
from torch_or_skip import torch

from audionet_tf.models import registry, student_file


def settings_for(classes):
  return student_file.StudentConfig('audionet', 16000, 'mean', 0.04, classes)


def student(heads, seed=0):
  """An AudioNet whose answers differ clearly from one another."""
  model = registry.build('audionet', {head: len(names) for head, names in heads.items()})
  rng = np.random.default_rng(seed)
  for variable in model.weights:
    variable.assign(rng.normal(scale=0.5, size=variable.shape))
  return model


def sounds(batch, samples, seed=0):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=[batch, samples]) * 10.0 ** rng.uniform(-2, 0, [batch, 1])).astype(np.float32)


def heard_by_torch(model, waveform, head='teacher'):
  """dict of arrays: AudioNet's layers in PyTorch, with the weights of a Keras model."""
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


def assert_same(answers, expected, tolerance=2e-5):
  for name, value in expected.items():
    np.testing.assert_allclose(answers[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
