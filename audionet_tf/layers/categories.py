"""Layers that sum classes up to categories and tell how familiar a sound is (`categories`), of stock operations."""

import keras
import tensorflow as tf

NEIGHBOURS, SHARE_OF_OTHERS = 3, 1 / 3


@keras.saving.register_keras_serializable(package='audionet_tf')
class Familiarity(keras.layers.Layer):
  """Embedding f32 [B, width] -> f32 [B], about -0.3 to 0.7: how near it is to known sounds, and not to others.

  Args:
    known, others: numbers of embeddings, which are weights: f32 [width, number], of length 1.
  """

  def __init__(self, known, others, **kwargs):
    kwargs['trainable'] = False
    super().__init__(**kwargs)
    self.counts = {'known': known, 'others': others}

  def build(self, input_shape):
    for name, count in self.counts.items():
      setattr(self, name, self.add_weight(shape=(input_shape[-1], count), initializer='zeros', name=name))

  def call(self, embedding):
    unit = tf.math.l2_normalize(embedding, axis=1)
    known, others = (
      tf.reduce_mean(tf.math.top_k(tf.matmul(unit, x), NEIGHBOURS)[0], 1) for x in (self.known, self.others)
    )
    return known - SHARE_OF_OTHERS * others

  def compute_output_shape(self, input_shape):
    return input_shape[:1]

  def get_config(self):
    return super().get_config() | self.counts


@keras.saving.register_keras_serializable(package='audionet_tf')
class Categories(keras.layers.Layer):
  """(logits f32 [B, T, classes], familiarity f32 [B]) -> f32 [B, T, categories + 1]: logarithms of probabilities.

  Those of the categories are what they share among themselves, times the probability that the sound is known, a
  logistic function of its familiarity; the last is that it is not.

  Args:
    members: list of the lists of each category's classes.
    threshold, slope: of that function: one half at `threshold`.
  """

  def __init__(self, members, threshold, slope, **kwargs):
    super().__init__(**kwargs)
    self.settings = {'members': members, 'threshold': threshold, 'slope': slope}

  def call(self, inputs):
    logits, familiarity = inputs
    logits = tf.nn.log_softmax(logits)
    sums = [tf.reduce_logsumexp(tf.gather(logits, of, axis=-1), -1) for of in self.settings['members']]
    known = self.settings['slope'] * (familiarity - self.settings['threshold'])[:, None, None]
    shares = tf.nn.log_softmax(tf.stack(sums, -1)) + tf.math.log_sigmoid(known)
    return tf.concat([shares, tf.zeros_like(shares[..., :1]) + tf.math.log_sigmoid(-known)], -1)

  def compute_output_shape(self, input_shape):
    return (*input_shape[0][:-1], len(self.settings['members']) + 1)

  def get_config(self):
    return super().get_config() | self.settings
