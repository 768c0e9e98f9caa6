"""Tables of classes and their vectors, `.npz`: texts that were embedded before, or whatever stands for a class.

| array         | dtype, shape             | content                                                              |
|---------------|--------------------------|----------------------------------------------------------------------|
| `names`       | str [classes]            | the classes                                                          |
| `vectors`     | float [classes, width]   | in the space that a student learned; any length above 0              |
| `temperature` | float, optional          | by which cosines are divided before the softmax                      |

A mean of the embeddings of some pictures or sounds of a class can stand for its text. Arrays of Python objects are
refused: reading them would run code.
"""

import dataclasses
import pathlib
import zipfile

import numpy as np

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists

SUFFIX = '.npz'
MOST_WIDTH = 1 << 15
MOST_BYTES = 1 << 30  # of the arrays, unpacked


@dataclasses.dataclass(frozen=True)
class WordTable:
  """Classes and their vectors.

  Attributes:
    names: list of str, different.
    vectors: f32 [classes, width], each of length 1.
    temperature: float, or None if the table says none.
  """

  names: list
  vectors: np.ndarray
  temperature: float | None = None


def is_table(path):
  """Whether a file of classes is a table of vectors, not of texts."""
  return pathlib.Path(path).suffix == SUFFIX


def make(names, vectors, temperature=None):
  """A WordTable. ValueError: names repeat, shapes do not go together, or a vector has no direction."""
  names, vectors = [str(name) for name in names], np.asarray(vectors, np.float32)
  if vectors.ndim != 2 or len(names) != len(vectors) or not 2 <= len(names) <= class_lists.MAX_CLASSES:
    raise ValueError(f'{len(names)} names, vectors {list(vectors.shape)}; expected are two classes or more, a row each')
  if len(set(names)) < len(names) or not all(name.strip() for name in names):
    raise ValueError('names are empty or repeat')
  if temperature is not None and not 0 < temperature < float('inf'):
    raise ValueError(f'temperature is {temperature}, allowed is any number above 0')
  lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
  if not np.isfinite(lengths).all() or (lengths == 0).any():
    raise ValueError('a vector is zero, or not finite')
  return WordTable(names, vectors / lengths, temperature)


def read(path):
  """Reads a WordTable. UserError: there is no such file, or it is damaged or in another form."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected a table of classes and their vectors')
  try:
    with zipfile.ZipFile(path) as archive:
      size = sum(member.file_size for member in archive.infolist())
      if size > MOST_BYTES:
        raise ValueError(f'{size} bytes, allowed are up to {MOST_BYTES}')
    with np.load(path, allow_pickle=False) as arrays:
      names, vectors = arrays['names'], arrays['vectors']
      temperature = float(arrays['temperature']) if 'temperature' in arrays else None
    if names.dtype.kind != 'U' or vectors.dtype.kind != 'f' or vectors.shape[1] > MOST_WIDTH:
      raise ValueError(f'names are {names.dtype}, vectors {vectors.dtype} {list(vectors.shape)}')
    return make(names.tolist(), vectors, temperature)
  except Exception as error:  # NumPy and zipfile raise whatever damaged bytes hit
    raise UserError(f'{path}: not a table of classes and their vectors ({text.brief(error)})') from None


def write(path, table):
  """Writes a WordTable."""
  extra = {} if table.temperature is None else {'temperature': np.float64(table.temperature)}
  with files.atomic_write(path, 'wb') as file:
    np.savez(file, names=np.array(table.names, np.str_), vectors=table.vectors, **extra)
