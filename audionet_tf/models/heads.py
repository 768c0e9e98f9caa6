"""Heads of a network: one per teacher, with the teacher's name, and the activations that belong to their losses."""

import keras
import tensorflow as tf

LOGITS = 'logits/'  # + head: key of a head's output

# Logits to probabilities: of classes that exclude each other, and of independent ones.
ACTIVATIONS = {'softmax': tf.nn.softmax, 'sigmoid': tf.sigmoid}


def add_heads(x, heads, prefix='logits', per_step=False, layer=keras.layers.Dense, **options):
  """Puts one linear layer per head on a Keras tensor, in float32 under every precision policy.

  Args:
    x: f32 [B, width], or f32 [B, T, width] where `per_step`.
    heads: dict of head name to number of classes.
    prefix: the layer of a head is named `<prefix>_<head>`.
    per_step: whether a head has logits for every step of x, or one step in all.
    layer: function of (classes, name=, dtype=, **options) to a Keras layer.
    **options: of `layer`.

  Returns:
    dict of `logits/<head>` to f32 [B, T, classes]; T = 1 unless `per_step`.
  """
  outputs = {}
  for head, classes in heads.items():
    logits = layer(classes, name=f'{prefix}_{head}', dtype='float32', **options)(x)
    if not per_step:
      logits = keras.layers.Reshape([1, classes], name=f'step_{head}', dtype='float32')(logits)
    outputs[LOGITS + head] = logits
  return outputs
