"""A convolutional autoencoder: SoundNet's first four convolutions and a mirrored decoder that reconstructs the sound.

Source: Aytar, Vondrick, Torralba 2016, section 4, the unsupervised baseline. It has no teacher: it is trained to
reconstruct its input (`losses.squared_error`), and its layers serve as features, as SoundNet's do.

The paper says only that there are four layers each way, with fractional strides in the decoder. Here a layer of the
decoder inverts a convolution together with the pool after it: it has the kernel and the filters of the convolution and
the stride of both, and the output of a step is centred in the receptive field of that step.
"""

import keras

from audionet_tf.models import receptive_field
from audionet_tf.models.networks import soundnet

ENCODER = soundnet.SOUNDNET8[:6]  # conv1 to conv4


def autoencoder(heads, table=ENCODER):
  """SoundNet's layers conv1 to conv4 as encoder, and a decoder `deconv4` ... `deconv1`.

  233,185 parameters; 0.62 G multiplies for 20 s. The embedding is the mean over time of the encoder's last layer.

  Args:
    heads: empty dict, as there is no teacher.
    table: rows as in `soundnet`, without heads; every pool follows a convolution.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `waveform` f32 [B, samples] and `embedding` f32 [B, 128].

  Raises:
    ValueError: heads is not empty.
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
  """The table of the decoder.

  Args:
    table: of the encoder.

  Returns:
    list of (name, filters, kernel, stride, crop), in the order of the layers; `crop` counts the steps to drop at the
    beginning of a layer's output.
  """
  rows, channels = [], 1
  for number, (name, filters, kernel, *_) in enumerate(table):
    if filters is None:
      continue
    pool = [row for row in table[number + 1 : number + 2] if row[1] is None]
    field = receptive_field.receptive_field(soundnet.windows([table[number], *pool]))
    crop = int((kernel - 1) / 2 - field.first_center)
    rows.append((f'de{name}', channels, kernel, field.stride, crop))
    channels = filters
  return rows[::-1]


@keras.saving.register_keras_serializable(package='audionet_tf', name='AsLongAs')
class MatchLength(keras.layers.Layer):
  """Call: (f32 [B, any], f32 [B, samples]) -> the first, truncated or padded with zeros at its end to [B, samples]."""

  def call(self, inputs):
    x, reference = inputs
    length = keras.ops.shape(reference)[1]
    return keras.ops.pad(x, [[0, 0], [0, keras.ops.maximum(0, length - keras.ops.shape(x)[1])]])[:, :length]

  def compute_output_shape(self, input_shape):
    return tuple(input_shape[1])
