"""A layer that compares vectors with those of classes: logits are cosines over a temperature."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf')
class NearestText(keras.layers.Layer):
  """[B, T, width] -> logits f32 [B, T, classes].

  Args:
    classes: int.
    temperature: float above 0.
    **kwargs: of keras.layers.Layer.

  Attributes:
    vectors: weight f32 [width, classes], columns of length 1; not trained.
  """

  def __init__(self, classes, temperature, **kwargs):
    super().__init__(**{'dtype': 'float32'} | kwargs)
    self.classes, self.temperature = classes, temperature

  def build(self, input_shape):
    shape = input_shape[-1], self.classes
    self.vectors = self.add_weight(name='vectors', shape=shape, initializer='zeros', trainable=False)

  def call(self, x):
    return tf.matmul(tf.math.l2_normalize(x, axis=-1), self.vectors) / self.temperature

  def compute_output_shape(self, input_shape):
    return *input_shape[:-1], self.classes

  def get_config(self):
    return super().get_config() | {'classes': self.classes, 'temperature': self.temperature}
