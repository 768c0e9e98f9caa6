"""The signatures of an export.

`serving_default`: `waveform` f32 [batch, samples] in [-1, 1], at the rate of the settings, any length from the
student's minimum up. Gives the mean over the student's T steps (AudioNet has one):

| output              | dtype  | shape                             |
|---------------------|--------|-----------------------------------|
| `probabilities`     | f32    | [batch, classes]                  |
| `logits`            | f32    | [batch, classes]                  |
| `embedding`         | f32    | [batch, width]                    |
| `top_classes`       | string | [batch, 5], or as many as classes |
| `top_probabilities` | f32    | [batch, 5], falling               |

A student with several heads gives these for the first, and `<head>/probabilities` for every head; one without heads
gives the `embedding` alone.

`windows`: `waveform` f32 [samples], cut into consecutive windows of the settings' length. A remainder shorter than a
window is dropped, as in training; a waveform shorter than one window is padded with zeros to one, or repeated where
the student's network says so. Gives the same outputs, [windows, ...], and `start_seconds`, `end_seconds` f32 [windows],
none behind the waveform's end, also where it was padded or repeated. The student gets `windows_at_once` at a time:
beside the outputs themselves, memory does not grow with the length.

`layers`, of students with a table of where their steps lie: every layer that has steps in time, of sound of any length.
A layer that the sound is too short for has no steps then, where the student itself refuses the sound: `pool5` of one
second does not need the ten that `conv8` does. A tf.function that calls the signature and returns some of its outputs
computes no more than these need.

`steps`, of other students with several steps: the logits of each, of which `serving_default` gives the mean.
"""

import keras
import tensorflow as tf

from audionet_tf.data.params import Framing
from audionet_tf.layers import minimum_length
from audionet_tf.models import heads, receptive_field, registry

TOP = 5


def default_signature(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to answers.

  Args:
    model: a student.
    settings: its StudentSettings.
  """

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def serving_default(waveform):
    heard = model(waveform, training=False)
    logits = {head: heard[heads.LOGITS + head] for head in settings.classes}  # [batch, T, classes]
    return head_outputs(logits, settings) | {'embedding': tf.cast(heard['embedding'], tf.float32)}

  return serving_default.get_concrete_function()


def head_outputs(logits, settings):
  """dict of what the heads answer, the mean over their steps; empty where there are none."""
  if not logits:
    return {}
  first, names = next(iter(settings.classes.items()))
  outputs = {f'{head}/probabilities': tf.reduce_mean(settings.probabilities(head, x), 1) for head, x in logits.items()}
  probabilities = outputs[f'{first}/probabilities'] if len(logits) > 1 else outputs.popitem()[1]
  top_probabilities, top = tf.math.top_k(probabilities, min(TOP, len(names)))  # [batch, 5]
  return outputs | {
    'probabilities': probabilities,
    'logits': tf.reduce_mean(logits[first], 1),
    'top_classes': tf.gather(tf.constant(names), top),
    'top_probabilities': top_probabilities,
  }


LAYERS, CENTERS = 'layers', '/center_seconds'


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
  return PaddedTo(layer.steps) if isinstance(layer, minimum_length.MinimumLength) else layer


def layer_of(settings, head):
  """Name of the last layer's part of one head, such as `conv8_objects`."""
  return f'{list(registry.network(settings.student).layer_windows)[-1]}_{head}'


def body_tables(settings):
  """The network's tables of layers: of a student that could have heads and has none, without the last, their logits."""
  network = registry.network(settings.student)
  whole = settings.classes or network.is_autoencoder
  return network.layer_windows if whole else dict(list(network.layer_windows.items())[:-1])


def tables_of(settings):
  """dict of layer to its table of sliding windows: the network's, and the last one's of each head."""
  tables = body_tables(settings)
  return tables | {layer_of(settings, head): list(tables.values())[-1] for head in settings.classes if tables}


def step_count(samples, table):
  """`receptive_field.output_length` of a scalar int32 tensor."""
  for kernel, stride, padding in table:
    samples = tf.where(samples > 0, tf.maximum(0, (samples + 2 * padding - kernel) // stride + 1), 0)
  return samples


def layers_signature(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to every layer and the times of its steps.

  Args:
    model: a student whose network has a table of layers.
    settings: its StudentSettings.

  Returns:
    A function to `<layer>` f32 [batch, T, width], the heads' parts of the last one among them, and to
    `<layer>/center_seconds` f32 [T]; T = 0 where the sound is too short for the layer.
  """
  tables = tables_of(settings)
  layers = registry.layer_model(model, settings.student, list(body_tables(settings)))
  logits = {layer_of(settings, head): model.output[heads.LOGITS + head] for head in settings.classes}
  whole = keras.Model(model.input, layers.output | logits)
  heard = keras.models.clone_model(whole, clone_function=unlimited)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def layers_signature(waveform):
    samples = tf.shape(waveform)[1]
    some = tf.pad(waveform, [[0, 0], [0, tf.maximum(0, 1 - samples)]])
    outputs = {}
    for layer, activation in heard(some, training=False).items():
      count, steps = step_count(samples, tables[layer]), receptive_field.receptive_field(tables[layer])
      outputs[layer] = tf.cast(activation[:, :count], tf.float32)
      centers = steps.first_center + steps.stride * tf.cast(tf.range(count), tf.float64)
      outputs[layer + CENTERS] = tf.cast(centers / settings.sample_rate_hz, tf.float32)
    return outputs

  return layers_signature.get_concrete_function()


STEPS = 'steps'


def has_steps(model, settings):
  """Whether an export of the student has the signature."""
  several = [head for head in settings.classes if model.output[heads.LOGITS + head].shape[1] != 1]
  return bool(several) and not registry.network(settings.student).layer_windows


def steps_signature(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to `logits/<head>` f32 [batch, T, classes] for every head.

  Args:
    model: a student.
    settings: its StudentSettings.
  """

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def steps(waveform):
    heard = model(waveform, training=False)
    return {name: tf.cast(heard[name], tf.float32) for name in steps_outputs(settings)}

  return steps.get_concrete_function()


def steps_outputs(settings):
  """Names of the outputs."""
  return [heads.LOGITS + head for head in settings.classes]


WINDOWS_AT_ONCE, SAMPLES_AT_ONCE = 256, 1 << 21


def window_samples(settings):
  """Samples in one of the windows that the student was trained on."""
  sound = {name: getattr(settings, name) for name in ('window_seconds', 'sample_rate_hz', 'mono')}
  return Framing(**sound).window_samples


def windows_at_once(settings, most=WINDOWS_AT_ONCE):
  """Windows that the student hears in one call: `most`, or as many as memory is meant for."""
  return max(1, min(most, SAMPLES_AT_ONCE // window_samples(settings)))


def all_signatures(model, settings):
  """The concrete functions of an export, as the module's docstring describes them.

  Args:
    model: a student.
    settings: its StudentSettings.

  Returns:
    dict of signature name to concrete function.
  """
  default = default_signature(model, settings)
  specs = {name: tf.TensorSpec(output.shape, output.dtype) for name, output in default.structured_outputs.items()}
  functions = {'serving_default': default, 'windows': windows_signature(default, specs, settings)}
  if registry.network(settings.student).layer_windows:
    functions[LAYERS] = layers_signature(model, settings)
  if has_steps(model, settings):
    functions[STEPS] = steps_signature(model, settings)
  return functions


def windows_signature(default, specs, settings):
  """The concrete function `windows` from that of `serving_default` and the TensorSpecs of its outputs."""
  length, most = window_samples(settings), windows_at_once(settings)
  repeats = registry.network(settings.student).short_input == 'repeat'

  @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name='waveform')])
  def windows(waveform):
    samples = tf.shape(waveform)[0]
    count = tf.maximum(samples // length, 1)
    at_once = tf.minimum(count, most)
    turns = (count + at_once - 1) // at_once
    if repeats:
      waveform = tf.tile(waveform, [(length - 1) // tf.clip_by_value(samples, 1, length) + 1])
    heard = waveform[: count * length]
    padded = tf.pad(heard, [[0, turns * at_once * length - tf.shape(heard)[0]]])
    groups = tf.reshape(padded, [turns, at_once, length])
    outputs = tf.map_fn(default, groups, fn_output_signature=specs, parallel_iterations=1)
    # [turns, at_once, ...] -> [windows, ...], without the padding
    outputs = {name: tf.reshape(x, [-1, *specs[name].shape[1:]])[:count] for name, x in outputs.items()}
    bounds = tf.minimum(tf.range(count + 1) * length, samples)  # padding and repeats are no sound
    seconds = tf.cast(tf.cast(bounds, tf.float64) / settings.sample_rate_hz, tf.float32)
    return outputs | {'start_seconds': seconds[:-1], 'end_seconds': seconds[1:]}

  return windows.get_concrete_function()
