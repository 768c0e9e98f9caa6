"""Masks on the log-mel spectrogram while training.

Source: Park et al. 2019 (SpecAugment), section 2.
"""

import keras
import tensorflow as tf

from audionet_tf.data.batch_keys import HIDDEN_FREQUENCY, HIDDEN_TIME


def hide(spectrogram, batch):
  """The spectrogram [B, frames, bands] with the stretches hidden that the batch names: its mean stands there."""
  mean = tf.reduce_mean(spectrogram, [1, 2], keepdims=True)
  for key, axis in ((HIDDEN_TIME, 1), (HIDDEN_FREQUENCY, 2)):
    if key in batch:
      count = tf.shape(spectrogram)[axis]
      places = (tf.range(count, dtype=tf.float32) + 0.5) / tf.cast(count, tf.float32)
      hidden = (places >= batch[key][:, :1]) & (places < batch[key][:, 1:])  # [B, count]
      spectrogram = tf.where(tf.expand_dims(hidden, 3 - axis), mean, spectrogram)
  return spectrogram


def hiding(student):
  """A function (audio f32 [B, samples], batch) -> the outputs in training, with stretches hidden (`spec_augment.hide`).

  None where the student has no spectrogram.
  """
  if 'log_mel' not in [layer.name for layer in student.layers]:
    return None
  front = keras.Model(student.input, student.get_layer('log_mel').output)
  body = keras.Model(front.output, student.output)
  return lambda audio, batch: body(hide(front(audio), batch), training=True)
