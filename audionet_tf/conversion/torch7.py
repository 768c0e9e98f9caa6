"""Reads the binary files of Torch7's torch.save (`.t7`): tables, tensors, modules.

The layout is that of torch7's File.lua, Tensor.c and Storage.c on 64-bit Linux: little-endian, int 4 bytes, long 8. A
value is its kind and what belongs to it; tables and objects carry a number, by which later references name them.

Files come from strangers. Nothing in them is run, functions are refused, and every size is held against the bytes that
are there before memory is taken. (`torchfile`, last released in 2017, makes arrays with strides as the file declares
them, past the ends of their memory.)
"""

import dataclasses
import math
import struct

import numpy as np

from audionet_tf.core import files
from audionet_tf.core.errors import UserError

MAX_BYTES = 1 << 31  # of a file: SoundNet's have 0.06 GB, with their gradients twice that
MAX_VALUES = 1_000_000
MAX_DEPTH = 100
MAX_DIMENSIONS = 16

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN, *FUNCTIONS = range(9)
NUMBER_TYPES = {
  'Byte': 'u1',
  'Char': 'i1',
  'Short': '<i2',
  'Int': '<i4',
  'Long': '<i8',
  'Half': '<f2',
  'Float': '<f4',
  'Double': '<f8',
}
# torch.CudaTensor holds float; torch.CudaDoubleTensor and so on hold what their names say.
CLASSES = {f'torch.{cuda}{name}': dtype for cuda in ('', 'Cuda') for name, dtype in NUMBER_TYPES.items()}
CLASSES['torch.Cuda'] = '<f4'


@dataclasses.dataclass
class Object:
  """A Torch object that is no tensor: the name of its class, its `fields` (a dict, for nn's modules)."""

  name: str
  fields: object = None


@dataclasses.dataclass
class Tensor:
  """A view of a storage, as the file declares it: nothing is checked before `array`."""

  sizes: tuple
  strides: tuple
  offset: int
  storage: np.ndarray | None

  def array(self):
    """The numbers as an array of its own. Raises ValueError where the view leaves its storage or repeats it."""
    if not self.sizes or 0 in self.sizes:
      return np.empty(0, np.float32)
    if self.storage is None or min(self.sizes + self.strides + (self.offset,)) < 0:
      raise ValueError(f'it has no numbers for the sizes {self.sizes}')
    end = self.offset + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True)) + 1
    if max(end, math.prod(self.sizes)) > len(self.storage):
      raise ValueError(f'its sizes {self.sizes} need more numbers than there are, {len(self.storage)}')
    # The stride of a single step is never taken, and may be any number.
    strides = [
      stride * self.storage.itemsize if size > 1 else 0 for size, stride in zip(self.sizes, self.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(self.storage[self.offset :], self.sizes, strides).copy()


def read(path):
  """The value that a file holds.

  Numbers are int where they are whole, else float; strings are str (latin-1); tables are dicts, without the entries
  whose keys are neither numbers nor strings; tensors are Tensor, storages arrays, other objects Object.

  Raises:
    UserError: no such file, too large, damaged, a function in it.
  """
  data = files.read_bytes(path, MAX_BYTES, 'a .t7 of Torch7')
  try:
    return Reader(data).value(0)
  except (ValueError, struct.error) as error:
    raise UserError(f'{path}: not a readable .t7 of 64-bit Torch7: {error}') from None


class Reader:
  """A position in the bytes of a file, and the tables and objects that it has met. Raises ValueError."""

  def __init__(self, data):
    self.data, self.position, self.met, self.values = data, 0, {}, 0

  def take(self, count):
    """The position of the next `count` bytes, behind which it moves."""
    start = self.position
    if not 0 <= count <= len(self.data) - start:
      raise ValueError(f'{count} bytes are declared at byte {start}, where {len(self.data) - start} are left')
    self.position = start + count
    return start

  def numbers(self, code, count=1):
    layout = f'<{count}{code}'
    return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout)))

  def integer(self):
    return self.numbers('i')[0]

  def string(self):
    count = self.integer()
    start = self.take(count)
    return self.data[start : start + count].decode('latin-1')

  def value(self, depth):
    self.values += 1
    if depth > MAX_DEPTH or self.values > MAX_VALUES:
      raise ValueError(f'more than {MAX_VALUES} values, or tables nested more than {MAX_DEPTH} deep')
    kind = self.integer()
    if kind == NIL:
      return None
    if kind == NUMBER:
      (number,) = self.numbers('d')
      return int(number) if number.is_integer() else number
    if kind == STRING:
      return self.string()
    if kind == BOOLEAN:
      return self.integer() == 1
    if kind in FUNCTIONS:
      raise ValueError('it holds a function, and code is not read')
    if kind not in (TABLE, OBJECT):
      raise ValueError(f'{kind} is no kind of value, at byte {self.position - 4}')
    number = self.integer()
    if number not in self.met:
      (self.table if kind == TABLE else self.object)(number, depth + 1)
    return self.met[number]

  def table(self, number, depth):
    table = self.met[number] = {}  # met before it is read: it may refer to itself
    for _ in range(self.integer()):
      key, value = self.value(depth), self.value(depth)
      if isinstance(key, str | int | float):
        table[key] = value

  def object(self, number, depth):
    name = self.string()
    if name.startswith('V '):  # a version; files older than versions begin with the name
      name = self.string()
    element = CLASSES.get(name.removesuffix('Tensor').removesuffix('Storage'))
    if element and name.endswith('Storage'):
      (count,) = self.numbers('q')
      start = self.take(count * np.dtype(element).itemsize)
      self.met[number] = np.frombuffer(self.data, element, count, start)
    elif element and name.endswith('Tensor'):
      self.met[number] = self.tensor(element, depth)
    elif name.startswith('torch.'):
      raise ValueError(f'it holds a {name}, which is not read')
    else:
      known = self.met[number] = Object(name)
      known.fields = self.value(depth)

  def tensor(self, element, depth):
    count = self.integer()
    if not 0 <= count <= MAX_DIMENSIONS:
      raise ValueError(f'a tensor of {count} dimensions, allowed are {MAX_DIMENSIONS}')
    sizes, strides, (offset,) = self.numbers('q', count), self.numbers('q', count), self.numbers('q')
    storage = self.value(depth)
    if storage is not None and not (isinstance(storage, np.ndarray) and storage.dtype == element):
      raise ValueError('a tensor without a storage of its own type')
    return Tensor(sizes, strides, offset - 1, storage)
