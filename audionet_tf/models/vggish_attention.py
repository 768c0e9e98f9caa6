"""Pooling over time by attention: a clip's label is decided by the steps that are about it.

Source: Kong et al. 2018, feature-level attention; Caption4Sound, whose own two maps were made inside a
Lambda, so that they were neither trained nor saved. Here they are weights like any others.
"""

import keras

from audionet_tf.layers.attention_pooling import AttentionPooling
from audionet_tf.models import heads as models_heads
from audionet_tf.models import vggish
from audionet_tf.models.vggish import QUANTISED

WIDTH, LAYERS, DROPOUT = 1024, 3, 0.5
SCALED = 'scaled'  # the layer of the embeddings in [-1, 1)


def caption4sound(steps, heads):
  """Caption4Sound's classifier of VGGish's embeddings; 4,887,055 parameters with one head of 527 classes.

  Layers by name: `dense1` ... `dense3` after batch normalization and ReLU, [B, T, 1024]; `attention` and `embedding`,
  [B, 1024]: before and behind batch normalization and ReLU.

  Args:
    steps: [B, T, 128], whole numbers 0 to 255 (`whitened_pca.WhitenedPCA`).
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
  return models_heads.heads_on(x, heads) | {'embedding': x}


def vggish_attention(heads, body=vggish.vggish):
  """Caption4Sound from the sound on: `vggish_attention.caption4sound` on the quantised embeddings of a VGGish.

  VGGish stays as it is: no gradient passes the rounding. Its weights come from another student (`train --init`).

  Args:
    heads: dict of head name to number of classes.
    body: function of (heads, quantised) to VGGish.
  """
  front = body({}, quantised=True)
  for layer in front.layers:
    layer.trainable = False
  outputs = caption4sound(front.output[QUANTISED], heads)
  return keras.Model(front.input, outputs, name='vggish_attention')
