"""A small 2-D convolutional network on the log-mel spectrogram: learns from few clips what SoundNet needs many for.

Layers by name: `log_mel` [B, frames, bands]; `conv1` ... `conv7` after batch normalization and ReLU; `pool1`, `pool3`,
`pool5`; `time` [B, steps, width], the mean over bands; `embedding`, mean and maximum over time added.
"""

import keras

from audionet_tf.layers import attention_pooling, log_mel
from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.models import heads as models_heads

FRONT_END = {'sample_rate_hz': 22050, 'window_seconds': 1024 / 22050, 'hop_seconds': 256 / 22050, 'bands': 64}
FRONT_END |= {'lower_hz': 50.0, 'upper_hz': 11000.0, 'offset': 0.001}
SHORTEST_FRAMES = 29  # one step behind the last pool
SHORTEST_SAMPLES = 1024 + (SHORTEST_FRAMES - 1) * 256

# name, filters (None: average pool), kernel, stride; (time, frequency). Frames of 12 ms let conv1 hear a rotor beat.
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


def mean_max_head(x, heads):
  """Heads on the mean and the maximum over time together: `logits/<head>` [B, 1, classes], `embedding` [B, width]."""
  mean, most = keras.layers.GlobalAveragePooling1D(name='mean')(x), keras.layers.GlobalMaxPooling1D(name='most')(x)
  embedding = keras.layers.Add(name='embedding')([mean, most])
  outputs = {'embedding': embedding}
  x = keras.layers.Dropout(DROPOUT, name='dropout')(embedding)
  for head, classes in heads.items():
    dense = keras.layers.Dense(classes, dtype='float32', name=f'dense_{head}')
    outputs[f'logits/{head}'] = keras.layers.Reshape([1, classes], name=f'step_{head}')(dense(x))
  return outputs


def per_step_head(x, heads):
  """Heads on every step: `logits/<head>` [B, T, classes]; `embedding` [B, width], the mean over time."""
  outputs = {'embedding': keras.layers.GlobalAveragePooling1D(name='embedding')(x)}
  x = keras.layers.Dropout(DROPOUT, name='dropout')(x)
  for head, classes in heads.items():
    outputs[f'logits/{head}'] = keras.layers.Dense(classes, dtype='float32', name=f'dense_{head}')(x)
  return outputs


def attention_head(x, heads):
  """Heads on what attention chooses: `logits/<head>` [B, 1, classes], `embedding` [B, width]."""
  x = keras.layers.Dropout(DROPOUT, name='dropout')(x)
  x = attention_pooling.AttentionPooling(x.shape[2], name='attention')(x)
  x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name='attention_norm')(x)
  embedding = keras.layers.ReLU(name='embedding')(x)
  return models_heads.heads_on(embedding, heads) | {'embedding': embedding}


def logmel_cnn(heads, table=LOGMEL_CNN, pooled=mean_max_head, name='logmel_cnn'):
  """A keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` and `embedding` [B, 192].

  Args:
    heads: dict of head name to number of classes.
    table: rows of (name, filters, kernel, stride).
    pooled: function of (f32 [B, steps, width], heads) to the outputs: `mean_and_most`, `each_step` or `attended`.
    name: of the model.
  """
  waveform = keras.Input([None], name='waveform')
  mel = log_mel.LogMel(**FRONT_END, name='log_mel')(waveform)  # [B, frames, bands]
  message = f'the sound is too short: at least {SHORTEST_SAMPLES} samples are needed'
  x = MinimumLength(SHORTEST_FRAMES, message, name='log_mel_input')(mel)
  x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name='bands_norm')(x)  # each band its own
  x = keras.layers.Reshape([-1, FRONT_END['bands'], 1], name='channel')(x)
  for layer, filters, kernel, stride in table:
    if filters is None:
      x = keras.layers.AveragePooling2D(kernel, stride, name=layer)(x)
      continue
    x = keras.layers.Conv2D(
      filters, kernel, stride, 'same', use_bias=False, kernel_initializer='he_normal', name=f'{layer}_conv'
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, name=f'{layer}_norm')(x)
    x = keras.layers.ReLU(name=layer)(x)
  x = keras.layers.AveragePooling2D((1, x.shape[2]), name='mean_of_bands')(x)
  x = keras.layers.Reshape([-1, x.shape[3]], name='time')(x)  # [B, steps, width]
  return keras.Model(waveform, pooled(x, heads), name=name)
