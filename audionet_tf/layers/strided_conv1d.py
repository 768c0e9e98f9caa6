"""A 1-D convolution over time whose gradients are matrix products.

TensorFlow's own gradient kernels take many times as long as the convolution itself where a filter is long and has one
channel, and where there are more weights than steps. The same sums are one product of rows of neighbouring samples with
the upstream gradient, which every processor computes well (`scripts/benchmark --only=soundnet` compares with PyTorch).

The forward pass is the stock operation, so that an export holds a plain convolution.
"""

import keras
import tensorflow as tf

# From this many on (SoundNet's conv6) the gradient towards the input is a product too; below, the stock kernel wins.
MANY_WEIGHTS = 1 << 18


def block_of(size, strides):
  """Number of neighbouring outputs per row: more repeat less of the input, fewer multiply fewer zeros."""
  return max(1, size // (4 * strides))


def parts_of(size, strides, block):
  """[(i, width)]: a row of `block` outputs covers the first `width` samples of its i-th piece of block * strides."""
  hop = block * strides
  segment = (block - 1) * strides + size
  return [(i, min(hop, segment - i * hop)) for i in range(-(-segment // hop))]


def input_rows(x, size, strides, block, steps):
  """Receptive fields of the rows of `block` outputs: [B, T, C] -> [B, ceil(steps / block), segment C]."""
  hop, parts = block * strides, parts_of(size, strides, block)
  batch, samples, channels = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]
  rows = -(-steps // block)
  length = (rows + len(parts) - 1) * hop
  padded = tf.pad(x, [[0, 0], [0, tf.maximum(length - samples, 0)], [0, 0]])[:, :length]
  pieces = tf.reshape(padded, [batch, -1, hop * channels])
  return tf.concat([pieces[:, i : i + rows, : width * channels] for i, width in parts], 2)


def kernel_gradient(x, upstream, size, strides):
  """Gradient towards the kernel: input f32 [B, T, C] and upstream f32 [B, steps, F] -> f32 [size, C, F]."""
  block, channels, filters = block_of(size, strides), x.shape[2], upstream.shape[2]
  steps = tf.shape(upstream)[1]
  segment = (block - 1) * strides + size
  rows = tf.reshape(input_rows(x, size, strides, block, steps), [-1, segment * channels])
  padded = tf.pad(upstream, [[0, 0], [0, -steps % block], [0, 0]]) if block > 1 else upstream
  product = tf.matmul(rows, tf.reshape(padded, [-1, block * filters]), transpose_a=True)
  product = tf.reshape(product, [segment, channels, block, filters])
  return tf.add_n([product[i * strides : i * strides + size, :, i] for i in range(block)])


def input_gradient(shape, kernel, upstream, strides):
  """Gradient towards the input of `shape` [B, T, C]: upstream f32 [B, steps, F] -> f32 of that shape."""
  size, channels, filters = kernel.shape
  if size * channels * filters < MANY_WEIGHTS:
    return tf.raw_ops.Conv2DBackpropInput(
      input_sizes=[shape[0], 1, shape[1], shape[2]],
      filter=kernel[None],
      out_backprop=upstream[:, None],
      strides=[1, 1, strides, 1],
      padding='VALID',
    )[:, 0]
  steps, parts = tf.shape(upstream)[1], parts_of(size, strides, 1)
  # Kernel first: with upstream first, the product would transpose all the weights.
  rows = tf.matmul(tf.reshape(kernel, [-1, filters]), tf.reshape(upstream, [-1, filters]), transpose_b=True)
  rows = tf.reshape(tf.transpose(rows), [shape[0], steps, size * channels])
  last = len(parts) - 1
  pieces = tf.add_n(
    [
      tf.pad(
        rows[:, :, i * strides * channels : (i * strides + width) * channels],
        [[0, 0], [i, last - i], [0, (strides - width) * channels]],
      )
      for i, width in parts
    ]
  )
  samples = tf.reshape(pieces, [shape[0], (steps + last) * strides, channels])
  missing = tf.maximum(shape[1] - (steps + last) * strides, 0)
  return tf.pad(samples, [[0, 0], [0, missing], [0, 0]])[:, : shape[1]]


def strided_convolution(x, kernel, strides):
  """Convolution without padding, with gradients as matrix products.

  Args:
    x: f32 [B, T, C].
    kernel: f32 [size, C, F].
    strides: int, steps of x from one output to the next.

  Returns:
    f32 [B, (T - size) // strides + 1, F].
  """

  @tf.custom_gradient
  def apply(x, kernel):
    def gradient(upstream):
      """f32 [B, steps, F] -> (f32 [B, T, C], f32 [size, C, F])."""
      upstream = tf.ensure_shape(upstream, [None, None, kernel.shape[2]])
      return (
        input_gradient(tf.shape(x), kernel, upstream, strides),
        kernel_gradient(x, upstream, kernel.shape[0], strides),
      )

    return tf.nn.conv1d(x, kernel, strides, 'VALID'), gradient

  return apply(x, kernel)


@keras.saving.register_keras_serializable(package='audionet_tf')
class StridedConv1D(keras.layers.Conv1D):
  """keras.layers.Conv1D without padding, dilation, groups or activation: the same weights, faster gradients.

  Call: f32 [B, T, C] -> f32 [B, (T - size) // strides + 1, filters].
  """

  def call(self, x):
    kernel = tf.convert_to_tensor(self.kernel)
    return strided_convolution(x, kernel, self.strides[0]) + tf.convert_to_tensor(self.bias)
