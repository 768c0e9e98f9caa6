"""A layer that gives several steps one answer: the mean of their probabilities."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf')
class MeanStep(keras.layers.Layer):
  """Logits f32 [B, T, classes] -> [B, 1, classes]: logits whose probabilities are the mean of those of the T steps.

  Args:
    activation: 'softmax' for classes that exclude each other, or 'sigmoid'.
    **kwargs: of keras.layers.Layer.
  """

  def __init__(self, activation='softmax', **kwargs):
    super().__init__(**{'dtype': 'float32'} | kwargs)
    self.activation = activation

  def call(self, logits):
    if self.activation == 'softmax':
      return tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=1, keepdims=True)
    present, absent = (tf.reduce_logsumexp(tf.math.log_sigmoid(x), axis=1, keepdims=True) for x in (logits, -logits))
    return present - absent

  def compute_output_shape(self, input_shape):
    return input_shape[0], 1, input_shape[2]

  def get_config(self):
    return super().get_config() | {'activation': self.activation}
