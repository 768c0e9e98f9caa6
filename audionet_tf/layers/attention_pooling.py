"""Pooling over time by attention: the steps that are about a class decide it.

Source: Kong et al. 2018 (Audio Set classification with attention model), feature-level attention.
"""

import keras

SMALLEST = 1e-9  # of a step's attention: a sound of which nothing is attended to has a mean all the same


@keras.saving.register_keras_serializable(package='audionet_tf')
class AttentionPooling(keras.layers.Layer):
  """f32 [B, T, width] -> f32 [B, units]: sum over t of f a, a = sigmoid(A x), its sum over time being 1, f = F x.

  Each unit has an attention of its own. 2 units (width + 1) weights.
  """

  def __init__(self, units, **kwargs):
    super().__init__(**kwargs)
    self.units = units
    self.features = keras.layers.Dense(units, name='features')
    self.attention = keras.layers.Dense(units, activation='sigmoid', name='attention')

  def build(self, input_shape):
    self.features.build(input_shape)
    self.attention.build(input_shape)
    self.built = True

  def call(self, x):
    attention = keras.ops.clip(self.attention(x), SMALLEST, 1.0)  # [B, T, units]
    share = attention / keras.ops.sum(attention, axis=1, keepdims=True)
    return keras.ops.sum(self.features(x) * share, axis=1)

  def compute_output_shape(self, input_shape):
    return (input_shape[0], self.units)

  def get_config(self):
    return super().get_config() | {'units': self.units}
