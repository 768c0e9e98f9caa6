"""Networks on log-mel patches layer by layer in NumPy: what their converted weights are compared with.

Geometry is read from the student's layers, the numbers from the file that was converted, by the layers' names.
"""

import keras
import numpy as np

from audionet_tf.media import mel
from audionet_tf.models.networks import patch_classifier


def activations(model, weights, names, waveform):
  """Dict of each of `names`, `patch_embedding` or a head's layer, to f64 [B, T, width].

  Args:
    model: a student whose layers between `patches` and `patch_embedding` follow each other.
    weights: dict of layer to its arrays, in the order of Layer.weights.
    names: layers to compute.
    waveform: f32 [B, samples].
  """
  mel = spectrogram(waveform, **model.get_layer('log_mel').settings)  # [B, F, bands]
  cut = model.get_layer('patches')
  starts = range(0, mel.shape[1] - cut.frames + 1, cut.hop)
  x = np.concatenate([mel[:, start : start + cut.frames] for start in starts])[..., None]  # [T B, frames, bands, 1]
  order = [layer.name for layer in model.layers]
  for layer in model.layers[order.index('patches') + 1 : order.index(patch_classifier.HIDDEN)]:
    x = LAYERS[type(layer)](layer, weights.get(layer.name, []), x)
  x = x.reshape(len(starts), len(waveform), -1).transpose(1, 0, 2)  # [B, T, width]
  found = {patch_classifier.HIDDEN: x}
  for name in names:
    if name != patch_classifier.HIDDEN:
      activated = 'classifier_input' in order
      found[name] = dense(None, weights[name], np.maximum(x, 0) if activated else x)
  return found


def spectrogram(waveform, sample_rate_hz, window_seconds, hop_seconds, bands, lower_hz, upper_hz, offset, transform):
  """f64 [B, frames, bands] of f32 [B, samples], as log_mel.LogMel describes it."""
  window, hop = round(window_seconds * sample_rate_hz), round(hop_seconds * sample_rate_hz)
  size = 1 << (window - 1).bit_length()
  frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), window, axis=1)[:, ::hop]
  magnitude = np.abs(np.fft.rfft(frames * np.hanning(window + 1)[:-1], size))
  return np.log(magnitude @ mel.mel_matrix(bands, size, sample_rate_hz, lower_hz, upper_hz) + offset)


def taps(layer, kernel, x):
  """For each place in a kernel: the values there for every output, f64 [N, H', W', C], as 'same' padding has it."""
  (high, wide), (down, right) = kernel, layer.strides
  sizes = [-(-size // stride) for size, stride in zip(x.shape[1:3], (down, right), strict=True)]
  missing = [
    max(0, (size - 1) * stride + width - there)
    for size, stride, width, there in zip(sizes, (down, right), kernel, x.shape[1:3], strict=True)
  ]
  x = np.pad(x, [[0, 0], *[[count // 2, count - count // 2] for count in missing], [0, 0]])
  for row in range(high):
    for column in range(wide):
      yield x[:, row : row + down * sizes[0] : down, column : column + right * sizes[1] : right][
        :, : sizes[0], : sizes[1]
      ]


def convolution(layer, weights, x):
  kernel, bias = (*weights, 0)[:2]
  places = kernel.reshape(-1, *kernel.shape[2:]).astype(np.float64)
  x = sum(tap @ weight for tap, weight in zip(taps(layer, kernel.shape[:2], x), places, strict=True)) + bias
  return np.maximum(x, 0) if layer.activation is keras.activations.relu else x


def depthwise(layer, weights, x):
  (kernel,) = weights
  places = kernel.reshape(-1, kernel.shape[2]).astype(np.float64)
  return sum(tap * weight for tap, weight in zip(taps(layer, kernel.shape[:2], x), places, strict=True))


def normalization(layer, weights, x):
  beta, mean, variance = (values.astype(np.float64) for values in weights)
  return (x - mean) / np.sqrt(variance + layer.epsilon) + beta


def max_pool(layer, weights, x):
  return np.maximum.reduce(list(taps(layer, layer.pool_size, x)))  # sizes are even: nothing is padded


def dense(layer, weights, x):
  kernel, bias = (values.astype(np.float64) for values in weights)
  x = x @ kernel + bias
  return np.maximum(x, 0) if layer is not None and layer.activation is keras.activations.relu else x


LAYERS = {
  keras.layers.Conv2D: convolution,
  keras.layers.DepthwiseConv2D: depthwise,
  keras.layers.BatchNormalization: normalization,
  keras.layers.MaxPooling2D: max_pool,
  keras.layers.ReLU: lambda layer, weights, x: np.maximum(x, 0),
  keras.layers.Flatten: lambda layer, weights, x: x.reshape(len(x), -1),
  keras.layers.Dense: dense,
  keras.layers.GlobalAveragePooling2D: lambda layer, weights, x: x.mean((1, 2)),
}
