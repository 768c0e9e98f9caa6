"""A small 2-D convolutional network on the log-mel spectrogram, which needs far fewer clips than SoundNet.

Layers by name: `log_mel` [B, frames, bands]; `conv1` ... `conv7` after batch normalization and ReLU; `pool1`, `pool3`,
`pool5`; `time` [B, steps, 192], the mean over bands; `embedding`, mean plus maximum over time.

Source: this project (docs/transfer.md has its accuracy); the log-mel front end is YAMNet's with other settings.
"""

import keras

from audionet_tf.layers import attention_pooling, log_mel
from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.models.heads import add_heads
from audionet_tf.models.sound_needs import RATE_HZ, SHORTEST_FRAMES, SHORTEST_SAMPLES

FRONT_END = {'sample_rate_hz': RATE_HZ, 'window_seconds': 1024 / RATE_HZ, 'hop_seconds': 256 / RATE_HZ, 'bands': 64}
FRONT_END |= {'lower_hz': 50.0, 'upper_hz': 11000.0, 'offset': 0.001}

# name, filters (None: average pool), kernel, stride; (time, frequency). A hop of 12 ms resolves the beat of a rotor.
LOGMEL_CNN = (
  ('conv1', 24, (7, 5), (4, 2)),
  ('pool1', None, 2, 2),
  ('conv2', 48, 3, 1),
  ('conv3', 48, 3, 1),
  ('pool3', None, 2, 2),
  ('conv4', 96, 3, 1),
  ('conv5', 96, 3, 1),
  ('pool5', None, 2, 2),
  ('conv6', 192, 3, 1),
  ('conv7', 192, 3, 1),
)
DROPOUT = 0.2
# Batches that were changed in many ways differ: the statistics of batch normalization are the mean over more of them.
VARIANTS = {'level': {'same_level': True, 'momentum': 0.98}}
VARIANTS['contrast'] = VARIANTS['level'] | {'contrast': True}


def mean_max_head(x, heads):
  """Heads on mean plus maximum over time.

  Args:
    x: f32 [B, T, width].
    heads: dict of head name to number of classes.

  Returns:
    dict of `logits/<head>` f32 [B, 1, classes] and `embedding` f32 [B, width].
  """
  mean = keras.layers.GlobalAveragePooling1D(name='mean')(x)
  maximum = keras.layers.GlobalMaxPooling1D(name='most')(x)  # the name that saved models carry
  embedding = keras.layers.Add(name='embedding')([mean, maximum])
  x = keras.layers.Dropout(DROPOUT, name='dropout')(embedding)
  return {'embedding': embedding} | add_heads(x, heads, 'dense')


def per_step_head(x, heads):
  """Heads on every step; the embedding is the mean over time.

  Args:
    x: f32 [B, T, width].
    heads: dict of head name to number of classes.

  Returns:
    dict of `logits/<head>` f32 [B, T, classes] and `embedding` f32 [B, width].
  """
  embedding = keras.layers.GlobalAveragePooling1D(name='embedding')(x)
  x = keras.layers.Dropout(DROPOUT, name='dropout')(x)
  return {'embedding': embedding} | add_heads(x, heads, 'dense', per_step=True)


def attention_head(x, heads):
  """Heads on attention pooling over time (`attention_pooling.AttentionPooling`).

  Args:
    x: f32 [B, T, width].
    heads: dict of head name to number of classes.

  Returns:
    dict of `logits/<head>` f32 [B, 1, classes] and `embedding` f32 [B, width].
  """
  x = keras.layers.Dropout(DROPOUT, name='dropout')(x)
  x = attention_pooling.AttentionPooling(x.shape[2], name='attention')(x)
  x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name='attention_norm')(x)
  embedding = keras.layers.ReLU(name='embedding')(x)
  return add_heads(embedding, heads) | {'embedding': embedding}


def logmel_cnn(
  heads, table=LOGMEL_CNN, pooled=mean_max_head, name='logmel_cnn', same_level=False, contrast=False, momentum=0.9
):
  """Seven convolutions on the log-mel spectrogram, and heads on the mean over bands.

  657,064 parameters without heads; 81.0 M multiplies for 5 s, without those of the spectrogram. `attention_head` adds
  74,880 parameters and 0.96 M multiplies.

  Args:
    heads: dict of head name to number of classes.
    table: rows of (name, filters, kernel, stride).
    pooled: function of (f32 [B, T, width], heads) to the outputs: `mean_max_head`, `per_step_head` or `attention_head`.
    name: of the model.
    same_level: whether every sound is brought to one level first (`log_mel.SameLevel`).
    contrast: whether each band has its distance from its own mean beside it (`log_mel.Contrast`).
    momentum: of the moving statistics of batch normalization.

  Returns:
    keras.Model: `waveform` f32 [B, samples], 22,050 Hz and at least SHORTEST_SAMPLES, to a dict of `logits/<head>`
    f32 [B, T, classes] and `embedding` f32 [B, 192]; T = 1 but for `per_step_head`.
  """
  waveform = keras.Input([None], name='waveform')
  sound = log_mel.SameLevel(name='same_level')(waveform) if same_level else waveform
  transform = 'float32' if same_level else 'float64'  # what is rounded is far below the offset at that level
  mel = log_mel.LogMel(**FRONT_END, transform=transform, name='log_mel')(sound)  # [B, frames, bands]
  message = f'the sound is too short: at least {SHORTEST_SAMPLES} samples are needed'
  x = MinimumLength(SHORTEST_FRAMES, message, name='log_mel_input')(mel)
  x = keras.layers.BatchNormalization(momentum=momentum, synchronized=True, name='bands_norm')(x)  # per band
  x = keras.layers.Reshape([-1, FRONT_END['bands'], 1], name='channel')(x)  # [B, frames, bands, 1]
  x = log_mel.Contrast(name='contrast')(x) if contrast else x
  for layer, filters, kernel, stride in table:
    if filters is None:
      x = keras.layers.AveragePooling2D(kernel, stride, name=layer)(x)  # [B, steps / 2, bands / 2, filters]
      continue
    x = keras.layers.Conv2D(
      filters, kernel, stride, 'same', use_bias=False, kernel_initializer='he_normal', name=f'{layer}_conv'
    )(x)
    x = keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-5, synchronized=True, name=f'{layer}_norm')(x)
    x = keras.layers.ReLU(name=layer)(x)  # [B, steps, bands, filters]
  x = keras.layers.AveragePooling2D((1, x.shape[2]), name='mean_of_bands')(x)  # [B, steps, 1, width]
  x = keras.layers.Reshape([-1, x.shape[3]], name='time')(x)  # [B, steps, width]
  return keras.Model(waveform, pooled(x, heads), name=name)
