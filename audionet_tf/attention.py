"""Pooling over time by attention: a clip's label is decided by the steps that are about it.

Source: Kong et al. 2018, feature-level attention; Caption4Sound, whose own two maps were made inside a
Lambda, so that they were neither trained nor saved. Here they are weights like any others.
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


def heads_on(x, heads):
  """Heads of one step: f32 [B, width] to a dict of `logits/<head>` [B, 1, classes]. `heads`: classes by name."""
  outputs = {}
  for head, classes in heads.items():
    logits = keras.layers.Dense(classes, dtype='float32', name=f'logits_{head}')(x)
    outputs[f'logits/{head}'] = keras.layers.Reshape([1, classes], name=f'step_{head}')(logits)
  return outputs


WIDTH, LAYERS, DROPOUT = 1024, 3, 0.5
SCALED = 'scaled'  # the layer of the embeddings in [-1, 1)


def caption4sound(steps, heads):
  """Caption4Sound's classifier of VGGish's embeddings; 4,887,055 parameters with one head of 527 classes.

  Layers by name: `dense1` ... `dense3` after batch normalization and ReLU, [B, T, 1024]; `attention` and `embedding`,
  [B, 1024]: before and behind batch normalization and ReLU.

  Args:
    steps: [B, T, 128], whole numbers 0 to 255 (`vggish.WhitenedPCA`).
    heads: dict of head name to number of classes.

  Returns:
    dict of `logits/<head>` [B, 1, classes] and `embedding` [B, 1024].
  """
  x = keras.layers.Rescaling(1 / 128, -1.0, name=SCALED)(steps)
  for number in range(1, LAYERS + 1):
    x = keras.layers.Dense(WIDTH, name=f'dense{number}_linear')(x)
    x = keras.layers.BatchNormalization(synchronized=True, name=f'dense{number}_norm')(x)
    x = keras.layers.ReLU(name=f'dense{number}')(x)
    x = keras.layers.Dropout(DROPOUT, name=f'dense{number}_dropout')(x)
  x = AttentionPooling(WIDTH, name='attention')(x)
  x = keras.layers.BatchNormalization(synchronized=True, name='attention_norm')(x)
  x = keras.layers.ReLU(name='embedding')(x)
  return heads_on(x, heads) | {'embedding': x}
