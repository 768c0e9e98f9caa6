"""Reads published weights of SoundNet with 8 and with 5 layers: `sound8.npy`, Torch7 files, PyTorch ports.

  .npy        a pickled dict of dicts: conv1/weights (64, 1, 1, 16), conv1/gamma, ... conv8, conv8_2
  .t7         Torch7's own: an nn.Sequential of SpatialConvolution and SpatialBatchNormalization, of nn or cudnn
  .pth, .pt   state dicts of PyTorch, with conv1.0.weight and conv1.1.running_mean, or conv1.weight and
              batchnorm1.running_mean

The heads are `objects` and `scenes`; a file may lack one of them.
"""

import dataclasses
import pathlib

import numpy as np

from audionet_tf.conversion import audionet, converter, restricted_pickle, torch7, torch7_soundnet
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry
from audionet_tf.models.networks import soundnet

TABLES = {'soundnet8': soundnet.SOUNDNET8, 'soundnet5': soundnet.SOUNDNET5}
HEADS = torch7_soundnet.HEADS
NORM = ('gamma', 'beta', 'mean', 'var')
PARTS = ('weights', 'biases', *NORM)
# Order of a kernel's axes (time, 1, inputs, outputs) in a file.
TF_AXES, TORCH_AXES = (0, 1, 2, 3), (3, 2, 0, 1)


@dataclasses.dataclass(frozen=True)
class Naming:
  """Names of the parts of a layer in a file, in the order of PARTS, and of its heads, in the order of HEADS."""

  parts: tuple
  heads: tuple
  kernel_axes: tuple = TORCH_AXES

  def name(self, part, layer, number=''):
    return self.parts[PARTS.index(part)].format(layer=layer, number=number)


TORCH_NORM = torch7_soundnet.KINDS['SpatialBatchNormalization']
NPY = Naming(tuple(f'{{layer}}/{part}' for part in PARTS), ('{layer}', '{layer}_2'), TF_AXES)
SEQUENTIAL = Naming(
  ('{layer}.0.weight', '{layer}.0.bias', *(f'{{layer}}.1.{part}' for part in TORCH_NORM)), ('{layer}', '{layer}_2')
)
FLAT = Naming(
  ('{layer}.weight', '{layer}.bias', *(f'batchnorm{{number}}.{part}' for part in TORCH_NORM)),
  ('{layer}_objs', '{layer}_scns'),
)
TORCH7 = Naming(
  ('{layer}/weight', '{layer}/bias', *(f'{{layer}}/norm/{part}' for part in TORCH_NORM)),
  ('{layer}/objects', '{layer}/scenes'),
)


def npy_arrays(content, table):
  """(Naming, dict of name to array, list of faults) of the result of `restricted_pickle.read`."""
  return NPY, {f'{layer}/{part}': array for layer, parts in content.items() for part, array in parts.items()}, []


def torch_arrays(content, table):
  """(Naming, dict of name to array, list of faults) of a state dict. Kernels of Conv1d get the last axis of Conv2d."""
  naming = FLAT if 'conv1.weight' in content else SEQUENTIAL
  arrays = {name: x for name, x in content.items() if not name.endswith('.num_batches_tracked')}
  return naming, {name: x[..., None] if x.ndim == 3 else x for name, x in arrays.items()}, []


def t7_arrays(content, table):
  """(Naming, dict of name to array, list of faults) of a Torch7 network."""
  return TORCH7, *torch7_soundnet.named_arrays(content, table)


FORMATS = {  # suffix: function that reads the file, function that names its arrays
  '.npy': (restricted_pickle.read, npy_arrays),
  '.t7': (torch7.read, t7_arrays),
  '.pth': (audionet.read_tensors, torch_arrays),
  '.pt': (audionet.read_tensors, torch_arrays),
}


def expected(table, naming, arrays):
  """The arrays that a file should hold.

  Args:
    table: of `soundnet`.
    naming: Naming of the file.
    arrays: dict of name to array; only heads of which it has a part are expected.

  Returns:
    dict of name in the file to (layer, part, shape). Layers are the student's, such as `conv8_objects`; a shape is None
    where the number of classes is not known.
  """
  names, inputs = {}, 1
  for layer, filters, kernel, _, _ in table:
    if filters is None:
      continue
    number = layer.removeprefix('conv')
    if filters != soundnet.HEADS:
      shape = tuple((kernel, 1, inputs, filters)[axis] for axis in naming.kernel_axes)
      for part in PARTS:
        names[naming.name(part, layer, number)] = layer, part, shape if part == 'weights' else (filters,)
      inputs = filters
      continue
    for head, template in zip(HEADS, naming.heads, strict=True):
      weights, biases = (naming.name(part, template.format(layer=layer)) for part in ('weights', 'biases'))
      if weights in arrays or biases in arrays:
        classes = arrays[biases].size if biases in arrays else None
        shape = tuple((kernel, 1, inputs, classes)[axis] for axis in naming.kernel_axes)
        names[weights] = f'{layer}_{head}', 'weights', shape if classes else None
        names[biases] = f'{layer}_{head}', 'biases', (classes,) if classes else None
  return names


def mismatches(table, naming, arrays):
  """List of str: the arrays that are missing, have the wrong shape, or belong to no layer."""
  names = expected(table, naming, arrays)
  last = table[-1][0]
  faults = [f'{name} is missing' for name in names if name not in arrays]
  if not any(layer.startswith(f'{last}_') for layer, _, _ in names.values()):
    faults.append(f'it has neither {" nor ".join(head.format(layer=last) for head in naming.heads)}')
  for name, (_, part, shape) in names.items():
    if name in arrays and arrays[name].shape != shape and (shape or part == 'biases'):
      faults.append(f'{name} is {arrays[name].shape}, expected is {shape or "one number per class"}')
  return faults + [f'{name[:60]} is of no layer' for name in arrays if name not in names]


def untrained_batch_norms(weights):
  """List of str: batch norms with initial statistics, which some converters lose, or with negative variances."""
  default = [layer for layer, parts in weights.items() if 'var' in parts and is_default(parts)]
  faults = [f'the batch norm of {", ".join(default)} was lost: means all 0, variances all 1'] if default else []
  negative = [layer for layer, parts in weights.items() if 'var' in parts and parts['var'].min() < 0]
  return faults + [f'{layer} has variances below 0' for layer in negative]


def is_default(parts):
  """Whether the running statistics of a batch norm are those of a new layer."""
  return not parts['mean'].any() and (parts['var'] == 1).all()


def read(path, student):
  """keras.Model with the weights of a file.

  Args:
    path: its suffix is a key of FORMATS.
    student: key of TABLES.

  Raises:
    UserError: arrays are missing, have the wrong shape, or were never trained.
  """
  load, name_arrays = FORMATS[pathlib.Path(path).suffix.lower()]
  content = load(path)
  naming, arrays, faults = name_arrays(content, TABLES[student])
  faults = faults or mismatches(TABLES[student], naming, arrays)
  if faults:
    for other, table in TABLES.items():
      naming, arrays, other_faults = name_arrays(content, table)
      if not other_faults and not mismatches(table, naming, arrays):
        raise UserError(f'{path}: these are weights of {other}, not of {student}; use --student={other}')
  converter.refuse(path, faults, f'not the weights of {student}')
  weights = {}
  arrays = converter.floats(path, arrays)
  for name, (layer, part, _) in expected(TABLES[student], naming, arrays).items():
    values = arrays[name]
    if part == 'weights':
      values = values.transpose(np.argsort(naming.kernel_axes))[:, 0]  # [K, inputs, outputs]
    weights.setdefault(layer, {})[part] = values
  converter.refuse(path, untrained_batch_norms(weights))
  return filled(student, weights)


def filled(student, weights):
  """A student, keras.Model, with the weights of a dict of layer to dict of part to f32 array."""
  last = TABLES[student][-1][0]
  heads = {layer.removeprefix(f'{last}_'): parts for layer, parts in weights.items() if 'mean' not in parts}
  model = registry.build(student, {head: len(parts['biases']) for head, parts in heads.items()})
  for layer, parts in weights.items():
    convolution = layer if 'mean' not in parts else f'{layer}_conv'
    model.get_layer(convolution).set_weights([parts['weights'], parts['biases']])
    if 'mean' in parts:
      model.get_layer(f'{layer}_norm').set_weights([parts[part] for part in NORM])
  return model
