"""Taggers of sound as teachers: models that hear, in the form of YAMNet.

| file                 | takes                                    | gives                                         |
|----------------------|------------------------------------------|-----------------------------------------------|
| folder/ (SavedModel) | `serving_default`: float32 [samples] or  | [frames, classes]; of several outputs         |
|                      | [1, samples]                             | `scores`, `predictions`, `probabilities` or   |
|                      |                                          | `output_0`                                    |
| X.tflite             | float32 [samples] or [1, samples] of any | [frames, classes]; of several outputs the     |
|                      | length, or of a fixed one                | first table                                   |

The sound of a window is resampled to the model's rate. A model of a fixed length hears it in pieces, of which the last
ends with the window, or is filled up with silence where the window is shorter. Answers are averaged over the frames of
the window.

Source: Plakal and Ellis 2020, YAMNet (tensorflow/models, research/audioset/yamnet).
"""

import dataclasses
import pathlib
import threading
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from audionet_tf.core import digests, files, saved_model_allowlist, text, tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists
from audionet_tf.media import waveforms
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.teachers import tflite

OUTPUTS = ('scores', 'predictions', 'probabilities', 'output_0')  # the first of these that a SavedModel has
MOST_SAMPLES = 1 << 24  # of a fixed input, so that a malicious file cannot make us allocate gigabytes


@dataclasses.dataclass(frozen=True)
class SoundModel:
  """A tagger as a function of sound at its own rate.

  Attributes:
    outputs: f32 [samples] in [-1, 1] -> f32 [frames, classes] (NumPy).
    classes: number of classes.
    digest: sha256 of the weights, hex.
  """

  outputs: Callable
  classes: int
  digest: str


def load(path):
  """The SoundModel of a SavedModel folder or a `.tflite` file.

  Raises:
    UserError: damaged, with operations that are refused, or not in the form of a tagger; or its path is not UTF-8.
  """
  path = pathlib.Path(path)
  files.require_utf8(path)
  return load_tflite(path) if path.suffix == '.tflite' and path.is_file() else load_saved_model(path)


def load_saved_model(folder):
  """The SoundModel of a SavedModel's `serving_default`."""
  if not (folder / 'saved_model.pb').is_file():
    raise UserError(f'{folder}: no saved_model.pb in this folder, so it is not a SavedModel')
  try:
    saved_model_allowlist.check_operations(folder)
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures['serving_default']
  except UserError:
    raise
  except KeyError:
    raise UserError(f'{folder}: no signature serving_default; it has {sorted(loaded.signatures)}') from None
  except Exception as error:  # protobuf, TensorFlow and Keras raise their own kinds
    raise UserError(f'{folder}: not a readable SavedModel ({text.brief(error)})') from error
  specs, results = signature.structured_input_signature[1], signature.structured_outputs
  if len(specs) != 1 or next(iter(specs.values())).dtype != tf.float32:
    raise UserError(f'{folder}: serving_default takes {sorted(specs)}; {expected_input()}')
  ((argument, spec),) = specs.items()
  samples, batched = input_form(folder, spec.shape.as_list() if spec.shape.rank else [])
  key = next((name for name in OUTPUTS if name in results), next(iter(results)) if len(results) == 1 else None)
  if key is None:
    raise UserError(f'{folder}: serving_default gives {sorted(results)}; expected is one output, or {OUTPUTS[0]}')
  classes = checked_classes(folder, results[key].shape.as_list() if results[key].shape.rank else [])

  def outputs(waveform, keep=loaded):  # the variables live as long as `loaded` does
    sound = tf.constant(waveform[None] if batched else waveform)
    return signature(**{argument: sound})[key].numpy()

  return SoundModel(in_pieces(outputs, samples, classes), classes, digests.of_saved_model(folder))


def load_tflite(path):
  """The SoundModel of a `.tflite` file, run on one thread."""
  tflite.check_tflite(path)
  try:
    interpreter = tflite_interpreter.interpreter(path, threads=1)
    interpreter.allocate_tensors()
  except (ValueError, RuntimeError, MemoryError) as error:
    raise UserError(f'{path}: TensorFlow Lite cannot run it ({text.brief(error)})') from error
  inputs, found = interpreter.get_input_details(), interpreter.get_output_details()
  if len(inputs) != 1 or inputs[0]['dtype'] != np.float32:
    raise UserError(f'{path}: {len(inputs)} inputs, the first {inputs[0]["dtype"].__name__}; {expected_input()}')
  samples, batched = input_form(path, [int(side) for side in inputs[0]['shape_signature']])
  tables = [row for row in found if len(row['shape']) == 2 and row['dtype'] == np.float32]
  if not tables:
    raise UserError(f'{path}: no output is float32 [frames, classes]')
  classes = checked_classes(path, [int(side) for side in tables[0]['shape_signature']])

  alone = threading.Lock()  # an interpreter has one input; threads of a Beam worker share the teacher

  def outputs(waveform):
    sound = waveform[None] if batched else waveform
    with alone:
      if samples is None:
        interpreter.resize_tensor_input(inputs[0]['index'], sound.shape)
        interpreter.allocate_tensors()
      interpreter.set_tensor(inputs[0]['index'], sound)
      interpreter.invoke()
      return interpreter.get_tensor(tables[0]['index'])

  return SoundModel(in_pieces(outputs, samples, classes), classes, digests.of_file(path))


def expected_input():
  """What an input must be, for messages."""
  return 'a tagger takes one waveform, float32 [samples] or [1, samples]'


def input_form(source, shape):
  """(samples, or None for any number; whether there is a batch) of an input shape. UserError for other shapes."""
  shape = [None if side in (None, -1) else int(side) for side in shape]
  if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] not in (None, 1)):
    raise UserError(f'{source}: its input is {shape}; {expected_input()}')
  if shape[-1] is not None and not 2 <= shape[-1] <= MOST_SAMPLES:
    raise UserError(f'{source}: takes {shape[-1]} samples, allowed is 2 to {MOST_SAMPLES}, or any number')
  return shape[-1], len(shape) == 2


def checked_classes(source, shape):
  """Number of classes of an output shape [frames, classes]. UserError for other shapes."""
  if len(shape) != 2 or shape[-1] is None or not 2 <= shape[-1] <= class_lists.MAX_CLASSES:
    raise UserError(
      f'{source}: its output is {shape}; a tagger gives [frames, classes], 2 to {class_lists.MAX_CLASSES} classes'
    )
  return int(shape[-1])


def in_pieces(outputs, samples, classes):
  """A function of f32 [n] -> f32 [frames, classes] from one that takes `samples` at a time; None for any number."""

  def of_all(waveform):
    waveform = np.asarray(waveform, np.float32)
    pieces = [waveform] if samples is None else cut(waveform, samples)
    return np.concatenate([np.reshape(outputs(piece), [-1, classes]) for piece in pieces]).astype(np.float32)

  return of_all


def cut(waveform, samples):
  """Pieces f32 [samples] of f32 [n], one after the other, the last of which ends with the sound, or with silence."""
  if len(waveform) < samples:
    return [np.pad(waveform, (0, samples - len(waveform)))]
  starts = [*range(0, len(waveform) - samples, samples), len(waveform) - samples]
  return [waveform[start : start + samples] for start in starts]


def resampled(waveform, rate_hz, own_rate_hz):
  """f32 [n] at `rate_hz` -> f32 [m] at `own_rate_hz`, as sound is resampled everywhere here."""
  if rate_hz == own_rate_hz:
    return waveform
  chunks = waveforms.chunks(waveforms.Waveform(np.asarray(waveform, np.float32)[:, None], rate_hz), own_rate_hz)
  return np.concatenate([pcm for _, pcm in chunks]).astype(np.float32) / PCM_SCALE


def probes(own_rate_hz):
  """Sounds of a second that show what a model's outputs are: silence, noise and a tone, the same on every run."""
  noise = np.random.default_rng(0).normal(0, 0.1, own_rate_hz)
  tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(own_rate_hz) / own_rate_hz)
  return [sound.astype(np.float32) for sound in (np.zeros(own_rate_hz), noise, tone)]
