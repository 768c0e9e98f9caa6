"""Weights of another program become a student: checked, named, written and read back."""

import os
import pathlib
import tempfile

import numpy as np

from audionet_tf.core import digests, files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists
from audionet_tf.models import heads, registry, student_file

SHOWN_FAULTS = 8


def floats(path, arrays):
  """Converts a dict of name to array to f32. UserError where an array does not hold finite floating-point numbers."""
  faults = []
  for name, values in arrays.items():
    if values.dtype.kind != 'f':
      faults.append(f'{name} is of {values.dtype}, expected are floating-point numbers')
    elif not (np.abs(values) <= np.finfo(np.float32).max).all():  # false for NaN
      faults.append(f'{name} holds numbers that are not finite')
  refuse(path, faults)
  return {name: values.astype(np.float32) for name, values in arrays.items()}


def refuse(path, faults, what='unfit weights'):
  """Raises UserError with the first few faults, a list of str, unless the list is empty."""
  if faults:
    raise UserError(f'{path}: {what}: {text.first_of(faults, SHOWN_FAULTS, "; ")}')


def class_names(label_files, model):
  """Dict of head to names.

  Args:
    label_files: list of 'HEAD=FILE', one name per line, or of one 'FILE' where the student has one head.
    model: a student.

  Heads without a file get `class_lists.default_class_names`: ImageNet's where their number fits, else numbers.
  """
  classes = {
    key.removeprefix(heads.LOGITS): output.shape[-1]
    for key, output in model.output.items()
    if key.startswith(heads.LOGITS)
  }
  default = {head: class_lists.default_class_names(count) for head, count in classes.items()}
  return default | class_lists.class_names_by_head(label_files, classes)


def convert(model, settings, output):
  """Writes a student, reads it back and checks it before it gets its name.

  Args:
    model: keras.Model, a student with the converted weights.
    settings: student_settings.StudentConfig.
    output: path of the .keras file; its folder is made if missing.

  Raises:
    UserError: the student's outputs are not finite on silence or noise.
    RuntimeError: the file does not hold the weights that were written.
    DiskFullError: no space in the folder of `output`.
  """
  output = pathlib.Path(output)
  with files.space_in(output.parent):
    output.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.stem}.') as folder:
    partial = pathlib.Path(folder) / output.name
    student_file.save(partial, model, settings)
    written = student_file.load(partial)[0]
    if digests.of_weights(written) != digests.of_weights(model):
      raise RuntimeError(f'{output}: other weights are read than were written')
    require_finite(written, registry.shortest_samples(settings.student))
    for suffix in ('.json', '.keras'):
      os.replace(partial.with_suffix(suffix), output.with_suffix(suffix))


def require_finite(model, samples):
  """UserError unless all outputs are finite for silence and for noise of `samples`: weights may be too large."""
  waveform = np.random.default_rng(0).uniform(-1, 1, [2, samples]).astype(np.float32)
  waveform[0] = 0
  for name, output in model(waveform, training=False).items():
    if not np.isfinite(output.numpy()).all():
      raise UserError(f'the converted student is not finite in {name}: these weights do not fit, or are damaged')
