"""Students on patches of a log-mel spectrogram, one step per patch: VGGish, YAMNet, CNN architectures.

The network sees each patch of 0.96 s alone: all patches of all sounds form one batch.

Source: tensorflow/models, research/audioset/{vggish,yamnet}.
"""

import keras

from audionet_tf.layers import log_mel
from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.layers.patches import Patches, Unpatch
from audionet_tf.models.heads import add_heads

FRAMES = 96  # of a patch
RATE_HZ = log_mel.VGGISH['sample_rate_hz']
WINDOW = (400, 160, 0)  # of a frame: (kernel, stride, padding) in samples, for `receptive_field`
HOP_FRAMES = {'vggish': 96, 'yamnet': 48}  # from one patch to the next, by preset of the spectrogram
SHORTEST_SAMPLES = WINDOW[0] + (FRAMES - 1) * WINDOW[1]
HIDDEN, LOGITS = 'patch_embedding', 'logits'  # layers with one step per patch


def layers(preset):
  """`registry.Architecture.layer_windows` of a student on patches.

  Args:
    preset: key of HOP_FRAMES.

  Returns:
    dict of layer name to its table of sliding windows, a list of (kernel, stride, padding) (`receptive_field`).
  """
  patch = [WINDOW, (FRAMES, HOP_FRAMES[preset], 0)]
  return {'log_mel': [WINDOW], HIDDEN: patch, LOGITS: patch}


def student(heads, name, preset, body, classifier=lambda x: x):
  """A student of a network on patches.

  The embedding is the mean over time of the layer `patch_embedding` [B, T, width]; `log_mel` is the spectrogram.

  Args:
    heads: dict of head name to number of classes.
    name: of the model.
    preset: key of log_mel.PRESETS; it selects the hop of the patches too.
    body: function of patches f32 [N, 96, 64, 1] to f32 [N, width].
    classifier: function of f32 [B, T, width] to the input of the heads, f32 [B, T, any].

  Returns:
    keras.Model: `waveform` f32 [B, samples], 16 kHz and at least SHORTEST_SAMPLES, to a dict of `logits/<head>`
    f32 [B, T, classes] and `embedding` f32 [B, width].
  """
  waveform = keras.Input([None], name='waveform')
  mel = log_mel.LogMel(**log_mel.PRESETS[preset], name='log_mel')(waveform)  # [B, F, 64]
  message = f'the sound is too short: at least {SHORTEST_SAMPLES} samples are needed'
  mel = MinimumLength(FRAMES, message, name='log_mel_input')(mel)
  cut = {'frames': FRAMES, 'hop': HOP_FRAMES[preset]}
  x = Unpatch(**cut, name=HIDDEN)([body(Patches(**cut, name='patches')(mel)), mel])  # [B, T, width]
  embedding = keras.layers.GlobalAveragePooling1D(name='embedding')(x)
  logits = add_heads(classifier(x), heads, LOGITS, per_step=True)
  return keras.Model(waveform, {'embedding': embedding} | logits, name=name)
