"""The fused layer against three layers of PyTorch: values at all edges, gradients, ties."""

import numpy as np
import pytest
import tensorflow as tf
from torch_or_skip import torch

from audionet_tf.layers.pooled_conv1d import PooledConv1D, sliding_shifts


def layer_and_torch(pool_size=8, pool_padding=4, **sizes):
  sizes = {'filters': 16, 'kernel_size': 64, 'strides': 2, 'padding': 32} | sizes
  layer = PooledConv1D(**sizes, pool_size=pool_size, pool_padding=pool_padding)
  layer.build([None, None])
  kernel = torch.tensor(layer.kernel.numpy().transpose(2, 1, 0), requires_grad=True)
  bias = torch.tensor(layer.bias.numpy(), requires_grad=True)

  def reference(waveform):
    conv = torch.nn.functional.conv1d(waveform[:, None], kernel, bias, sizes['strides'], sizes['padding'])
    return torch.nn.functional.max_pool1d(conv, pool_size, 1, pool_padding).mean(2)

  return layer, reference, kernel, bias


@pytest.mark.parametrize('samples', [1, 2, 31, 32, 33, 63, 64, 65, 640, 641, 5000])
def test_values_at_any_length(samples):
  layer, reference, _, _ = layer_and_torch()
  waveform = np.random.default_rng(samples).normal(size=(3, samples)).astype(np.float32)
  expected = reference(torch.tensor(waveform)).detach().numpy()
  np.testing.assert_allclose(layer(waveform).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(
  'sizes',
  [
    {},
    {'strides': 3, 'kernel_size': 7, 'padding': 0},
    {'pool_size': 6, 'pool_padding': 0},
    {'pool_size': 1, 'pool_padding': 0},
  ],
)
def test_gradients(sizes):
  layer, reference, kernel, bias = layer_and_torch(**sizes)
  rng = np.random.default_rng(0)
  waveform = rng.normal(size=(4, 203)).astype(np.float32)
  weight = rng.normal(size=(4, 16)).astype(np.float32)
  variable = tf.Variable(waveform)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(layer(variable) * weight)
  gradients = tape.gradient(loss, [layer.kernel.value, layer.bias.value, variable])
  sound = torch.tensor(waveform, requires_grad=True)
  (reference(sound) * torch.tensor(weight)).sum().backward()
  expected = kernel.grad.numpy().transpose(2, 1, 0), bias.grad.numpy(), sound.grad.numpy()
  for gradient, values in zip(gradients, expected, strict=True):
    np.testing.assert_allclose(gradient.numpy(), values, atol=2e-5 * np.abs(values).max())


def test_silence_is_all_ties_and_gives_the_bias():
  layer, _, _, _ = layer_and_torch()
  with tf.GradientTape() as tape:
    out = layer(np.zeros([2, 640], np.float32))
  d_kernel, d_bias = tape.gradient(out, [layer.kernel.value, layer.bias.value])
  np.testing.assert_array_equal(out.numpy(), np.tile(layer.bias.numpy(), [2, 1]))
  np.testing.assert_array_equal(d_kernel.numpy(), 0)
  np.testing.assert_array_equal(d_bias.numpy(), 2)


def test_shifts_cover_the_window():
  for width in range(1, 128):
    assert 1 + sum(sliding_shifts(width)) == width


def test_wrong_sizes_are_refused():
  with pytest.raises(ValueError, match='allowed are 1 to 127'):
    PooledConv1D(filters=1, kernel_size=4, strides=1, padding=0, pool_size=200, pool_padding=0)
