"""AudioNet, a simplified SoundNet: one convolution, a maximum, a mean, a dense layer.

Source: Bryce 2018, figure 2.
"""

import keras

from audionet_tf.layers.pooled_conv1d import PooledConv1D
from audionet_tf.models.heads import LOGITS

# Bryce 2018, table 1, and the edges of its code. Shortest input: one sample.
AUDIONET = {'filters': 16, 'kernel_size': 64, 'strides': 2, 'padding': 32, 'pool_size': 8, 'pool_padding': 4}


def audionet(heads):
  """Conv1D - max pool - global average pool - dense: 18,040 parameters with one head of 1000 classes; T = 1.

  Args:
    heads: dict of head name to number of classes.
  """
  waveform = keras.Input([None], name='waveform')
  embedding = PooledConv1D(**AUDIONET, name='conv')(waveform)  # [B, 16]
  outputs = {'embedding': embedding}
  limit = AUDIONET['filters'] ** -0.5  # PyTorch's initial distribution, for weights and biases
  uniform = keras.initializers.RandomUniform(-limit, limit)
  for head, classes in heads.items():
    dense = keras.layers.Dense(
      classes, kernel_initializer=uniform, bias_initializer=uniform, dtype='float32', name=f'dense_{head}'
    )
    outputs[LOGITS + head] = keras.layers.Reshape([1, classes])(dense(embedding))  # [B, 1, classes]
  return keras.Model(waveform, outputs, name='audionet')
