"""Heads on a network: one per teacher, named as the teacher is, and the activation that its loss asks for."""

import keras
import tensorflow as tf


def heads_on(x, heads):
  """Heads of one step: f32 [B, width] to a dict of `logits/<head>` [B, 1, classes]. `heads`: classes by name."""
  outputs = {}
  for head, classes in heads.items():
    logits = keras.layers.Dense(classes, dtype='float32', name=f'logits_{head}')(x)
    outputs[f'logits/{head}'] = keras.layers.Reshape([1, classes], name=f'step_{head}')(logits)
  return outputs


# Logits to probabilities: of classes that exclude each other, and of those that do not.
ACTIVATIONS = {'softmax': tf.nn.softmax, 'sigmoid': tf.sigmoid}


LOGITS = 'logits/'  # + head: key of a head's output
