"""SoundNet: a deep 1-D convolutional network on raw sound, its layers a table.

Source: Aytar, Vondrick, Torralba 2016, "SoundNet: Learning Sound Representations from Unlabeled Video", tables 1
(8 layers) and 2 (5 layers), with the pool strides of its code (main_train.lua, main_train_small.lua).

The activation of every layer is a Keras layer with the name in the table: `conv1` ... `conv7` after batch normalization
and ReLU, `pool1` ... `pool5`; the last layer is one convolution per head, `conv8_<head>`, whose outputs are the logits.
"""

import keras

from audionet_tf.layers import log_mel
from audionet_tf.layers.minimum_length import MinimumLength
from audionet_tf.layers.strided_conv1d import StridedConv1D
from audionet_tf.models import receptive_field
from audionet_tf.models.heads import add_heads

RATE_HZ = 22050  # of the sound that the paper's networks are trained on
SCALE = 256.0  # the original takes sound in [-256, 256]

# name, filters (None: max pool; HEADS: one convolution per head), kernel, stride, padding
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
# conv7 gives four steps for 5 s; this head covers all four, as in the original's fine-tuning (main_finetune.lua).
SOUNDNET8_5S = (*SOUNDNET8[:-1], ('conv8', HEADS, 4, 1, 0))
# A head on every step of conv7; inference averages the steps. It generalises from few clips, which the wide head
# memorises, and takes any sound from 0.21 s on (docs/transfer.md).
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
  """[(kernel, stride, padding)] of the rows of a table, for `receptive_field`."""
  return [row[2:] for row in table]


def soundnet(table, heads, name, same_level=False):
  """A SoundNet; the embedding is the mean over time of the last hidden layer.

  With heads of 1000 and 401 classes SOUNDNET8 has 14,356,777 parameters, 4,064 of them running statistics, and 0.63 G
  multiplies for 20 s; SOUNDNET5 has 6,203,097, 960 of them running statistics, and 1.50 G multiplies.

  Args:
    table: SOUNDNET8, SOUNDNET5, or another of their form.
    heads: dict of head name to number of classes.
    name: of the model.
    same_level: whether every sound is brought to one level first (`log_mel.SameLevel`).

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, T, classes] and `embedding`
    f32 [B, width]; width is 1024 with 8 layers, 256 with 5.
  """
  waveform = keras.Input([None], name='waveform')
  x = scaled(log_mel.SameLevel(name='same_level')(waveform) if same_level else waveform)
  for number in range(1, len(table)):
    x = hidden_layer(x, table, number)
  layer, _, kernel, stride, padding = table[-1]
  x = check_length(x, table, len(table))
  embedding = keras.layers.GlobalAveragePooling1D(name='embedding')(x)
  x = padded(x, layer, padding)
  logits = add_heads(x, heads, layer, per_step=True, layer=convolution, kernel=kernel, stride=stride)
  return keras.Model(waveform, {'embedding': embedding} | logits, name=name)


def scaled(waveform):
  """f32 [B, samples] in [-1, 1] -> [B, samples, 1] in the original's range."""
  return keras.layers.Reshape([-1, 1], name='channel')(keras.layers.Rescaling(SCALE, name='scale')(waveform))


def hidden_layer(x, table, number):
  """Layer `number` of the table, counted from 1: f32 [B, T, C] -> its activation f32 [B, T', C']."""
  layer, filters, kernel, stride, padding = table[number - 1]
  x = check_length(x, table, number)
  if filters is None:
    return keras.layers.MaxPooling1D(kernel, stride, name=layer)(x)
  x = convolution(filters, kernel, stride, f'{layer}_conv')(padded(x, layer, padding))
  return keras.layers.ReLU(name=layer)(normalization(f'{layer}_norm')(x))


def check_length(x, table, number):
  """`x`, with a MinimumLength layer where layer `number` of the table, counted from 1, can find it too short."""
  layer, _, kernel, _, padding = table[number - 1]
  if kernel <= 2 * padding + 1:
    return x
  return MinimumLength(kernel - 2 * padding, too_short(table, number), name=f'{layer}_input')(x)


def padded(x, layer, padding):
  """`x` with `padding` zeros on both sides."""
  return keras.layers.ZeroPadding1D(padding, name=f'{layer}_pad')(x) if padding else x


def too_short(table, number):
  """Message for sound that is too short for layer `number` of the table, counted from 1."""
  shortest = {rows[-1][0]: receptive_field.minimum_input_length(windows(rows)) for rows in (table[:number], table)}
  needs = ', '.join(f'{layer} needs at least {samples} samples' for layer, samples in shortest.items())
  return f'the sound is too short: {needs}'


def convolution(filters, kernel, stride, name, dtype=None):
  """A Keras layer with kernel drawn from N(0, 0.01) and bias 0, as in the original's code."""
  return StridedConv1D(
    filters, kernel, stride, kernel_initializer=keras.initializers.RandomNormal(0, 0.01), name=name, dtype=dtype
  )


def normalization(name):
  """Batch normalization as in Torch: epsilon 1e-5, momentum 0.9 (Torch's 0.1); scale drawn from N(1, 0.02)."""
  return keras.layers.BatchNormalization(
    momentum=0.9, epsilon=1e-5, gamma_initializer=keras.initializers.RandomNormal(1, 0.02), synchronized=True, name=name
  )
