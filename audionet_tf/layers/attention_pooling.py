"""Attention pooling over time: the steps that matter for a class decide it.

Source: Kong et al. 2018, "Audio Set classification with attention model"; feature-level attention.
"""

import keras

SMALLEST = 1e-9  # attention of a step: keeps the weighted mean finite where no step gets attention


@keras.saving.register_keras_serializable(package='audionet_tf')
class AttentionPooling(keras.layers.Layer):
  """Mean over time of linear features, weighted by attention, one attention per unit.

  Call: f32 [B, T, width] -> f32 [B, units]: sum over t of f_t a_t / sum over t of a_t, with features f = F x + c and
  attention a = sigmoid(A x + b). Parameters: 2 units (width + 1).

  Args:
    units: number of outputs.
    **kwargs: of keras.layers.Layer.
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
    weights = attention / keras.ops.sum(attention, axis=1, keepdims=True)
    return keras.ops.sum(self.features(x) * weights, axis=1)  # [B, units]

  def compute_output_shape(self, input_shape):
    return (input_shape[0], self.units)

  def get_config(self):
    return super().get_config() | {'units': self.units}
