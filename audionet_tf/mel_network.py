"""A small 2-D convolutional network on the log-mel spectrogram: learns from few clips what SoundNet needs many for.

Layers by name: `log_mel` [B, frames, bands]; `conv1` ... `conv7` after batch normalization and ReLU; `pool1`, `pool3`,
`pool5`; `time` [B, steps, width], the mean over bands; `embedding`, mean and maximum over time added.
"""

import keras

from audionet_tf import log_mel
from audionet_tf.soundnet import AtLeast

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


def logmel_cnn(heads, table=LOGMEL_CNN):
  """A keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` [B, 1, classes] and `embedding` [B, 192].

  Args:
    heads: dict of head name to number of classes.
    table: rows of (name, filters, kernel, stride).
  """
  waveform = keras.Input([None], name='waveform')
  mel = log_mel.LogMel(**FRONT_END, name='log_mel')(waveform)  # [B, frames, bands]
  message = f'the sound is too short: at least {SHORTEST_SAMPLES} samples are needed'
  x = AtLeast(SHORTEST_FRAMES, message, name='log_mel_input')(mel)
  x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True, name='bands_norm')(x)  # each band its own
  x = keras.layers.Reshape([-1, FRONT_END['bands'], 1], name='channel')(x)
  for name, filters, kernel, stride in table:
    if filters is None:
      x = keras.layers.AveragePooling2D(kernel, stride, name=name)(x)
      continue
    x = keras.layers.Conv2D(
      filters, kernel, stride, 'same', use_bias=False, kernel_initializer='he_normal', name=f'{name}_conv'
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, name=f'{name}_norm')(x)
    x = keras.layers.ReLU(name=name)(x)
  x = keras.layers.AveragePooling2D((1, x.shape[2]), name='mean_of_bands')(x)
  x = keras.layers.Reshape([-1, x.shape[3]], name='time')(x)  # [B, steps, width]
  mean, most = keras.layers.GlobalAveragePooling1D(name='mean')(x), keras.layers.GlobalMaxPooling1D(name='most')(x)
  embedding = keras.layers.Add(name='embedding')([mean, most])
  outputs = {'embedding': embedding}
  x = keras.layers.Dropout(DROPOUT, name='dropout')(embedding)
  for head, classes in heads.items():
    dense = keras.layers.Dense(classes, dtype='float32', name=f'dense_{head}')
    outputs[f'logits/{head}'] = keras.layers.Reshape([1, classes], name=f'step_{head}')(dense(x))
  return keras.Model(waveform, outputs, name='logmel_cnn')


def hiding(student):
  """A function (audio f32 [B, samples], batch) -> the outputs in training, with stretches hidden (`log_mel.hide`).

  None where the student has no spectrogram.
  """
  if 'log_mel' not in [layer.name for layer in student.layers]:
    return None
  front = keras.Model(student.input, student.get_layer('log_mel').output)
  body = keras.Model(front.output, student.output)
  return lambda audio, batch: body(log_mel.hide(front(audio), batch), training=True)
