"""Masks on the log-mel spectrogram while training.

Source: Park et al. 2019 (SpecAugment), section 2.
"""

import keras
import tensorflow as tf

from audionet_tf.data.batch_keys import HIDDEN_FREQUENCY, HIDDEN_TIME


def mask(spectrogram, batch):
  """Replaces spans of frames and of bands by the mean of the spectrogram.

  Args:
    spectrogram: f32 [B, frames, bands].
    batch: dict; `batch_keys.HIDDEN_TIME` and HIDDEN_FREQUENCY, if present, are f32 [B, 2]: begin and end of the span as
      parts of the axis, in [0, 1].

  Returns:
    f32 [B, frames, bands].
  """
  mean = tf.reduce_mean(spectrogram, [1, 2], keepdims=True)
  for key, axis in ((HIDDEN_TIME, 1), (HIDDEN_FREQUENCY, 2)):
    if key in batch:
      count = tf.shape(spectrogram)[axis]
      positions = (tf.range(count, dtype=tf.float32) + 0.5) / tf.cast(count, tf.float32)
      hidden = (positions >= batch[key][:, :1]) & (positions < batch[key][:, 1:])  # [B, count]
      spectrogram = tf.where(tf.expand_dims(hidden, 3 - axis), mean, spectrogram)
  return spectrogram


def masked_forward(student):
  """A function (audio f32 [B, samples], batch) -> the student's outputs in training mode, with `mask` applied.

  None if the student has no spectrogram.
  """
  if 'log_mel' not in [layer.name for layer in student.layers]:
    return None
  front = keras.Model(student.input, student.get_layer('log_mel').output)
  body = keras.Model(front.output, student.output)
  return lambda audio, batch: body(mask(front(audio), batch), training=True)
