"""The signatures of an exported SavedModel.

`serving_default`: `waveform` f32 [batch, samples] in [-1, 1] at the sample rate of the settings, of any length from the
student's minimum. Returns the mean over the student's T steps (AudioNet has one):

| output              | dtype  | shape                             |
|---------------------|--------|-----------------------------------|
| `probabilities`     | f32    | [batch, classes]                  |
| `logits`            | f32    | [batch, classes]                  |
| `embedding`         | f32    | [batch, width]                    |
| `top_classes`       | string | [batch, 5], or as many as classes |
| `top_probabilities` | f32    | [batch, 5], descending            |

A head that learned embeddings of pictures adds `<head>/embedding`, f32 [batch, width] of length 1: the mean of the
normalized vectors of the steps, normalized.

A student with several heads returns these for the first head, and `<head>/probabilities` for every head; a student
without heads returns the `embedding` only.

`windows`: `waveform` f32 [samples], cut into consecutive windows of the settings' length. A remainder shorter than a
window is dropped, as in training; a waveform shorter than one window is padded with zeros, or repeated if the student's
network repeats short input. Returns the same outputs, [windows, ...], and `start_seconds` and `end_seconds`, f32
[windows], which never exceed the waveform's duration, even where it was padded or repeated. The student gets
`windows_at_once` windows at a time: apart from the outputs, memory does not grow with the length.

`layers`, for students with a table of layers: the activations of every layer with steps in time, for sound of any
length. A layer has no steps if the sound is too short for it, where the student itself refuses the sound: `pool5` needs
less than a second, `conv8` ten. A tf.function that calls the signature and returns some of its outputs computes only
what these need.

`steps`, for other students with several steps: the logits of each step, whose mean `serving_default` returns.

No signature branches on a tensor in Python, so all are traced without AutoGraph, which takes longer than the rest.
"""

import keras
import tensorflow as tf

from audionet_tf.data.params import Framing
from audionet_tf.layers import minimum_length
from audionet_tf.models import heads, receptive_field, registry, words

LAYERS, STEPS = 'layers', 'steps'  # names of signatures
CENTERS = '/center_seconds'  # ending of an output's name
TOP = 5
WINDOWS_AT_ONCE, SAMPLES_AT_ONCE = 256, 1 << 21  # limits of what one call of the student gets


def all_signatures(model, settings):
  """Makes the signatures of an export.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.

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


def default_signature(model, settings, shape=(None, None), names=None):
  """The concrete function `serving_default`.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
    shape: of the waveform, (batch, samples); None for any.
    names: of the outputs; None for all.
  """
  return default_function(model, settings, shape, names).get_concrete_function()


def default_function(model, settings, shape=(None, None), names=None):
  """The tf.function of `default_signature`."""

  @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name='waveform')], autograph=False)
  def serving_default(waveform):
    outputs = model(waveform, training=False)
    logits = {head: outputs[heads.LOGITS + head] for head in settings.classes}  # [batch, T, classes]
    vectors = {embedding_output(head): mean_direction(words.vectors_of(outputs, head)) for head in settings.embeddings}
    embedding = {'embedding': tf.cast(outputs['embedding'], tf.float32)}
    outputs = head_outputs(logits, settings) | vectors | embedding
    return outputs if names is None else {name: outputs[name] for name in names}

  return serving_default


def embedding_output(head):
  """Name of the output of a head that learned embeddings."""
  return f'{head}/embedding'


def mean_direction(vectors):
  """The mean of normalized vectors [batch, T, width] over T, normalized: f32 [batch, width]."""
  mean = tf.reduce_mean(tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1), axis=1)
  return tf.math.l2_normalize(mean, axis=-1)


def probability_outputs(settings):
  """dict of head to the name of its probabilities among the outputs, the first head's first."""
  first, *others = settings.classes or [None]
  return {first: 'probabilities'} | {head: f'{head}/probabilities' for head in others} if first is not None else {}


def numeric_outputs(settings):
  """Names of the outputs without text: `top_classes`, which other runtimes cannot return, and what belongs to it."""
  heads_only = [*probability_outputs(settings).values(), 'logits'] if settings.classes else []
  return [*heads_only, *map(embedding_output, settings.embeddings), 'embedding']


def head_outputs(logits, settings):
  """Outputs of the heads, the mean over their steps; an empty dict without heads.

  Args:
    logits: dict of head to float [batch, T, classes].
    settings: student_settings.StudentConfig.
  """
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


def windows_signature(default, specs, settings):
  """The concrete function `windows`.

  Args:
    default: the concrete function `serving_default`.
    specs: dict of its outputs to their tf.TensorSpec.
    settings: student_settings.StudentConfig.
  """
  length, most = window_samples(settings), windows_at_once(settings)
  repeats = registry.network(settings.student).short_input == 'repeat'

  @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name='waveform')], autograph=False)
  def windows(waveform):
    samples = tf.shape(waveform)[0]
    count = tf.maximum(samples // length, 1)
    at_once = tf.minimum(count, most)
    calls = (count + at_once - 1) // at_once
    if repeats:
      waveform = tf.tile(waveform, [(length - 1) // tf.clip_by_value(samples, 1, length) + 1])
    used = waveform[: count * length]
    padded = tf.pad(used, [[0, calls * at_once * length - tf.shape(used)[0]]])
    groups = tf.reshape(padded, [calls, at_once, length])
    outputs = tf.map_fn(default, groups, fn_output_signature=specs, parallel_iterations=1)
    # [calls, at_once, ...] -> [windows, ...], without the padding
    outputs = {name: tf.reshape(x, [-1, *specs[name].shape[1:]])[:count] for name, x in outputs.items()}
    bounds = tf.minimum(tf.range(count + 1) * length, samples)  # padding and repeats do not count
    seconds = tf.cast(tf.cast(bounds, tf.float64) / settings.sample_rate_hz, tf.float32)
    return outputs | {'start_seconds': seconds[:-1], 'end_seconds': seconds[1:]}

  return windows.get_concrete_function()


def window_samples(settings):
  """Number of samples in a window of the student's training."""
  framing = {name: getattr(settings, name) for name in ('window_seconds', 'sample_rate_hz', 'mono')}
  return Framing(**framing).window_samples


def windows_at_once(settings, most=WINDOWS_AT_ONCE):
  """Number of windows per call of the student: `most`, or fewer if they exceed SAMPLES_AT_ONCE."""
  return max(1, min(most, SAMPLES_AT_ONCE // window_samples(settings)))


def layers_signature(model, settings):
  """The concrete function `layers`.

  Args:
    model: keras.Model of a student whose network has a table of layers.
    settings: its student_settings.StudentConfig.

  Returns:
    A concrete function of `waveform` f32 [batch, samples] with outputs `<layer>` f32 [batch, T, width], also for each
    head's part of the last layer, and `<layer>/center_seconds` f32 [T]. T = 0 if the sound is too short for the layer.
  """
  tables = tables_of(settings)
  layers = registry.layer_model(model, settings.student, list(body_tables(settings)))
  logits = {layer_of(settings, head): model.output[heads.LOGITS + head] for head in settings.classes}
  limited = keras.Model(model.input, layers.output | logits)
  activations = keras.models.clone_model(limited, clone_function=without_minimum)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')], autograph=False)
  def layers_signature(waveform):
    samples = tf.shape(waveform)[1]
    not_empty = tf.pad(waveform, [[0, 0], [0, tf.maximum(0, 1 - samples)]])
    outputs = {}
    for layer, activation in activations(not_empty, training=False).items():
      count, field = step_count(samples, tables[layer]), receptive_field.receptive_field(tables[layer])
      outputs[layer] = tf.cast(activation[:, :count], tf.float32)
      centers = field.first_center + field.stride * tf.cast(tf.range(count), tf.float64)
      outputs[layer + CENTERS] = tf.cast(centers / settings.sample_rate_hz, tf.float32)
    return outputs

  return layers_signature.get_concrete_function()


def layer_of(settings, head):
  """Name of a head's part of the last layer, such as `conv8_objects`."""
  return f'{list(registry.network(settings.student).layer_windows)[-1]}_{head}'


def body_tables(settings):
  """dict of layer to its table of sliding windows, without the last layer (the logits) if the student has no heads."""
  network = registry.network(settings.student)
  has_last = settings.classes or network.is_autoencoder
  return network.layer_windows if has_last else dict(list(network.layer_windows.items())[:-1])


def tables_of(settings):
  """`body_tables`, and the last layer's table for each head's part of it."""
  tables = body_tables(settings)
  return tables | {layer_of(settings, head): list(tables.values())[-1] for head in settings.classes if tables}


class PaddedTo(keras.layers.Layer):
  """Pads [B, T, C] with zeros at the end if T < `steps`."""

  def __init__(self, steps):
    super().__init__()
    self.steps = steps

  def call(self, x):
    return tf.pad(x, [[0, 0], [0, tf.maximum(0, self.steps - tf.shape(x)[1])], [0, 0]])

  def compute_output_shape(self, input_shape):
    return input_shape[0], None, input_shape[2]


def without_minimum(layer):
  """The layer itself, with shared weights; a layer that refuses short input is replaced by padding."""
  return PaddedTo(layer.steps) if isinstance(layer, minimum_length.MinimumLength) else layer


def step_count(samples, table):
  """`receptive_field.output_length` for `samples`, a scalar int32 tensor."""
  for kernel, stride, padding in table:
    samples = tf.where(samples > 0, tf.maximum(0, (samples + 2 * padding - kernel) // stride + 1), 0)
  return samples


def steps_signature(model, settings):
  """The concrete function `steps`: `waveform` f32 [batch, samples] to `logits/<head>` f32 [batch, T, classes].

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
  """

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')], autograph=False)
  def steps(waveform):
    outputs = model(waveform, training=False)
    return {name: tf.cast(outputs[name], tf.float32) for name in steps_outputs(settings)}

  return steps.get_concrete_function()


def steps_outputs(settings):
  """Names of the outputs of the signature `steps`."""
  return [heads.LOGITS + head for head in settings.classes]


def has_steps(model, settings):
  """Whether an export of the student has the signature `steps`."""
  several = [head for head in settings.classes if model.output[heads.LOGITS + head].shape[1] != 1]
  return bool(several) and not registry.network(settings.student).layer_windows
