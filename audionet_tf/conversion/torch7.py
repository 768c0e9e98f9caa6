"""Reads the binary files of Torch7's torch.save (`.t7`): tables, tensors, modules.

Source: the layout of torch7's File.lua, Tensor.c and Storage.c on 64-bit Linux: little-endian, int of 4 bytes, long of
8. A value is its kind and its contents; tables and objects carry a number, to which later values refer.

Files are untrusted. Nothing in them is run, functions are refused, and every size is checked against the bytes that are
left before memory is allocated. (`torchfile`, last released in 2017, makes arrays with the strides that the file
declares, beyond the ends of their memory.)
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
# torch.CudaTensor holds float; torch.CudaDoubleTensor and its like hold the type in their name.
CLASSES = {f'torch.{cuda}{name}': dtype for cuda in ('', 'Cuda') for name, dtype in NUMBER_TYPES.items()}
CLASSES['torch.Cuda'] = '<f4'


@dataclasses.dataclass
class Object:
  """A Torch object other than a tensor: the name of its class and its `fields`, a dict for modules of nn."""

  name: str
  fields: object = None


@dataclasses.dataclass
class Tensor:
  """A view of a storage as the file declares it; `array` checks it."""

  sizes: tuple
  strides: tuple
  offset: int
  storage: np.ndarray | None

  def array(self):
    """A copy of the numbers as an array. ValueError where the view exceeds its storage or repeats it."""
    if not self.sizes or 0 in self.sizes:
      return np.empty(0, np.float32)
    if self.storage is None or min(self.sizes + self.strides + (self.offset,)) < 0:
      raise ValueError(f'it has no numbers for the sizes {self.sizes}')
    end = self.offset + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True)) + 1
    if max(end, math.prod(self.sizes)) > len(self.storage):
      raise ValueError(f'its sizes {self.sizes} need more numbers than there are, {len(self.storage)}')
    # The stride of an axis of size 1 is never used, and may be any number.
    strides = [
      stride * self.storage.itemsize if size > 1 else 0 for size, stride in zip(self.sizes, self.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(self.storage[self.offset :], self.sizes, strides).copy()


def read(path):
  """Reads the value in a file.

  Args:
    path: of a .t7 file.

  Returns:
    int for whole numbers, else float; str (Latin-1); bool; None; dict for a table, without entries whose keys are
    neither numbers nor strings; Tensor, array for a storage, Object for other objects.

  Raises:
    UserError: the file is missing, larger than MAX_BYTES, damaged, or holds a function.
  """
  data = files.read_bytes(path, MAX_BYTES, 'a .t7 of Torch7')
  try:
    return Reader(data).value(0)
  except (ValueError, struct.error) as error:
    raise UserError(f'{path}: not a readable .t7 of 64-bit Torch7: {error}') from None


class Reader:
  """A position in the bytes of a file, and the tables and objects read so far by number. Methods raise ValueError."""

  def __init__(self, data):
    self.data, self.position, self.by_number, self.values = data, 0, {}, 0

  def take(self, count):
    """Advances by `count` bytes; returns the position before."""
    start = self.position
    if not 0 <= count <= len(self.data) - start:
      raise ValueError(f'{count} bytes are declared at byte {start}, where {len(self.data) - start} are left')
    self.position = start + count
    return start

  def numbers(self, code, count=1):
    """Tuple of `count` numbers with a code of `struct`."""
    layout = f'<{count}{code}'
    return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout)))

  def integer(self):
    return self.numbers('i')[0]

  def string(self):
    count = self.integer()
    start = self.take(count)
    return self.data[start : start + count].decode('latin-1')

  def value(self, depth):
    """The next value, as `read` returns it; `depth` counts the tables and objects around it."""
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
    if number not in self.by_number:
      (self.table if kind == TABLE else self.object)(number, depth + 1)
    return self.by_number[number]

  def table(self, number, depth):
    """Reads a table into `by_number`."""
    table = self.by_number[number] = {}  # stored before it is read, as it may refer to itself
    for _ in range(self.integer()):
      key, value = self.value(depth), self.value(depth)
      if isinstance(key, str | int | float):
        table[key] = value

  def object(self, number, depth):
    """Reads a storage, a tensor or another object into `by_number`."""
    name = self.string()
    if name.startswith('V '):  # a version; older files start with the name
      name = self.string()
    element = CLASSES.get(name.removesuffix('Tensor').removesuffix('Storage'))
    if element and name.endswith('Storage'):
      (count,) = self.numbers('q')
      start = self.take(count * np.dtype(element).itemsize)
      self.by_number[number] = np.frombuffer(self.data, element, count, start)
    elif element and name.endswith('Tensor'):
      self.by_number[number] = self.tensor(element, depth)
    elif name.startswith('torch.'):
      raise ValueError(f'it holds a {name}, which is not read')
    else:
      instance = self.by_number[number] = Object(name)  # stored before it is read, as it may refer to itself
      instance.fields = self.value(depth)

  def tensor(self, element, depth):
    """The next Tensor, of the dtype `element`."""
    count = self.integer()
    if not 0 <= count <= MAX_DIMENSIONS:
      raise ValueError(f'a tensor of {count} dimensions, allowed are {MAX_DIMENSIONS}')
    sizes, strides, (offset,) = self.numbers('q', count), self.numbers('q', count), self.numbers('q')
    storage = self.value(depth)
    if storage is not None and not (isinstance(storage, np.ndarray) and storage.dtype == element):
      raise ValueError('a tensor without a storage of its own type')
    return Tensor(sizes, strides, offset - 1, storage)
