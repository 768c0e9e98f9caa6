"""Patches of a log-mel spectrogram and back: a student of them has a step a patch.

A network of patches sees each alone: all patches of all sounds are one batch for it.
"""

import keras
import tensorflow as tf

from audionet_tf import log_mel
from audionet_tf.soundnet import AtLeast

FRAMES = 96
RATE_HZ = log_mel.VGGISH['sample_rate_hz']
WINDOW = (400, 160, 0)  # of a frame: (kernel, stride, padding) in samples, for `geometry`
HOP_FRAMES = {'vggish': 96, 'yamnet': 48}  # from patch to patch, by preset of the spectrogram
SHORTEST_SAMPLES = WINDOW[0] + (FRAMES - 1) * WINDOW[1]
HIDDEN, LOGITS = 'patch_embedding', 'logits'  # layers with a step a patch


@keras.saving.register_keras_serializable(package='audionet_tf')
class Patches(keras.layers.Layer):
  """f32 [B, F, bands] -> [B T, frames, bands, 1], T = 1 + (F - frames) // hop; what is left over is dropped."""

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


@keras.saving.register_keras_serializable(package='audionet_tf')
class Steps(keras.layers.Layer):
  """(f32 [B T, width], the spectrogram that `Patches` of equal arguments cut) -> [B, T, width]."""

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


def layers(preset):
  """dict of layer to its table of sliding windows (`geometry`), as `students.Network` has it."""
  patch = [WINDOW, (FRAMES, HOP_FRAMES[preset], 0)]
  return {'log_mel': [WINDOW], HIDDEN: patch, LOGITS: patch}


def student(heads, name, preset, body, classifier=lambda x: x, **dense):
  """A keras.Model: `waveform` f32 [B, samples], 16 kHz, to `logits/<head>` [B, T, classes] and `embedding` [B, width].

  The embedding is the mean over time of the layer `patch_embedding` [B, T, width]; `log_mel` is the spectrogram.

  Args:
    heads: dict of head name to number of classes.
    name: of the model.
    preset: key of log_mel.PRESETS, which says how far patches are apart, too.
    body: function of patches [N, 96, 64, 1] to [N, width].
    classifier: function of [B, T, width] to what the heads stand on.
    **dense: of the heads, for keras.layers.Dense.
  """
  waveform = keras.Input([None], name='waveform')
  mel = log_mel.LogMel(**log_mel.PRESETS[preset], name='log_mel')(waveform)  # [B, F, 64]
  message = f'the sound is too short: at least {SHORTEST_SAMPLES} samples are needed'
  mel = AtLeast(FRAMES, message, name='log_mel_input')(mel)
  cut = {'frames': FRAMES, 'hop': HOP_FRAMES[preset]}
  x = Steps(**cut, name=HIDDEN)([body(Patches(**cut, name='patches')(mel)), mel])  # [B, T, width]
  outputs = {'embedding': keras.layers.GlobalAveragePooling1D(name='embedding')(x)}
  x = classifier(x)
  for head, classes in heads.items():
    outputs[f'logits/{head}'] = keras.layers.Dense(classes, dtype='float32', name=f'{LOGITS}_{head}', **dense)(x)
  return keras.Model(waveform, outputs, name=name)
