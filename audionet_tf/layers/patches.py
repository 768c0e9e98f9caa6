"""Cuts a log-mel spectrogram into patches, and brings the outputs of the patches back into order of time.

A network on patches sees each patch alone: all patches of all sounds form one batch.

Source: tensorflow/models, research/audioset: vggish/vggish_input.py and yamnet/features.py.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package='audionet_tf')
class Patches(keras.layers.Layer):
  """Patches of a spectrogram, along the batch axis.

  Call: f32 [B, F, bands] -> f32 [B T, frames, bands, 1], T = 1 + (F - frames) // hop; the remainder is dropped.

  Args:
    frames: length of a patch.
    hop: frames from one patch to the next.
    **kwargs: of keras.layers.Layer.
  """

  def __init__(self, frames, hop, **kwargs):
    super().__init__(**kwargs)
    self.frames, self.hop = frames, hop

  def call(self, x):
    patches = tf.signal.frame(x, self.frames, self.hop, axis=1)  # [B, T, frames, bands]
    return tf.reshape(patches, [-1, self.frames, x.shape[2], 1])

  def compute_output_shape(self, input_shape):
    return (None, self.frames, input_shape[2], 1)

  def get_config(self):
    return super().get_config() | {'frames': self.frames, 'hop': self.hop}


@keras.saving.register_keras_serializable(package='audionet_tf', name='Steps')
class Unpatch(keras.layers.Layer):
  """Outputs of patches as steps in time.

  Call: (f32 [B T, width], f32 [B, F, bands]) -> f32 [B, T, width]; the second input is the spectrogram that `Patches`
  with the same arguments has cut.

  Args:
    frames: length of a patch.
    hop: frames from one patch to the next.
    **kwargs: of keras.layers.Layer.
  """

  def __init__(self, frames, hop, **kwargs):
    super().__init__(**kwargs)
    self.frames, self.hop = frames, hop

  def call(self, inputs):
    x, spectrogram = inputs
    batch, length = tf.unstack(tf.shape(spectrogram)[:2])
    return tf.reshape(x, [batch, 1 + (length - self.frames) // self.hop, x.shape[1]])

  def compute_output_shape(self, input_shape):
    (_, width), (batch, length, _) = input_shape
    return (batch, None if length is None else 1 + (length - self.frames) // self.hop, width)

  def get_config(self):
    return super().get_config() | {'frames': self.frames, 'hop': self.hop}
