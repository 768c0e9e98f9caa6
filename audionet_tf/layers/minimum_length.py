"""A layer that refuses sound too short for those behind it, in words."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf', name='AtLeast')
class MinimumLength(keras.layers.Layer):
  """Passes [B, T, C] on where T >= `steps`; else `message`, not a crash in a kernel."""

  def __init__(self, steps, message, **kwargs):
    super().__init__(**kwargs)
    self.steps, self.message = steps, message

  def call(self, x):
    message = self.message
    if x.shape[1] is not None:
      if x.shape[1] < self.steps:
        raise ValueError(message)
      return x
    with tf.control_dependencies([tf.debugging.assert_greater_equal(tf.shape(x)[1], self.steps, message)]):
      return tf.identity(x)

  def compute_output_shape(self, input_shape):
    return input_shape

  def get_config(self):
    return super().get_config() | {'steps': self.steps, 'message': self.message}
