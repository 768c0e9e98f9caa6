"""One window of sound as several, each begun elsewhere, and the mean of what a network makes of them.

The strides of a network's layers make its outputs depend on where a sound begins; the mean over beginnings does less.
Source: Tokozume, Ushiku, Harada 2018, section 4.1, which averages over ten crops; that the window is a circle is our
own, as in `augmentation.shift`.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf')
class CircularCrops(keras.layers.Layer):
  """f32 [B, samples] -> [B `count`, samples]: each sound, and shifted circularly by 1 / count, 2 / count, ... of it."""

  def __init__(self, count, **kwargs):
    super().__init__(**kwargs)
    self.count = count

  def call(self, waveform):
    samples = tf.shape(waveform)[1]
    starts = [samples - samples * number // self.count for number in range(self.count)]
    # TensorFlow Lite has no tf.roll.
    shifted = [tf.concat([waveform[:, start:], waveform[:, :start]], 1) for start in starts]
    return tf.reshape(tf.stack(shifted, 1), [-1, samples])

  def compute_output_shape(self, input_shape):
    return (None, input_shape[1])

  def get_config(self):
    return super().get_config() | {'count': self.count}


@keras.saving.register_keras_serializable(package='audionet_tf')
class MeanOfCrops(keras.layers.Layer):
  """f32 [B `count`, ...] -> [B, ...]: the mean over the crops of a sound."""

  def __init__(self, count, **kwargs):
    super().__init__(**kwargs)
    self.count = count

  def call(self, x):
    return tf.reduce_mean(tf.reshape(x, [-1, self.count, *x.shape[1:]]), 1)

  def compute_output_shape(self, input_shape):
    return (None, *input_shape[1:])

  def get_config(self):
    return super().get_config() | {'count': self.count}
