"""Caption4Sound's classifier of VGGish's embeddings: dense layers, attention pooling over time, heads.

Source: hellokikicat/caption4sounds; feature-level attention of Kong et al. 2018, "Audio Set classification with
attention model". The original creates the two attention layers inside a Lambda, so that they are neither trained nor
saved; here they are ordinary weights.
"""

import keras

from audionet_tf.layers.attention_pooling import AttentionPooling
from audionet_tf.models.heads import add_heads
from audionet_tf.models.networks import vggish

WIDTH, LAYERS, DROPOUT = 1024, 3, 0.5
SCALED = 'scaled'  # layer that holds the embeddings in [-1, 1)


def caption4sound(steps, heads):
  """Caption4Sound's classifier of quantised embeddings.

  4,887,055 parameters with one head of 527 classes; 43.8 M multiplies for 10 steps. Layers by name: `dense1` ...
  `dense3` [B, T, 1024] after batch normalization and ReLU; `attention` [B, 1024], and `embedding` [B, 1024] after batch
  normalization and ReLU.

  Args:
    steps: f32 [B, T, 128], whole numbers 0 to 255 (`whitened_pca.WhitenedPCA`).
    heads: dict of head name to number of classes.

  Returns:
    dict of `logits/<head>` f32 [B, 1, classes] and `embedding` f32 [B, 1024].
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
  return add_heads(x, heads) | {'embedding': x}


def vggish_attention(heads, body=vggish.vggish):
  """Caption4Sound from waveforms: `caption4sound` on the quantised embeddings of a VGGish.

  VGGish is frozen, as no gradient passes the rounding. Its weights come from another student (`train --init`).

  Args:
    heads: dict of head name to number of classes.
    body: function of (heads, quantised=) to a VGGish, by default `vggish.vggish`.

  Returns:
    keras.Model: `waveform` f32 [B, samples], 16 kHz, to a dict of `logits/<head>` f32 [B, 1, classes] and `embedding`
    f32 [B, 1024].
  """
  front = body({}, quantised=True)
  for layer in front.layers:
    layer.trainable = False
  outputs = caption4sound(front.output[vggish.QUANTISED], heads)
  return keras.Model(front.input, outputs, name='vggish_attention')
