"""Writers of arrays that grow row by row, to .npz or HDF5, in memory that does not grow with them; a reader of .npz.

A writer is a context manager that yields a function `add(name, rows)`, which appends rows [n, ...] to an array. The
file gets its name at the end of the block, when it is complete.
"""

import contextlib
import os
import shutil
import tempfile
import zipfile

import numpy as np

from audionet_tf.core import files
from audionet_tf.core.errors import DiskFullError

COPY_BYTES = 1 << 20
RESERVE_BYTES = 4 << 20  # of HDF5's caches, which it writes when it closes


@contextlib.contextmanager
def npz(path):
  """Writes a .npz file.

  A .npy member begins with the number of its rows, which is known only at the end: until then rows are kept in unnamed
  temporary files.
  """
  with contextlib.ExitStack() as stack:
    file = stack.enter_context(files.atomic_write(path, 'wb'))
    spools, kinds = {}, {}

    def add(name, rows):
      if name not in spools:
        spools[name] = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        kinds[name] = rows.dtype, rows.shape[1:]
      spools[name].write(rows.tobytes())

    yield add
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
      for name, (dtype, shape) in kinds.items():
        rows = spools[name].tell() // (dtype.itemsize * int(np.prod(shape)))
        spools[name].seek(0)
        with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
          header = {'descr': dtype.str, 'fortran_order': False, 'shape': (rows, *shape)}
          np.lib.format.write_array_header_1_0(member, header)
          shutil.copyfileobj(spools[name], member, COPY_BYTES)


@contextlib.contextmanager
def hdf5(path):
  """Writes an HDF5 file with one resizable dataset per array; text is UTF-8.

  The disk is looked at before each write: HDF5 crashes the process where it cannot write what it holds.
  """
  import h5py

  with files.atomic_write(path, 'wb', files.partial_path(path)) as file, h5py.File(file.name, 'w') as out:

    def add(name, rows):
      if shutil.disk_usage(path.parent).free < rows.nbytes + RESERVE_BYTES:
        raise DiskFullError(path.parent)
      kind = h5py.string_dtype() if rows.dtype.kind == 'U' else rows.dtype
      data = rows.astype(object) if rows.dtype.kind == 'U' else rows
      if name not in out:
        shape = rows.shape[1:]
        out.create_dataset(name, data=data, dtype=kind, shape=rows.shape, maxshape=(None, *shape), chunks=True)
        return
      before = len(out[name])
      out[name].resize(before + len(rows), axis=0)
      out[name][before:] = data

    yield add


def load_npz(path):
  """Opens an archive as `numpy.load` does, without pickles: compressed, a few bytes could fill the memory.

  Returns:
    numpy.lib.npyio.NpzFile, a context manager.

  Raises:
    ValueError: unpacked, the arrays need more than the file does and more than half of this machine's memory.
    OSError, zipfile.BadZipFile: no such file, or no archive.
  """
  with zipfile.ZipFile(path) as archive:
    unpacked = sum(member.file_size for member in archive.infolist())  # no more than it says is ever unpacked
  allowed = max(os.path.getsize(path), memory_bytes() // 2)
  if unpacked > allowed:
    raise ValueError(f'unpacks to {unpacked / 1e9:.1f} GB, allowed here are {allowed / 1e9:.1f}')
  return np.load(path, allow_pickle=False)


def memory_bytes():
  """int: the memory of this machine."""
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
