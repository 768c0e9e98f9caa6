"""SoundNet in PyTorch as its ports write it, and its weights in every form that was published. Shared by tests.

Nothing here is taken from the package: the networks are written out, the files made from the descriptions of formats.
"""

import io
import pickle
import struct

import numpy as np
from torch_or_skip import torch

CLASSES = {'objects': 7, 'scenes': 5}
# Torch7's indices, from 0, of the convolutions; the batch norm is the next; the heads are in the last.
INDICES = {8: [0, 4, 8, 11, 14, 18, 21, 24], 5: [0, 4, 8, 12, 15]}


class Sound(torch.nn.Module):
  """SoundNet of 8 or 5 layers. `layers(sound)`: dict of the student's layer names to activations [B, T, C]."""

  def __init__(self, depth, heads, seed=0):
    super().__init__()
    generator = torch.Generator().manual_seed(seed)
    nn = torch.nn
    # inputs, outputs, kernel, stride, padding, pool
    rows = {
      8: [
        (1, 16, 64, 2, 32, 8),
        (16, 32, 32, 2, 16, 8),
        (32, 64, 16, 2, 8, None),
        (64, 128, 8, 2, 4, None),
        (128, 256, 4, 2, 2, 4),
        (256, 512, 4, 2, 2, None),
        (512, 1024, 4, 2, 2, None),
      ],
      5: [(1, 32, 64, 2, 32, 8), (32, 64, 32, 2, 16, 8), (64, 128, 16, 2, 8, 8), (128, 256, 8, 2, 4, None)],
    }[depth]
    self.pools = {}
    for number, (inputs, outputs, kernel, stride, padding, pool) in enumerate(rows, 1):
      conv = nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (padding, 0))
      self.add_module(f'conv{number}', nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU()))
      if pool:
        self.pools[f'conv{number}'] = f'pool{number}', pool
    self.hidden, self.last = [f'conv{i}' for i in range(1, depth)], f'conv{depth}'
    head = {8: (1024, (8, 1), (2, 1), 0), 5: (256, (16, 1), (12, 1), (4, 0))}[depth]
    self.heads = {name: self.last + '_2' * (name == 'scenes') for name in heads}
    for name, module in self.heads.items():
      inputs, kernel, stride, padding = head
      self.add_module(module, nn.Sequential(nn.Conv2d(inputs, heads[name], kernel, stride, padding)))
    with torch.no_grad():
      for name, values in self.state_dict().items():
        if values.is_floating_point():
          low, high = {'var': (0.01, 4), 'ght': (0.5, 2)}.get(name[-3:], (-1, 1)) if values.ndim == 1 else (-0.1, 0.1)
          values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    self.eval()

  def layers(self, sound):
    with torch.no_grad():
      found, x = {}, torch.from_numpy(sound)[:, None, :, None] * 256
      for name in self.hidden:
        x = found[name] = getattr(self, name)(x)
        if name in self.pools:
          pool, size = self.pools[name]
          x = found[pool] = torch.nn.functional.max_pool2d(x, (size, 1), (size, 1))
      for head, module in self.heads.items():
        found[f'{self.last}_{head}'] = getattr(self, module)(x)
    return {name: x[..., 0].numpy().transpose(0, 2, 1) for name, x in found.items()}


def npy_dict(net):
  """The dict of dicts of `sound8.npy`."""
  state = {name: values.numpy() for name, values in net.state_dict().items()}
  content = {}
  for name in [*net.hidden, *net.heads.values()]:
    content[name] = {'weights': state[f'{name}.0.weight'].transpose(2, 3, 1, 0), 'biases': state[f'{name}.0.bias']}
    if name in net.hidden:
      norm = {'gamma': 'weight', 'beta': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
      content[name] |= {part: state[f'{name}.1.{theirs}'] for part, theirs in norm.items()}
  return content


class Python2Pickler(pickle._Pickler):
  """Writes str and bytes as Python 2 wrote its str, and NumPy under the module names of its time."""

  dispatch = dict(pickle._Pickler.dispatch)

  def save_python2_str(self, value):
    data = value.encode('latin-1') if isinstance(value, str) else value
    self.write(pickle.BINSTRING + struct.pack('<i', len(data)) + data)
    self.memoize(value)

  def save_global(self, value, name=None):
    module = value.__module__.replace('numpy._core', 'numpy.core')
    self.write(pickle.GLOBAL + f'{module}\n{name or value.__name__}\n'.encode())
    self.memoize(value)

  dispatch[str] = dispatch[bytes] = save_python2_str
  dispatch[type(len)] = dispatch[type] = save_global


def python2_pickle(array):
  file = io.BytesIO()
  Python2Pickler(file, 2).dump(array)
  return file.getvalue()


def save_npy(path, content, pickled=python2_pickle):
  """What numpy.save under Python 2 wrote of a dict: a header of one object, then the pickle of the array."""
  array = np.empty((), object)
  array[()] = content
  header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
  header += b' ' * (-(len(header) + 11) % 16) + b'\n'
  path.write_bytes(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + pickled(array))


class T7:
  """Writes Torch7's binary format. Values: None, bool, numbers, str, dict (a table), arrays, (class name, dict)."""

  def __init__(self, cuda=False, versions=True):
    self.out, self.number, self.cuda, self.versions = b'', 0, cuda, versions

  def string(self, text):
    self.out += struct.pack('<i', len(text)) + text.encode('latin-1')

  def begin(self, kind):
    self.number += 1
    self.out += struct.pack('<ii', kind, self.number)

  def object(self, name):
    self.begin(4)
    if self.versions:
      self.string('V 1')
    self.string(name)

  def value(self, value):
    if value is None:
      self.out += struct.pack('<i', 0)
    elif isinstance(value, bool):
      self.out += struct.pack('<ii', 5, value)
    elif isinstance(value, int | float):
      self.out += struct.pack('<id', 1, value)
    elif isinstance(value, str):
      self.out += struct.pack('<i', 2)
      self.string(value)
    elif isinstance(value, dict):
      self.begin(3)
      self.out += struct.pack('<i', len(value))
      for key, item in value.items():
        self.value(key)
        self.value(item)
    elif isinstance(value, tuple):
      self.object(value[0])
      self.value(value[1])
    else:
      self.tensor(value)
    return self

  def tensor(self, array):
    kind = {'f4': 'Cuda' if self.cuda else 'Float', 'f8': 'CudaDouble' if self.cuda else 'Double'}[array.dtype.str[1:]]
    strides = [int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)]
    self.object(f'torch.{kind}Tensor')
    self.out += struct.pack(f'<i{2 * array.ndim + 1}q', array.ndim, *array.shape, *strides, 1)
    self.object(f'torch.{kind}Storage')
    self.out += struct.pack('<q', array.size) + array.tobytes()


def t7_network(net, library='nn'):
  """The network as Torch7 has it: modules counted from 1, time the height of pictures one wide."""
  state = {name: values.numpy() for name, values in net.state_dict().items()}

  def module(name, fields):
    return (f'{library}.{name}', fields | {'train': False, '_type': 'torch.FloatTensor'})

  def convolution(conv, name):
    geometry = {'kH': conv.kernel_size[0], 'dH': conv.stride[0], 'padH': conv.padding[0], 'kW': 1, 'dW': 1, 'padW': 0}
    return module(
      'SpatialConvolution', geometry | {'weight': state[f'{name}.0.weight'], 'bias': state[f'{name}.0.bias']}
    )

  modules = []
  for name in net.hidden:
    conv, norm, _ = getattr(net, name)
    fields = {key: state[f'{name}.1.{key}'] for key in ('weight', 'bias', 'running_mean', 'running_var')}
    modules += [convolution(conv, name), module('SpatialBatchNormalization', fields | {'eps': norm.eps})]
    modules.append(module('ReLU', {'inplace': True, 'val': 0}))
    if name in net.pools:
      size = net.pools[name][1]
      modules.append(module('SpatialMaxPooling', {'kW': 1, 'kH': size, 'dW': 1, 'dH': size, 'padW': 0, 'padH': 0}))
  assert len(modules) == INDICES[len(net.hidden) + 1][-1]
  heads = {i: convolution(getattr(net, name)[0], name) for i, name in enumerate(net.heads.values(), 1)}
  modules.append(('nn.ConcatTable', {'modules': heads}))
  modules.append(('nn.ParallelTable', {'modules': {}}))
  return ('nn.Sequential', {'modules': dict(enumerate(modules, 1)), 'train': False})


def flat_names(state):
  """PT1's names for PT2's."""
  named = {}
  for name, values in state.items():
    layer, place, part = name.split('.')
    number = layer.removeprefix('conv')
    if place == '1':
      named[f'batchnorm{number}.{part}'] = values
    elif layer in ('conv8', 'conv8_2', 'conv5_2') or (layer == 'conv5' and 'conv5.1.weight' not in state):
      named[f'conv{number[0]}_{"scns" if number.endswith("_2") else "objs"}.{part}'] = values
    else:
      named[f'{layer}.{part}'] = values
  return named
