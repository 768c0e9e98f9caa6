"""Reads `.npy` files that hold a pickled dict of dicts of arrays, as NumPy under Python 2 and 3 wrote them.

Files are untrusted, and unpickling calls what a file names. Here a file may name only NumPy's constructors of arrays,
and even these are not called: plain stand-ins take their arguments, as NumPy's own trust a pickled dtype enough to read
numbers as pointers. The operations are counted and checked before the first one runs.
"""

import codecs
import io
import math
import pickle
import pickletools

import numpy as np

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

MAX_BYTES = 1 << 30  # of a file: sound8.npy has 0.06 GB
MAX_OPERATIONS = 20_000  # sound8.npy has fewer than 2,000
KINDS = 'fiub'  # allowed dtypes; only the outermost array may hold an object
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Dtype:
  """Stands in for numpy.dtype: its code, such as 'f4', and its byte order, such as '<'."""

  def __init__(self, code, *_):
    self.code, self.order = str(code), '|'

  def __setstate__(self, state):
    self.order = str(state[1])

  def dtype(self):
    """The numpy.dtype. ValueError unless it is a dtype of plain numbers."""
    try:
      dtype = np.dtype(self.code).newbyteorder(self.order)
    except TypeError as error:
      raise ValueError(str(error)) from None
    if dtype.kind not in KINDS:
      raise ValueError(f'an array of {self.code!r}, expected are numbers')
    return dtype


class Array:
  """Stands in for numpy.ndarray: `items`, a list, of an array of objects; `values`, an array, of one of numbers."""

  def __init__(self, *_):
    self.values = self.items = None

  def __setstate__(self, state):
    _, shape, dtype, fortran_order, data = state
    if dtype.code.startswith('O'):
      self.items = list(data)
    else:
      self.values = numbers(data, dtype, shape, 'F' if fortran_order else 'C')


def numbers(data, dtype, shape, order='C'):
  """The array of `shape` in the bytes `data`; a str is read as Latin-1, as Python 3 decodes bytes of Python 2."""
  data = data.encode('latin-1') if isinstance(data, str) else bytes(data)
  dtype = dtype.dtype()
  if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(data):
    raise ValueError(f'an array of shape {str(shape)[:80]} does not hold {len(data)} bytes')
  return np.frombuffer(data, dtype).reshape(shape, order=order)


def from_buffer(data, dtype, shape, order):
  """Stands in for numpy._core.numeric._frombuffer, which NumPy's arrays use from pickle protocol 5 on."""
  array = Array()
  array.values = numbers(data, dtype, shape, 'F' if order == 'F' else 'C')
  return array


def encode(text, encoding):
  """Stands in for _codecs.encode, with which Python 3 writes bytes in pickle protocol 2."""
  if codecs.lookup(encoding).name != 'iso8859-1':
    raise ValueError(f'bytes written as {encoding!r}, expected is latin1')
  return text.encode('latin-1')


ALLOWED = {('numpy', 'ndarray'): Array, ('numpy', 'dtype'): Dtype, ('_codecs', 'encode'): encode}
for core in ('core', '_core'):  # before and since NumPy 2
  ALLOWED[f'numpy.{core}.multiarray', '_reconstruct'] = Array
  ALLOWED[f'numpy.{core}.numeric', '_frombuffer'] = from_buffer


class Unpickler(pickle.Unpickler):
  """Resolves names to the stand-ins of ALLOWED only; UserError for any other."""

  def find_class(self, module, name):
    if (module, name) not in ALLOWED:
      raise UserError(f'refused, it calls {module}.{name}; allowed are arrays, in dicts')
    return ALLOWED[module, name]


def read(path):
  """Reads a .npy file with a pickled dict of dicts of arrays.

  Args:
    path: of the file.

  Returns:
    dict of str to dict of str to array of plain numbers.

  Raises:
    UserError: the file is missing, larger than MAX_BYTES or damaged, or holds anything else; nothing that it names is
      called.
  """
  data = files.read_bytes(path, MAX_BYTES, 'a .npy')
  try:
    pickled = data[header_length(data) :]
    check_operations(pickled)
    return named_arrays(Unpickler(io.BytesIO(pickled), encoding='latin1').load())
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except Exception as error:  # damaged bytes raise whatever they hit
    raise UserError(f'{path}: not a readable .npy of named arrays ({text.brief(error)})') from error


def header_length(data):
  """Length of the header in bytes. ValueError unless it declares one object."""
  file = io.BytesIO(data)
  version = np.lib.format.read_magic(file)
  if version not in HEADERS:
    raise ValueError(f'version {version} of the format, expected is (1, 0) or (2, 0)')
  shape, _, dtype = HEADERS[version](file)
  if dtype.kind != 'O' or shape != ():
    raise ValueError(f'{dtype} of shape {shape}, expected is one pickled dict')
  return file.tell()


def check_operations(pickled):
  """ValueError for a pickle with more operations, or a larger memo, than weights need."""
  for count, (operation, argument, _) in enumerate(pickletools.genops(pickled), 1):
    memo_index = argument if operation.name in ('PUT', 'BINPUT', 'LONG_BINPUT') else 0
    if max(count, memo_index) > MAX_OPERATIONS:  # the unpickler allocates its memo up to the index
      raise ValueError(f'more than {MAX_OPERATIONS} operations; weights of a network need fewer')


def named_arrays(value):
  """The dict of dicts of arrays in an unpickled stand-in. ValueError where it holds anything else."""
  items = value.items if isinstance(value, Array) else None
  if not items or len(items) != 1 or not isinstance(items[0], dict):
    raise ValueError('it does not hold one dict')
  for name, layer in items[0].items():
    if not isinstance(name, str) or not isinstance(layer, dict):
      raise ValueError(f'{str(name)[:40]!r} is no dict of arrays')
    for part, array in layer.items():
      if not isinstance(part, str) or not isinstance(array, Array) or array.values is None:
        raise ValueError(f'{name[:40]}/{str(part)[:40]} is no array of numbers')
  return {name: {part: array.values for part, array in layer.items()} for name, layer in items[0].items()}
