"""Weights of another program become a student: named, written, read back and compared, layer by layer."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists
from audionet_tf.models import heads as models_heads
from audionet_tf.models import registry, student_file
from audionet_tf.teachers import keras_applications

TOLERANCE = 1e-4  # of the largest value of a layer
SHOWN_FAULTS = 8


@dataclasses.dataclass(frozen=True)
class ReferenceModel:
  """The network that the weights are of, computed by another program.

  Attributes:
    program: its name, 'NumPy' or 'PyTorch'.
    layers: `waveform` f32 [B, samples] to a dict of the student's layer name to its activations, of equal shape.
    samples: lengths of the sounds that are compared.
  """

  program: str
  layers: Callable
  samples: tuple


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
    more = f'; and {len(faults) - SHOWN_FAULTS} more' if len(faults) > SHOWN_FAULTS else ''
    raise UserError(f'{path}: {what}: {"; ".join(faults[:SHOWN_FAULTS])}{more}')


def class_names(label_files, model):
  """Dict of head to names.

  Args:
    label_files: list of 'HEAD=FILE', one name a line, or of one 'FILE' where the student has one head.
    model: a student.

  Without a file, 1000 classes get ImageNet's names where Keras can tell them; others are numbered.
  """
  heads = {
    key.removeprefix(models_heads.LOGITS): output.shape[-1]
    for key, output in model.output.items()
    if key.startswith(models_heads.LOGITS)
  }
  files = {}
  for given in label_files:
    head, _, file = given.partition('=')
    if head not in heads or not file:
      if len(heads) != 1:
        raise UserError(f'labels is {given!r}, expected is HEAD=FILE; the heads are {", ".join(heads) or "none"}')
      head, file = next(iter(heads)), given
    if head in files:
      raise UserError(f'labels gives two files for {head}: {files[head]} and {file}')
    files[head] = file
  return {head: head_names(files.get(head), classes) for head, classes in heads.items()}


def head_names(label_file, classes):
  if label_file:
    names = class_lists.read_class_names(label_file)
    if len(names) != classes:
      raise UserError(f'{label_file}: {len(names)} class names, but the weights have {classes} classes')
    return names
  imagenet = classes == keras_applications.IMAGENET_CLASSES and keras_applications.imagenet_class_names()
  return imagenet or class_lists.numbered_class_names(classes)


def differences(model, student, original):
  """Dict of layer to (largest difference, largest value) of a student and the original, over sounds of its lengths.

  Raises:
    UserError: a layer differs by more than float32's rounding explains.
  """
  generator = np.random.default_rng(0)
  found = {}
  for samples in tqdm.tqdm(original.samples, desc=f'comparing with {original.program}', unit='sound', delay=1):
    waveform = generator.uniform(-1, 1, [3, samples]).astype(np.float32)
    waveform[0] = 0  # silence
    waveform[1] *= 0.01
    theirs = original.layers(waveform)
    ours = registry.layer_model(model, student, list(theirs))(waveform, training=False)
    for layer, expected in theirs.items():
      before = found.get(layer, (0.0, 0.0))
      new = float(np.abs(ours[layer].numpy() - expected).max()), float(np.abs(expected).max())
      found[layer] = tuple(map(max, before, new))
      if not new[0] <= TOLERANCE * new[1]:
        raise UserError(
          f'the converted student differs from {original.program} by {new[0]:.3g} in {layer}, '
          f'whose largest value is {new[1]:.3g}, on {samples} samples'
        )
  return found


def convert(model, original, settings, output):
  """Writes a student, reads it back and compares it; only then it gets its name. Returns `differences`."""
  output = pathlib.Path(output)
  output.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.stem}.') as folder:
    partial = pathlib.Path(folder) / output.name
    student_file.save(partial, model, settings)
    found = differences(student_file.load(partial)[0], settings.student, original)
    for suffix in ('.json', '.keras'):
      os.replace(partial.with_suffix(suffix), output.with_suffix(suffix))
  return found
