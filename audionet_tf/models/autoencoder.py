"""A convolutional autoencoder: SoundNet's first four convolutions, and a mirrored decoder that gives the sound back.

Source: Aytar, Vondrick, Torralba 2016, section 4: the unsupervised baseline. Nobody teaches it: it
learns to make what it hears small (`losses.squared_error`), and its layers are features as SoundNet's are.

The paper says no more than four layers each way and fractional strides. Here a layer of the decoder undoes a
convolution together with the pool behind it: the kernel and the filters are the convolution's, the stride is that of
both, and what a step gives lies in the middle of what it heard.
"""

import keras

from audionet_tf.models import receptive_field, soundnet

ENCODER = soundnet.SOUNDNET8[:6]  # conv1 to conv4


def autoencoder(heads, table=ENCODER):
  """A keras.Model: `waveform` f32 [B, samples] to a dict of `waveform` f32 [B, samples] and `embedding` f32 [B, width].

  The layers of the encoder have SoundNet's names, those of the decoder are `deconv4` ... `deconv1`. The embedding is
  the mean over time of the last layer of the encoder.

  Args:
    heads: empty: there is nobody to learn from. ValueError otherwise.
    table: rows as in `soundnet`, without heads; every pool behind a convolution.
  """
  if heads:
    raise ValueError(f'heads are {list(heads)}; an autoencoder has none')
  waveform = keras.Input([None], name='waveform')
  x = soundnet.scaled(waveform)
  for number in range(1, len(table) + 1):
    x = soundnet.hidden_layer(x, table, number)
  embedding = keras.layers.GlobalAveragePooling1D(name='embedding')(x)
  for name, filters, kernel, stride, crop in mirrored(table):
    last = filters == 1
    x = keras.layers.Conv1DTranspose(filters, kernel, stride, name=name if last else f'{name}_conv')(x)
    x = keras.layers.Cropping1D((crop, 0), name=f'{name}_crop')(x)
    if not last:
      x = keras.layers.ReLU(name=name)(soundnet.normalization(f'{name}_norm')(x))
  x = MatchLength(name='length')([keras.layers.Reshape([-1], name='sound')(x), waveform])
  return keras.Model(waveform, {'waveform': x, 'embedding': embedding}, name='autoencoder')


def mirrored(table):
  """Rows (name, filters, kernel, stride, samples to leave out at the beginning) of the decoder, last layer first.

  Args:
    table: of the encoder.
  """
  rows, channels = [], 1
  for number, (name, filters, kernel, *_) in enumerate(table):
    if filters is None:
      continue
    pool = [row for row in table[number + 1 : number + 2] if row[1] is None]
    steps = receptive_field.receptive_field(soundnet.windows([table[number], *pool]))
    crop = int((kernel - 1) / 2 - steps.first_center)
    rows.append((f'de{name}', channels, kernel, steps.hop, crop))
    channels = filters
  return rows[::-1]


@keras.saving.register_keras_serializable(package='audionet_tf', name='AsLongAs')
class MatchLength(keras.layers.Layer):
  """[B, any] and [B, samples] -> the first, its end cut off or filled with zeros: [B, samples]."""

  def call(self, inputs):
    x, like = inputs
    length = keras.ops.shape(like)[1]
    return keras.ops.pad(x, [[0, 0], [0, keras.ops.maximum(0, length - keras.ops.shape(x)[1])]])[:, :length]

  def compute_output_shape(self, input_shape):
    return tuple(input_shape[1])
