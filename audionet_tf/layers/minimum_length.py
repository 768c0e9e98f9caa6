"""A layer that reports input too short for the layers after it, instead of a crash in a kernel."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf', name='AtLeast')
class MinimumLength(keras.layers.Layer):
  """Identity on [B, T, C] with T >= `steps`.

  Call: a shorter input raises ValueError where T is known in Python, else InvalidArgumentError, with `message`.

  Args:
    steps: int, smallest T.
    message: str of the error.
    **kwargs: of keras.layers.Layer.
  """

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
