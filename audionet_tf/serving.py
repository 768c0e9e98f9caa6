"""The student as a SavedModel: written, checked against the model in memory, loaded again.

    DIR/1/saved_model.pb, variables/      two or three signatures, stock TensorFlow operations only
    DIR/1/assets/class_names.txt          one name a line, in the order of the classes
    DIR/1/assets/settings.json            students.StudentSettings
    DIR/1/assets.extra/                   warm-up requests for TensorFlow Serving
    DIR/1/model.tflite                    on request; `serving_default` only

`serving_default`: `waveform` f32 [batch, samples] in [-1, 1], at the rate of the settings, any length from the
student's minimum up. Gives the mean over the student's T steps (AudioNet has one):

| output              | dtype  | shape                             |
|---------------------|--------|-----------------------------------|
| `probabilities`     | f32    | [batch, classes]                  |
| `logits`            | f32    | [batch, classes]                  |
| `embedding`         | f32    | [batch, width]                    |
| `top_classes`       | string | [batch, 5], or as many as classes |
| `top_probabilities` | f32    | [batch, 5], falling               |

A student with several heads gives these for the first, and for every head `<head>/probabilities`; one without heads
gives the `embedding` alone.

`windows`: `waveform` f32 [samples], cut into windows of the settings' length, one after another. A rest shorter than a
window is dropped, as in training; a waveform shorter than one window is padded with zeros to one, or repeated where
the student's network says so. Gives the same outputs, [windows, ...], and `start_seconds`, `end_seconds` f32 [windows],
none behind the waveform's end, also where it was padded or repeated.
The student hears `windows_at_once` at a time: beside the outputs themselves, memory does not grow with the length.

`layers`, of students that have steps in time: `layer_signature`. `steps`, of others with several: `step_signature`.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf

from audionet_tf import default_signature, export_checks, layer_signature, saved_models, step_signature, students
from audionet_tf.errors import UserError
from audionet_tf.labels import write_class_names
from audionet_tf.params import RecordParams

WINDOWS_AT_ONCE, SAMPLES_AT_ONCE = 256, 1 << 21
WARMUP_BATCH = 32
CLASS_NAMES_FILE, SETTINGS_FILE, TFLITE_FILE = 'class_names.txt', 'settings.json', 'model.tflite'


def window_samples(settings):
  """Samples in one of the windows that the student was trained on."""
  sound = {name: getattr(settings, name) for name in ('window_seconds', 'sample_rate_hz', 'mono')}
  return RecordParams(**sound).window_samples


def windows_at_once(settings, most=WINDOWS_AT_ONCE):
  """Windows that the student hears in one call: `most`, or as many as memory is meant for."""
  return max(1, min(most, SAMPLES_AT_ONCE // window_samples(settings)))


def signatures(model, settings):
  """The concrete functions of an export, as the module's docstring describes them.

  Args:
    model: a student.
    settings: its StudentSettings.

  Returns:
    dict of signature name to concrete function.
  """
  default = default_signature.concrete(model, settings)
  specs = {name: tf.TensorSpec(output.shape, output.dtype) for name, output in default.structured_outputs.items()}
  functions = {'serving_default': default, 'windows': windows_signature(default, specs, settings)}
  if students.network(settings.student).layers:
    functions[layer_signature.NAME] = layer_signature.concrete(model, settings)
  if step_signature.wanted(model, settings):
    functions[step_signature.NAME] = step_signature.concrete(model, settings)
  return functions


def windows_signature(default, specs, settings):
  """The concrete function `windows` from that of `serving_default` and the TensorSpecs of its outputs."""
  length, most = window_samples(settings), windows_at_once(settings)
  repeats = students.network(settings.student).short == 'repeat'

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


def export(model, settings, folder, tflite=False):
  """Writes the next free version below `folder`: `folder/1`, `folder/2`, ...

  The artifact is loaded again and compared with the model before it gets its name; until then nothing is visible.

  Args:
    model: a student.
    settings: its StudentSettings.
    folder: made when missing.
    tflite: whether to add `model.tflite`.

  Returns:
    pathlib.Path of the version folder.

  Raises:
    UserError: the student gives numbers that are not finite, or does not fit the settings.
    RuntimeError: the artifact does not answer as the model does.
  """
  check_settings(model, settings)
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  partial = folder / f'.partial-{os.getpid()}'
  shutil.rmtree(partial, ignore_errors=True)
  try:
    write(model, settings, partial)
    saved_models.refuse_foreign(partial)
    export_checks.compare(model, settings, load(partial, names=False), window_samples(settings))
    if tflite:
      from audionet_tf import tflite as tflite_lib

      tflite_lib.convert(partial, partial / TFLITE_FILE, model, settings, window_samples(settings))
    return claim_version(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_settings(model, settings):
  """Raises UserError unless the heads of the settings are those of the model, with as many classes."""
  shapes = {name: output.shape for name, output in model.output.items()}
  for head, names in settings.classes.items():
    shape = shapes.get(students.LOGITS + head)
    if shape is None or shape[-1] != len(names):
      found = f'{shape[-1]} classes' if shape else 'no such head'
      raise UserError(f'head {head!r}: {len(names)} class names in the settings, {found} in the student')
  for name in shapes:
    head = name.removeprefix(students.LOGITS)
    if head != name and head not in settings.classes:
      raise UserError(f'head {head!r}: no class names in the settings, {shapes[name][-1]} classes in the student')


def write(model, settings, folder):
  """The SavedModel with its assets and warm-up requests, in `folder`."""
  module = tf.Module()
  module.student_variables = [variable.value for variable in model.variables]
  functions = signatures(model, settings)
  with tempfile.TemporaryDirectory() as assets:
    assets = pathlib.Path(assets)
    for names in list(settings.classes.values())[:1]:
      write_class_names(assets / CLASS_NAMES_FILE, names)
    (assets / SETTINGS_FILE).write_text(json.dumps(dataclasses.asdict(settings), indent=1), encoding='utf-8')
    module.asset_files = [tf.saved_model.Asset(str(path)) for path in sorted(assets.iterdir())]
    tf.saved_model.save(module, str(folder), signatures=functions)
  write_warmup(folder, settings)


def write_warmup(folder, settings):
  """Requests that TensorFlow Serving replays before it serves: one window, a batch, a waveform of three windows."""
  from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

  length = window_samples(settings)
  batch = windows_at_once(settings, WARMUP_BATCH)
  shapes = [('serving_default', [1, length]), ('serving_default', [batch, length]), ('windows', [3 * length])]
  path = folder / 'assets.extra' / 'tf_serving_warmup_requests'
  path.parent.mkdir()
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, shape in shapes:
      request = predict_pb2.PredictRequest()
      request.model_spec.name = settings.student
      request.model_spec.signature_name = signature
      request.inputs['waveform'].CopyFrom(tf.make_tensor_proto(np.zeros(shape, np.float32)))
      log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
      writer.write(log.SerializeToString())


def versions(folder):
  """The version numbers below `folder`, rising."""
  return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def claim_version(partial, folder):
  """Renames `partial` to the next free number below `folder`; another export may be doing the same."""
  while True:
    version = folder / str(max(versions(folder), default=0) + 1)
    try:
      return partial.rename(version)
    except OSError:
      if not version.is_dir():
        raise


@dataclasses.dataclass(frozen=True)
class Served:
  """A loaded export.

  Attributes:
    settings: StudentSettings.
    class_names: list of str, of the first head; empty where there is none.
    signatures: dict of signature name to concrete function; call them with `waveform=`.
    module: what was loaded; it keeps the variables alive.
    path: the version folder.
  """

  settings: students.StudentSettings
  class_names: list
  signatures: dict
  module: object = dataclasses.field(repr=False)
  path: pathlib.Path | None = None

  def predict(self, waveform):
    """`serving_default` on f32 [batch, samples], as a dict of NumPy arrays; `top_classes` are str."""
    return self._answers('serving_default', waveform)

  def windows(self, waveform):
    """`windows` on f32 [samples], as a dict of NumPy arrays; `top_classes` are str."""
    return self._answers('windows', waveform)

  def _answers(self, signature, waveform):
    outputs = self.signatures[signature](waveform=tf.constant(waveform, tf.float32))
    arrays = {name: output.numpy() for name, output in outputs.items()}
    if 'top_classes' in arrays:
      arrays['top_classes'] = np.char.decode(arrays['top_classes'].astype(bytes), 'utf-8')
    return arrays


def read_settings(path):
  """StudentSettings from the assets of the version folder `path`. UserError when missing or not fit for use."""
  file = path / 'assets' / SETTINGS_FILE
  try:
    settings = students.StudentSettings(**json.loads(file.read_text(encoding='utf-8')))
    window_samples(settings)
    lists = list(settings.classes.values())
    if not all(isinstance(names, list) and names for names in lists):
      raise TypeError('classes are not lists of names')
    if not all(isinstance(name, str) for names in lists for name in names):
      raise TypeError('a class name is not a string')
  except FileNotFoundError:
    raise UserError(f'{path}: a SavedModel, but not of a student: assets/{SETTINGS_FILE} is missing') from None
  except (ValueError, TypeError, AttributeError) as error:
    raise UserError(f'{file}: not the settings of a student ({error})') from None
  return settings


def load(path, names=True):
  """The export at `path`: a version folder, its parent (then the highest version) or a run that holds one, as Served.

  Args:
    path: of the export.
    names: whether it must have classes to name.

  Raises:
    UserError: no export there, a damaged one, one that lacks a signature or an output, one with operations that a
      student has no use for, or without classes.
  """
  path = pathlib.Path(path)
  path = path / 'export' if (path / 'export').is_dir() else path
  if not (path / 'saved_model.pb').is_file():
    numbers = versions(path) if path.is_dir() else []
    if path.suffix == '.keras' and path.is_file():
      raise UserError(
        f'{path}: weights alone; audionet_tf.export --model={path} --output=DIR makes a SavedModel of them'
      )
    if not numbers:
      raise UserError(f'{path}: no SavedModel here; audionet_tf.export writes one, training too, as RUN/export/1')
    return load(path / str(numbers[-1]), names)
  settings = read_settings(path)
  if names:
    students.check_names(path, settings)
  class_names = next(iter(settings.classes.values()), [])
  saved_models.refuse_foreign(path)
  try:
    module = tf.saved_model.load(str(path))
    known = export_checks.expected_outputs(settings).keys()
    functions = {name: function for name, function in module.signatures.items() if name in known}
  except Exception as error:  # TensorFlow raises whatever its parts raise: a damaged export is the user's to mend
    raise UserError(f'{path}: not a readable export ({type(error).__name__}: {error})') from error
  export_checks.check_signatures(path, functions, settings)
  probabilities = functions['serving_default'].structured_outputs.get('probabilities')
  found = 0 if probabilities is None else probabilities.shape[-1]
  if found != len(class_names):
    raise UserError(f'{path}: {found} classes, but {len(class_names)} class names')
  return Served(settings, class_names, functions, module, path)
