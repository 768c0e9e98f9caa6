"""SoundNet: a deep 1-D convolutional network on raw sound, its layers a table.

Source: Aytar, Vondrick, Torralba 2016, tables 1 and 2, with the strides of its code.

The activation of every layer is a Keras layer of the table's name: `conv1` ... `conv7` after batch normalization and
ReLU, `pool1` ... `pool5`; the last layer is one convolution a head, `conv8_<head>`, whose outputs are the logits.
"""

import keras

from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.layers.strided_conv1d import StridedConv1D
from audionet_tf.models import receptive_field

RATE_HZ = 22050  # of the sound that the paper's networks hear
SCALE = 256.0  # the original hears [-256, 256]

# name, filters (None: max pool; HEADS: a convolution a head), kernel, stride, padding
HEADS = 'heads'
SOUNDNET8 = (
  ('conv1', 16, 64, 2, 32),
  ('pool1', None, 8, 8, 0),
  ('conv2', 32, 32, 2, 16),
  ('pool2', None, 8, 8, 0),
  ('conv3', 64, 16, 2, 8),
  ('conv4', 128, 8, 2, 4),
  ('conv5', 256, 4, 2, 2),
  ('pool5', None, 4, 4, 0),
  ('conv6', 512, 4, 2, 2),
  ('conv7', 1024, 4, 2, 2),
  ('conv8', HEADS, 8, 2, 0),
)
# Of 5 s conv7 leaves four steps, and this head makes one of them, as the original's fine-tuning does.
SOUNDNET8_5S = (*SOUNDNET8[:-1], ('conv8', HEADS, 4, 1, 0))
# A head on every step of conv7, their answers averaged by who asks: learns from few clips what the wide head memorises,
# and hears any sound from 0.21 s up (docs/transfer.md).
SOUNDNET8_STEPS = (*SOUNDNET8[:-1], ('conv8', HEADS, 1, 1, 0))
SOUNDNET5 = (
  ('conv1', 32, 64, 2, 32),
  ('pool1', None, 8, 8, 0),
  ('conv2', 64, 32, 2, 16),
  ('pool2', None, 8, 8, 0),
  ('conv3', 128, 16, 2, 8),
  ('pool3', None, 8, 8, 0),
  ('conv4', 256, 8, 2, 4),
  ('conv5', HEADS, 16, 12, 4),
)


def windows(table):
  """(kernel, stride, padding) of every row, for `receptive_field`."""
  return [row[2:] for row in table]


def soundnet(table, heads, name):
  """A keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` [B, T, classes] and `embedding` [B, width].

  The embedding is the mean over time of the last hidden layer.

  Args:
    table: SOUNDNET8, SOUNDNET5, or another of their form.
    heads: dict of head name to number of classes.
    name: of the model.
  """
  waveform = keras.Input([None], name='waveform')
  x = scaled(waveform)
  for number in range(1, len(table)):
    x = hidden_layer(x, table, number)
  layer, _, kernel, stride, padding = table[-1]
  x = enough(x, table, len(table))
  outputs = {'embedding': keras.layers.GlobalAveragePooling1D(name='embedding')(x)}
  x = padded(x, layer, padding)
  for head, classes in heads.items():
    outputs[f'logits/{head}'] = convolution(classes, kernel, stride, f'{layer}_{head}', 'float32')(x)
  return keras.Model(waveform, outputs, name=name)


def scaled(waveform):
  """[B, samples] in [-1, 1] -> [B, samples, 1] in the original's range."""
  return keras.layers.Reshape([-1, 1], name='channel')(keras.layers.Rescaling(SCALE, name='scale')(waveform))


def hidden_layer(x, table, number):
  """The activation of the table's `number`th layer, counted from 1: f32 [B, T, C] -> [B, T', C']."""
  layer, filters, kernel, stride, padding = table[number - 1]
  x = enough(x, table, number)
  if filters is None:
    return keras.layers.MaxPooling1D(kernel, stride, name=layer)(x)
  x = convolution(filters, kernel, stride, f'{layer}_conv')(padded(x, layer, padding))
  return keras.layers.ReLU(name=layer)(normalization(f'{layer}_norm')(x))


def enough(x, table, number):
  """`x`, refused where it is too short for the table's `number`th layer."""
  layer, _, kernel, _, padding = table[number - 1]
  if kernel <= 2 * padding + 1:
    return x
  return MinimumLength(kernel - 2 * padding, too_short(table, number), name=f'{layer}_input')(x)


def padded(x, layer, padding):
  """`x` with so many zeros on both sides."""
  return keras.layers.ZeroPadding1D(padding, name=f'{layer}_pad')(x) if padding else x


def too_short(table, number):
  """What to say of sound that gives no step of the table's first `number` layers."""
  shortest = {rows[-1][0]: receptive_field.minimum_input_length(windows(rows)) for rows in (table[:number], table)}
  needs = ', '.join(f'{layer} needs at least {samples} samples' for layer, samples in shortest.items())
  return f'the sound is too short: {needs}'


def convolution(filters, kernel, stride, name, dtype=None):
  """Its weights N(0, 0.01), its bias 0, as the original's code draws them."""
  return StridedConv1D(
    filters, kernel, stride, kernel_initializer=keras.initializers.RandomNormal(0, 0.01), name=name, dtype=dtype
  )


def normalization(name):
  """Batch normalization as Torch's: epsilon 1e-5, momentum 0.1 there is 0.9 here; scale drawn from N(1, 0.02)."""
  return keras.layers.BatchNormalization(
    momentum=0.9, epsilon=1e-5, gamma_initializer=keras.initializers.RandomNormal(1, 0.02), synchronized=True, name=name
  )
