"""Patches of a log-mel spectrogram and back: a student of them has a step a patch.

A network of patches sees each alone: all patches of all sounds are one batch for it.
"""

import keras

from audionet_tf.layers import log_mel
from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.layers.patches import Patches, Unpatch

FRAMES = 96
RATE_HZ = log_mel.VGGISH['sample_rate_hz']
WINDOW = (400, 160, 0)  # of a frame: (kernel, stride, padding) in samples, for `receptive_field`
HOP_FRAMES = {'vggish': 96, 'yamnet': 48}  # from patch to patch, by preset of the spectrogram
SHORTEST_SAMPLES = WINDOW[0] + (FRAMES - 1) * WINDOW[1]
HIDDEN, LOGITS = 'patch_embedding', 'logits'  # layers with a step a patch


def layers(preset):
  """dict of layer to its table of sliding windows (`receptive_field`), as `registry.Architecture` has it."""
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
  mel = MinimumLength(FRAMES, message, name='log_mel_input')(mel)
  cut = {'frames': FRAMES, 'hop': HOP_FRAMES[preset]}
  x = Unpatch(**cut, name=HIDDEN)([body(Patches(**cut, name='patches')(mel)), mel])  # [B, T, width]
  outputs = {'embedding': keras.layers.GlobalAveragePooling1D(name='embedding')(x)}
  x = classifier(x)
  for head, classes in heads.items():
    outputs[f'logits/{head}'] = keras.layers.Dense(classes, dtype='float32', name=f'{LOGITS}_{head}', **dense)(x)
  return keras.Model(waveform, outputs, name=name)
