"""Values and gradients of the convolution against PyTorch's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from torch_or_skip import torch

from audionet_tf.layers import strided_conv1d

# batch, steps in, channels, filters, size, stride: rows of 8, 4, 2 and 1 outputs, with remainders and skipped steps.
SHAPES = [
  (2, 801, 1, 5, 64, 2),
  (3, 200, 3, 4, 32, 2),
  (2, 61, 4, 6, 16, 2),
  (2, 27, 5, 7, 8, 2),
  (4, 10, 6, 3, 4, 2),
  (2, 100, 3, 4, 16, 12),
  (2, 33, 2, 3, 3, 5),
  (1, 8, 2, 3, 8, 2),
  (2, 40, 2, 3, 8, 1),
]


@pytest.mark.parametrize('many_weights', [0, 1 << 18])  # products or the stock kernel towards the input
@pytest.mark.parametrize('shape', SHAPES)
def test_gradients_equal_pytorchs(shape, many_weights, monkeypatch):
  monkeypatch.setattr(strided_conv1d, 'MANY_WEIGHTS', many_weights)
  batch, samples, channels, filters, size, stride = shape
  rng = np.random.default_rng(0)
  x, kernel = rng.normal(size=(batch, samples, channels)), rng.normal(size=(size, channels, filters))
  tensors = [torch.tensor(a.transpose(order), requires_grad=True) for a, order in ((x, (0, 2, 1)), (kernel, (2, 1, 0)))]
  out = torch.nn.functional.conv1d(*tensors, stride=stride)
  upstream = rng.normal(size=out.shape)
  out.backward(torch.tensor(upstream))

  @tf.function(input_signature=[tf.TensorSpec([None, None, channels]), tf.TensorSpec(kernel.shape)])
  def value_and_gradients(x, kernel):
    with tf.GradientTape() as tape:
      tape.watch([x, kernel])
      y = strided_conv1d.strided_convolution(x, kernel, stride)
    return y, tape.gradient(y, [x, kernel], tf.constant(upstream.transpose(0, 2, 1), tf.float32))

  y, (d_x, d_kernel) = value_and_gradients(x.astype(np.float32), kernel.astype(np.float32))
  np.testing.assert_allclose(y, out.detach().numpy().transpose(0, 2, 1), atol=1e-4)
  np.testing.assert_allclose(d_x, tensors[0].grad.numpy().transpose(0, 2, 1), atol=1e-4)
  np.testing.assert_allclose(d_kernel, tensors[1].grad.numpy().transpose(2, 1, 0), atol=2e-4)


def test_layer_equals_conv1d_and_is_saved_and_loaded(tmp_path):
  layer = strided_conv1d.StridedConv1D(4, 8, 2, bias_initializer='random_normal', name='conv')
  model = keras.Sequential([keras.Input([None, 3]), layer])
  x = np.random.default_rng(1).normal(size=(2, 50, 3)).astype(np.float32)
  stock = keras.layers.Conv1D(4, 8, 2)
  stock.build([None, None, 3])
  stock.set_weights(layer.get_weights())
  np.testing.assert_allclose(model(x), stock(x), atol=1e-6)
  model.save(tmp_path / 'model.keras')
  loaded = keras.saving.load_model(tmp_path / 'model.keras', safe_mode=True)
  np.testing.assert_array_equal(loaded(x), model(x))
  assert isinstance(loaded.layers[-1], strided_conv1d.StridedConv1D)
