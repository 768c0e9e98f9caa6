"""The third signature of an export, `layers`: every layer that has steps in time, of sound of any length.

A layer that the sound is too short for has no steps then, where the student itself refuses the sound: whoever wants
`pool5` of one second shall not need ten of them for `conv8`. A tf.function that calls the signature and returns some of
its outputs computes no more than these need.
"""

import keras
import tensorflow as tf

from audionet_tf import geometry, soundnet, students

NAME, CENTERS = 'layers', '/center_seconds'


class PaddedTo(keras.layers.Layer):
  """Passes [B, T, C] on with zeros behind it where T < `steps`."""

  def __init__(self, steps):
    super().__init__()
    self.steps = steps

  def call(self, x):
    return tf.pad(x, [[0, 0], [0, tf.maximum(0, self.steps - tf.shape(x)[1])], [0, 0]])

  def compute_output_shape(self, input_shape):
    return input_shape[0], None, input_shape[2]


def unlimited(layer):
  """What takes a layer's place in the copy: itself, its weights shared, but for those that refuse short sound."""
  return PaddedTo(layer.steps) if isinstance(layer, soundnet.AtLeast) else layer


def layer_of(settings, head):
  """Name of the last layer's part of one head, such as `conv8_objects`."""
  return f'{list(students.network(settings.student).layers)[-1]}_{head}'


def body_tables(settings):
  """The network's tables of layers: of a student that could have heads and has none, without the last, their logits."""
  network = students.network(settings.student)
  whole = settings.classes or network.reconstructs
  return network.layers if whole else dict(list(network.layers.items())[:-1])


def tables_of(settings):
  """dict of layer to its table of sliding windows: the network's, and the last one's of each head."""
  tables = body_tables(settings)
  return tables | {layer_of(settings, head): list(tables.values())[-1] for head in settings.classes if tables}


def step_count(samples, table):
  """`geometry.length` of a scalar int32 tensor."""
  for kernel, stride, padding in table:
    samples = tf.where(samples > 0, tf.maximum(0, (samples + 2 * padding - kernel) // stride + 1), 0)
  return samples


def concrete(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to every layer and the times of its steps.

  Args:
    model: a student whose network has a table of layers.
    settings: its StudentSettings.

  Returns:
    A function to `<layer>` f32 [batch, T, width], the heads' parts of the last one among them, and to
    `<layer>/center_seconds` f32 [T]; T = 0 where the sound is too short for the layer.
  """
  tables = tables_of(settings)
  layers = students.layer_model(model, settings.student, list(body_tables(settings)))
  logits = {layer_of(settings, head): model.output[students.LOGITS + head] for head in settings.classes}
  whole = keras.Model(model.input, layers.output | logits)
  heard = keras.models.clone_model(whole, clone_function=unlimited)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def layers_signature(waveform):
    samples = tf.shape(waveform)[1]
    some = tf.pad(waveform, [[0, 0], [0, tf.maximum(0, 1 - samples)]])
    outputs = {}
    for layer, activation in heard(some, training=False).items():
      count, steps = step_count(samples, tables[layer]), geometry.steps(tables[layer])
      outputs[layer] = tf.cast(activation[:, :count], tf.float32)
      centers = steps.first_center + steps.hop * tf.cast(tf.range(count), tf.float64)
      outputs[layer + CENTERS] = tf.cast(centers / settings.sample_rate_hz, tf.float32)
    return outputs

  return layers_signature.get_concrete_function()
