"""AudioNet, a simplified SoundNet: one convolution, a maximum, a mean, a dense layer.

Source: Bryce 2018, "AudioNet: Transfer Learning with a Simplified Version of SoundNet", figure 2 and table 1.
"""

import keras

from audionet_tf.layers.pooled_conv1d import PooledConv1D
from audionet_tf.models.heads import add_heads

# Bryce 2018, table 1; padding as in its code. Shortest input: one sample.
AUDIONET = {'filters': 16, 'kernel_size': 64, 'strides': 2, 'padding': 32, 'pool_size': 8, 'pool_padding': 4}


def audionet(heads):
  """Conv1D - max pool - global average pool - dense.

  18,040 parameters with one head of 1000 classes; 344,704 multiplies for 40 ms at 16 kHz.

  Args:
    heads: dict of head name to number of classes.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, 1, classes] and `embedding`
    f32 [B, 16].
  """
  waveform = keras.Input([None], name='waveform')
  embedding = PooledConv1D(**AUDIONET, name='conv')(waveform)  # [B, 16]
  limit = AUDIONET['filters'] ** -0.5  # PyTorch's initial distribution, for weights and biases
  uniform = keras.initializers.RandomUniform(-limit, limit)
  logits = add_heads(embedding, heads, 'dense', kernel_initializer=uniform, bias_initializer=uniform)
  return keras.Model(waveform, {'embedding': embedding} | logits, name='audionet')
