"""A student with steps in time as a TensorFlow Lite file for browsers, whose runtime takes fixed shapes only.

The steps of a sound are those of one pass over the whole, in pieces that overlap by the receptive field. The last piece
is shorter than the others, and a layer pads with zeros where the sound ends, not where a piece does. So the file is
told how many samples of a piece are sound, and clears every layer behind its last step:

| input or output | dtype and shape      |                                                |
|-----------------|----------------------|------------------------------------------------|
| `waveform`      | f32 [1, piece]       | sound from its start on, zeros behind it       |
| `samples`       | i32 [1]              | how many of them are sound                     |
| `probabilities` | f32 [steps, classes] | of the first head; zeros behind the last step  |
"""

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.layers import log_mel
from audionet_tf.models import receptive_field, registry
from audionet_tf.models.heads import LOGITS
from audionet_tf.saved_model import signatures, tflite, verify

FIELDS = 3  # a piece is at least so many receptive fields long, so that at most half is computed twice


def table(settings):
  """The table of sliding windows of a student's logits (`receptive_field`). `settings`: its StudentConfig."""
  return list(registry.network(settings.student).layer_windows.values())[-1]


def piece_samples(settings):
  """Samples of a piece: at least a window of training, and a multiple of the hop of the steps."""
  step = receptive_field.receptive_field(table(settings))
  return -(-max(signatures.window_samples(settings), FIELDS * step.size) // step.stride) * step.stride


def write(model, settings, path):
  """Writes the file, and compares it with the model.

  Args:
    model: keras.Model of a student with heads and steps in time.
    settings: its student_settings.StudentConfig.
    path: pathlib.Path of the file.

  Raises:
    UserError, RuntimeError: as `tflite.write`.
  """
  copy = log_mel.with_transform(model, 'float32')
  function = piece_function(copy, settings).get_concrete_function()
  tflite.write_file(path, tflite.converted(copy, function, settings))
  compare(path, model, settings)


def piece_function(model, settings):
  """The tf.function of the file."""
  first, *_ = settings.classes
  parts = parts_between_padding(model, settings)

  @tf.function(
    input_signature=[
      tf.TensorSpec([1, piece_samples(settings)], tf.float32, name='waveform'),
      tf.TensorSpec([1], tf.int32, name='samples'),
    ],
    autograph=False,
  )
  def piece(waveform, samples):
    x = waveform
    for part, windows in parts[:-1]:
      x = cleared(part(x, training=False), samples[0], windows)
    part, windows = parts[-1]
    probabilities = settings.probabilities(first, tf.cast(part(x, training=False), tf.float32))
    return {'probabilities': cleared(probabilities, samples[0], windows)[0]}

  return piece


def parts_between_padding(model, settings):
  """[(keras.Model, table)]: the student in parts, one after another, with the table up to the end of each.

  A part ends with every layer of a network that pads; a network on patches pads nowhere, and is one part.
  """
  first, *_ = settings.classes
  layers = registry.network(settings.student).layer_windows
  pads = any(padding for _, _, padding in table(settings))
  hidden = [(model.get_layer(name).output, layers[name]) for name in list(layers)[:-1] if pads]
  parts, source = [], model.input
  for target, windows in [*hidden, (model.output[LOGITS + first], table(settings))]:
    parts.append((keras.Model(source, target), windows))
    source = target
  return parts


def cleared(x, samples, windows):
  """f32 [1, T, width] with zeros behind the steps that so many samples give. `windows`: the table up to there."""
  inside = tf.range(x.shape[1]) < signatures.step_count(samples, windows)
  return x * tf.cast(inside, x.dtype)[None, :, None]


def compare(path, model, settings):
  """Compares the file with the model, on silence and noise of several lengths. Errors are those of `write`."""
  first, *_ = settings.classes
  run, size, windows = tflite.runner(path), piece_samples(settings), table(settings)
  sounds = np.zeros([2, size], np.float32)
  sounds[1] = np.random.default_rng(0).uniform(-1, 1, size)
  for samples in sorted({registry.shortest_samples(settings.student), signatures.window_samples(settings), size}):
    for sound in sounds:
      given = np.where(np.arange(size) < samples, sound, 0).astype(np.float32)
      logits = model(given[None, :samples], training=False)[LOGITS + first]
      expected = np.zeros([receptive_field.output_length(size, windows), logits.shape[2]])
      expected[: logits.shape[1]] = settings.probabilities(first, logits)[0]
      found = run(waveform=given[None], samples=np.array([samples], np.int32))
      verify.check_close(found, {'probabilities': expected}, f'{path.name}, {samples} samples')
