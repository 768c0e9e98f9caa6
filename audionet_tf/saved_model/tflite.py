"""Writes a student as TensorFlow Lite files, and compares each with the model in memory.

| file                    | `waveform`                     | outputs                                                  |
|-------------------------|--------------------------------|----------------------------------------------------------|
| model.tflite            | f32 [1, samples of one window] | `probabilities`, `<head>/probabilities` of further heads |
| model_float16.tflite    | the same                       | the same, from weights in float16                        |
| model_int8.tflite       | the same                       | the same, from weights in int8                           |
| model_any_length.tflite | f32 [batch, samples], resized  | the same, `logits` and `embedding`                       |

All hold built-in operations and numbers only, as runtimes in browsers know no strings. All but the last have the fixed
shapes that these want, and hold their class names and the metadata that MediaPipe's audio classifier reads
(`tflite_metadata`), for which every output is a classification. A student without heads has its `embedding` in place of
the probabilities. Use the signature: the last file's outputs have no fixed order.

TensorFlow Lite has no float64 FFT, so a network on log-mel bands is converted with float32 (`TOLERANCE_OF_TONES`).
"""

import dataclasses
import tempfile

import numpy as np
import tensorflow as tf

from audionet_tf.core import files, text, tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.layers import log_mel
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures, tflite_metadata, verify

WINDOW_FILE, ANY_LENGTH_FILE = 'model.tflite', 'model_any_length.tflite'
SMALLER = {'float16': [tf.float16], 'int8': []}  # --quantize to the converter's supported types
ENOUGH_AGREEMENT = 0.99  # of windows whose first class is that of the float32 file
SIGNATURE = 'serving_default'


def write(model, settings, folder, quantize=(), windows=()):
  """Writes the files of a student, and compares those of float32 with the model.

  Args:
    model: keras.Model of the student.
    settings: its student_settings.StudentConfig.
    folder: pathlib.Path of the version.
    quantize: keys of SMALLER, files to add.
    windows: iterable of int16 [samples of one window], real sound on which smaller files are compared with the first.

  Returns:
    list of str, a line per file of `quantize`.

  Raises:
    UserError: TensorFlow Lite cannot convert the student.
    RuntimeError: outputs differ from the model's.
  """
  length = signatures.window_samples(settings)
  names = list(signatures.probability_outputs(settings).values()) or ['embedding']
  for key in ('', *quantize):
    write_file(folder / smaller_file(key) if key else folder / WINDOW_FILE, of_one_window(model, settings, names, key))
  write_file(folder / ANY_LENGTH_FILE, of_any_length(model, settings))
  compare(model, settings, folder, length)
  for file in map(smaller_file, quantize):
    check_finite(folder / file, length)
  return agreements(folder, quantize, names[0], windows)


def of_one_window(model, settings, names, quantize=''):
  """The bytes of a .tflite file for one window: those of WINDOW_FILE, or of a smaller one. `names`: of its outputs."""
  copy = log_mel.with_transform(model, 'unquantized' if quantize else 'float32')
  window = signatures.default_signature(copy, settings, (1, signatures.window_samples(settings)), names)
  return tflite_metadata.added(converted(copy, window, settings, quantize), settings, names)


def of_any_length(model, settings, quantize=''):
  """The bytes of a .tflite file for sound of any length. `quantize`: key of SMALLER, '' for float32."""
  copy = log_mel.with_transform(model, 'unquantized' if quantize else 'float32')
  names = signatures.numeric_outputs(settings)
  return converted(copy, signatures.default_signature(copy, settings, names=names), settings, quantize)


def write_first_head(model, settings, path):
  """Writes the probabilities of the first head for one window, and compares them with the model.

  Args:
    model: keras.Model of a student with heads.
    settings: its student_settings.StudentConfig.
    path: pathlib.Path of the file.

  Raises:
    UserError, RuntimeError: as `write`.
  """
  first, *_ = settings.classes
  settings = dataclasses.replace(settings, classes={first: settings.classes[first]})
  write_file(path, of_one_window(model, settings, ['probabilities']))
  length = signatures.window_samples(settings)
  waveforms = verify.probe_waveforms(length, registry.shortest_samples(settings.student))
  compare_window(runner(path), model, settings, waveforms, path.name)


def smaller_file(key):
  """Name of the file for a key of SMALLER."""
  return f'model_{key}.tflite'


def write_file(path, content):
  with files.atomic_write(path, 'wb') as file:
    file.write(content)


def converted(model, function, settings, quantize=''):
  """The bytes of a .tflite file.

  Args:
    model: keras.Model whose variables the function uses.
    function: concrete function.
    settings: student_settings.StudentConfig, for the message.
    quantize: key of SMALLER, '' for float32.
  """
  module = tf.Module()
  module.student_variables = [variable.value for variable in model.variables]
  with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(module, folder, signatures={SIGNATURE: function})
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
    if quantize:
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      converter.target_spec.supported_types = SMALLER[quantize]
    try:
      return converter.convert()
    except Exception as error:  # whatever the converter raises about an operation
      raise UserError(f'TensorFlow Lite cannot convert {settings.student} ({text.brief(error)})') from error


def compare(model, settings, folder, length):
  """Compares the files in float32 with the model. Errors are those of `write`."""
  waveforms = verify.probe_waveforms(length, registry.shortest_samples(settings.student))
  window, any_length = (runner(folder / file) for file in (WINDOW_FILE, ANY_LENGTH_FILE))
  compare_window(window, model, settings, waveforms, WINDOW_FILE)
  verify.compare_runtime(lambda waveform: any_length(waveform=waveform), model, settings, waveforms, ANY_LENGTH_FILE)


def compare_window(run, model, settings, waveforms, name):
  """Compares the `runner` of a file for one window with the model. Errors are those of `write`."""

  def one_by_one(waveform):
    rows = [run(waveform=row[None]) for row in waveform]
    return {output: np.concatenate([row[output] for row in rows]) for output in rows[0]}

  of_one_window = [waveform for waveform in waveforms if waveform.shape[1] == signatures.window_samples(settings)]
  verify.compare_runtime(one_by_one, model, settings, of_one_window, name)


def check_finite(path, length):
  """RuntimeError where a file answers silence or noise by something else than numbers, as after an underflow."""
  run = runner(path)
  for waveform in (np.zeros([1, length]), np.random.default_rng(0).uniform(-1, 1, [1, length])):
    for name, values in run(waveform=waveform.astype(np.float32)).items():
      if not np.isfinite(values).all():
        raise RuntimeError(f'{path.name}: {name} are not finite')


def runner(path):
  """The signature of a .tflite file, as a function of `waveform`."""
  return tflite_interpreter.interpreter(path).get_signature_runner(SIGNATURE)


def agreements(folder, quantize, output, windows):
  """list of str, per file of `quantize` how often its first class is that of WINDOW_FILE."""
  if not quantize:
    return []
  runners = {file: runner(folder / file) for file in (WINDOW_FILE, *map(smaller_file, quantize))}
  best = {file: [] for file in runners}
  for window in windows:
    waveform = window[None].astype(np.float32) / np.float32(PCM_SCALE)
    for file, run in runners.items():
      best[file].append(run(waveform=waveform)[output].argmax())
  lines = []
  for file in list(runners)[1:]:
    same, count = int(np.sum(np.equal(best[file], best[WINDOW_FILE]))), len(best[file])
    megabytes, whole = ((folder / name).stat().st_size / 1e6 for name in (file, WINDOW_FILE))
    line = f'{file}: {megabytes:.2f} MB of {whole:.2f}, first class as in float32 in {same} of {count} windows'
    enough = same >= ENOUGH_AGREEMENT * count
    lines.append(f'{line} ({same / count:.1%})' if enough else f'warning: {line} ({same / count:.1%}), less than 99 %')
  return lines
