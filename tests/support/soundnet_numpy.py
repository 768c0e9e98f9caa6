"""SoundNet by the definition of each layer, in NumPy and float64: what its other implementations are compared with."""

import numpy as np

from audionet_tf.models.networks import soundnet

EPSILON = 1e-5  # of batch norm


def activations(table, weights, waveform):
  """Dict of layer to f64 [B, T, channels], heads among them, from f32 [B, samples]; evaluation mode."""
  found, x = {}, waveform[..., None].astype(np.float64) * soundnet.SCALE  # [B, samples, 1]
  for layer, filters, kernel, stride, padding in table:
    if filters is None:
      x = found[layer] = np.maximum.reduce(list(taps(x, kernel, stride, padding)))
    elif filters == soundnet.HEADS:
      for head in (name for name in weights if name.startswith(f'{layer}_')):
        found[head] = convolution(x, weights[head], stride, padding)
    else:
      parts = weights[layer]
      x = (convolution(x, parts, stride, padding) - parts['mean']) / np.sqrt(np.float64(EPSILON) + parts['var'])
      x = found[layer] = np.maximum(x * parts['gamma'] + parts['beta'], 0)
  return found


def convolution(x, parts, stride, padding):
  """f64 [B, T, outputs]: the sum over the kernel's taps, each a product of matrices."""
  kernel = parts['weights'].astype(np.float64)  # [K, inputs, outputs]
  pairs = zip(taps(x, len(kernel), stride, padding), kernel, strict=True)
  return sum(tap @ weight for tap, weight in pairs) + parts['biases']


def taps(x, kernel, stride, padding):
  """For each place in a sliding window: what lies there, f64 [B, windows, channels]."""
  x = np.pad(x, [[0, 0], [padding, padding], [0, 0]])
  windows = (x.shape[1] - kernel) // stride + 1
  return (x[:, i : i + stride * (windows - 1) + 1 : stride] for i in range(kernel))
