"""AudioNet's front end as one layer: a 1-D convolution, a sliding maximum and the mean over time.

Convolution -> max pool (stride 1) -> global average is linear in everything but the position of each maximum. Its
gradient therefore needs no second float tensor of the length of the sound: it is enough to count in how many pool
windows a position is the maximum. That and the layout make a training step faster than with the three stock layers
(`scripts/benchmark --only=epoch` measures both):

* time is the first axis, so that the shifted slices of the sliding maximum are views, not copies;
* BLOCK neighbouring outputs are one row of a matrix product with a block-Toeplitz matrix of the kernel.

The layer uses stock TensorFlow operations only, exports to SavedModel and TFLite, and takes input of any length.
"""

import keras
import tensorflow as tf

# Outputs per row of the matrix product: more waste arithmetic on zeros, fewer make the product too narrow.
BLOCK = 16


def sliding_shifts(width):
  """Shifts whose successive pairwise maxima cover a window of `width` steps: 8 -> [1, 2, 4], 6 -> [1, 2, 2]."""
  shifts, covered = [], 1
  while covered < width:
    shifts.append(min(covered, width - covered))
    covered += shifts[-1]
  return shifts


def toeplitz(kernel, strides):
  """[K, filters] -> [(BLOCK-1) strides + K, BLOCK filters]: column block i is the kernel, shifted down by i strides."""
  columns = [tf.pad(kernel, [[i * strides, (BLOCK - 1 - i) * strides], [0, 0]]) for i in range(BLOCK)]
  return tf.concat(columns, axis=1)


def sliding_max_mean(y, width, padding):
  """Mean over time of a sliding maximum: PyTorch's MaxPool1d(width, stride=1, padding), then the mean.

  Args:
    y: f32 [T, C, B].
    width: int, steps of a pool window.
    padding: int, steps of -inf on each side.

  Returns:
    f32 [C, B].
  """
  shifts = sliding_shifts(width)

  @tf.custom_gradient  # takes tensors only, so that Python numbers come from the closure
  def apply(y):
    edge = tf.fill([padding, tf.shape(y)[1], tf.shape(y)[2]], y.dtype.min)
    maxima = [tf.concat([edge, y, edge], 0)]  # [T + 2 padding, C, B]
    for k in shifts:
      maxima.append(tf.maximum(maxima[-1][:-k], maxima[-1][k:]))
    windows = tf.cast(tf.shape(maxima[-1])[0], y.dtype)

    def gradient(upstream):
      """f32 [C, B] -> f32 [T, C, B]: each step gets a share for every window of which it is the maximum."""
      # Walking the shifts back counts these windows; int8 quarters the memory traffic.
      counts = tf.ones(tf.shape(maxima[-1]), tf.int8)
      for k, values in zip(reversed(shifts), reversed(maxima[:-1]), strict=True):
        first = counts * tf.cast(values[:-k] >= values[k:], tf.int8)  # ties go to the first, as in PyTorch
        second = counts - first
        counts = tf.concat([first[:k], first[k:] + second[:-k], second[-k:]], 0)
      inner = counts[padding : tf.shape(counts)[0] - padding]
      return tf.cast(inner, y.dtype) * (upstream / windows)

    return tf.reduce_mean(maxima[-1], 0), gradient

  return apply(y)


def strided_convolution(waveform, kernel, strides, padding):
  """Zero-padded convolution of one channel, with time as the first axis of the output.

  Args:
    waveform: f32 [B, samples].
    kernel: f32 [K, filters].
    strides: int, samples from one output to the next.
    padding: int, samples of zeros on each side.

  Returns:
    f32 [T, filters, B], T = (samples + 2 padding - K) // strides + 1.
  """
  size, filters = kernel.shape
  hop = BLOCK * strides  # samples from one row to the next
  segment = (BLOCK - 1) * strides + size  # samples in the receptive field of a row
  overlap = -(-segment // hop)
  parts = [(i, min(hop, segment - i * hop)) for i in range(overlap)]

  @tf.custom_gradient
  def apply(waveform, kernel):
    batch, samples = tf.shape(waveform)[0], tf.shape(waveform)[1]
    steps = (samples + 2 * padding - size) // strides + 1
    rows = (steps + BLOCK - 1) // BLOCK
    length = (rows + overlap - 1) * hop
    right = tf.maximum(length - padding - samples, 0)
    padded = tf.pad(tf.transpose(waveform), [[padding, right], [0, 0]])
    blocks = tf.reshape(padded[:length], [-1, hop, batch])  # [rows + overlap - 1, hop, B]
    segments = tf.concat([blocks[i : i + rows, :width] for i, width in parts], 1)  # [rows, segment, B]
    matrix = toeplitz(kernel, strides)  # [segment, BLOCK filters]
    out = tf.matmul(matrix, segments, transpose_a=True)  # [rows, BLOCK filters, B]

    def gradient(upstream):
      """f32 [T, filters, B] -> (f32 [B, samples], f32 [K, filters])."""
      upstream = tf.pad(upstream, [[0, rows * BLOCK - steps], [0, 0], [0, 0]])
      upstream = tf.reshape(upstream, [rows, BLOCK * filters, batch])
      d_matrix = tf.reduce_sum(tf.matmul(segments, upstream, transpose_b=True), 0)
      d_matrix = tf.reshape(d_matrix, [segment, BLOCK, filters])
      d_kernel = tf.add_n([d_matrix[i * strides : i * strides + size, i] for i in range(BLOCK)])
      # The gradient towards the sound is rarely used; TensorFlow then drops these operations from the graph.
      d_segments = tf.matmul(matrix, upstream)  # [rows, segment, B]
      d_blocks = tf.add_n(
        [
          tf.pad(d_segments[:, i * hop : i * hop + width], [[i, overlap - 1 - i], [0, hop - width], [0, 0]])
          for i, width in parts
        ]
      )
      d_padded = tf.reshape(d_blocks, [-1, batch])
      d_padded = tf.pad(d_padded, [[0, tf.maximum(padding + samples - length, 0)], [0, 0]])
      return tf.transpose(d_padded[padding : padding + samples]), d_kernel

    return tf.reshape(out, [-1, filters, batch])[:steps], gradient

  return apply(waveform, kernel)


@keras.saving.register_keras_serializable(package='audionet_tf')
class PooledConv1D(keras.layers.Layer):
  """Conv1D (one input channel) -> MaxPool1D (stride 1, padded with -inf) -> GlobalAveragePooling1D.

  Call: f32 [B, samples] -> f32 [B, filters]. Weights as in keras.layers.Conv1D: `kernel` [K, 1, filters] and `bias`
  [filters], both initialised as in PyTorch, uniform in +-1/sqrt(K).

  Source: Bryce 2018, table 1; padding and initial weights from its code.

  Args:
    filters: number of outputs.
    kernel_size, strides, padding: of the convolution, in samples; zeros on each side.
    pool_size, pool_padding: of the max pool, in steps; pool_size is at most 127, as the gradient counts in int8.
    **kwargs: of keras.layers.Layer.

  Raises:
    ValueError: pool_size is not in 1 to 127, or pool_padding is more than half of it.
  """

  def __init__(self, filters, kernel_size, strides, padding, pool_size, pool_padding, **kwargs):
    super().__init__(**kwargs)
    if not 1 <= pool_size <= 127 or pool_padding > pool_size // 2:
      raise ValueError(
        f'pool_size is {pool_size}, allowed are 1 to 127; pool_padding is {pool_padding}, at most half of pool_size is'
      )
    self.sizes = {
      'filters': filters,
      'kernel_size': kernel_size,
      'strides': strides,
      'padding': padding,
      'pool_size': pool_size,
      'pool_padding': pool_padding,
    }

  def build(self, input_shape):
    limit = self.sizes['kernel_size'] ** -0.5
    uniform = keras.initializers.RandomUniform(-limit, limit)
    filters = self.sizes['filters']
    self.kernel = self.add_weight(shape=(self.sizes['kernel_size'], 1, filters), initializer=uniform, name='kernel')
    self.bias = self.add_weight(shape=(filters,), initializer=uniform, name='bias')

  def call(self, waveform):
    kernel = tf.convert_to_tensor(self.kernel)[:, 0]
    conv = strided_convolution(waveform, kernel, self.sizes['strides'], self.sizes['padding'])  # [T, filters, B]
    mean = sliding_max_mean(conv, self.sizes['pool_size'], self.sizes['pool_padding'])  # [filters, B]
    # A constant passes through maximum and mean: adding the bias last touches B numbers per filter, not B T.
    return tf.transpose(mean) + self.bias  # [B, filters]

  def compute_output_shape(self, input_shape):
    return (input_shape[0], self.sizes['filters'])

  def get_config(self):
    return super().get_config() | self.sizes
