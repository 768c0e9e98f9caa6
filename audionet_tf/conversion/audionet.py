"""Reads AudioNet's weights from PyTorch checkpoints (`.pth`).

A checkpoint is a state dict: `conv.weight` (16, 1, 64), `conv.bias`, `dense.weight` (classes, 16), `dense.bias`.
The published one (Bryce 2018) has the pickle format of PyTorch 0.3 and was saved from a GPU. Nothing but tensors is
unpickled.
"""

import pathlib
import pickle
import re

import numpy as np

from audionet_tf.conversion import converter
from audionet_tf.core import text
from audionet_tf.core.errors import UserError, missing_extra
from audionet_tf.models import registry
from audionet_tf.models.networks import audionet

HEAD = 'teacher'
FILTERS, KERNEL = audionet.AUDIONET['filters'], audionet.AUDIONET['kernel_size']
CLASSES = 'classes'  # stands for the number of classes in the shapes below
AUDIONET_SHAPES = {
  'conv.weight': (FILTERS, 1, KERNEL),
  'conv.bias': (FILTERS,),
  'dense.weight': (CLASSES, FILTERS),
  'dense.bias': (CLASSES,),
}
ONE_FORM = 'save it with torch.save(model.state_dict(), ...)'


def import_torch():
  """The torch module; UserError where it is not installed."""
  try:
    import torch
  except ImportError:
    raise missing_extra('reading .pth', 'PyTorch', 'torch') from None
  return torch


def read_tensors(path):
  """Reads the tensors of a checkpoint.

  Args:
    path: of a .pth or .pt file with a state dict.

  Returns:
    dict of tensor name, without the `module.` of DataParallel, to array; floating-point tensors as f32.

  Raises:
    UserError: the file is missing, unreadable, or holds anything but named tensors.
  """
  torch = import_torch()
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected is a PyTorch checkpoint')
  try:
    state = torch.load(path, map_location='cpu', weights_only=True)
  except pickle.UnpicklingError as error:
    match = re.search(r'GLOBAL (\S+)', str(error))
    reason = f'calls {match[1]}' if match else 'is no pickle of tensors'
    raise UserError(f'{path}: refused, it {reason}; a checkpoint may hold nothing but tensors; {ONE_FORM}') from None
  except Exception as error:  # damaged bytes raise whatever they hit
    raise UserError(f'{path}: not a readable PyTorch checkpoint ({text.brief(error)})') from error
  if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
    raise UserError(f'{path}: not a state dict, a dict of tensors; {ONE_FORM}')
  try:
    return {str(name).removeprefix('module.'): as_array(value) for name, value in state.items()}
  except (TypeError, RuntimeError) as error:  # quantized, sparse
    raise UserError(f'{path}: its tensors are not plain numbers ({error})') from None


def as_array(tensor):
  tensor = tensor.detach()
  return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def check_audionet(path, tensors):
  """Number of classes; UserError lists the tensors that are missing, not AudioNet's or of another shape."""
  classes = len(tensors['dense.bias']) if np.ndim(tensors.get('dense.bias')) == 1 else 0
  faults = [f'{name} is missing' for name in AUDIONET_SHAPES if name not in tensors]
  faults += [f'{name} is not of AudioNet' for name in tensors if name not in AUDIONET_SHAPES]
  for name, shape in AUDIONET_SHAPES.items():
    actual = tensors[name].shape if name in tensors else None
    # Any number of classes is accepted where there is no bias to count them.
    expected = tuple((classes or (actual and actual[0])) if size is CLASSES else size for size in shape)
    if actual is not None and (actual != expected or not tensors[name].size):
      faults.append(f'{name} is {actual}, expected is {str(shape).replace(chr(39), "")}')
  if faults:
    raise UserError(f'{path}: not the weights of AudioNet: {"; ".join(faults)}')
  return classes


def read_audionet(path, student='audionet'):
  """keras.Model with the weights of a .pth. UserError where a tensor is missing, of another shape or not finite."""
  tensors = read_tensors(path)
  model = registry.build(student, {HEAD: check_audionet(path, tensors)})
  tensors = converter.floats(path, tensors)
  conv, dense = model.get_layer('conv'), model.get_layer(f'dense_{HEAD}')
  conv.set_weights([tensors['conv.weight'].transpose(2, 1, 0), tensors['conv.bias']])  # [K, 1, filters]
  dense.set_weights([tensors['dense.weight'].T, tensors['dense.bias']])  # [filters, classes]
  return model
