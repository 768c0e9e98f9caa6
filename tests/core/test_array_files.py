"""Files of arrays that are damaged in every way that NumPy and zipfile have an exception of their own for."""

import io
import json
import zipfile

import numpy as np
import pytest
import synthetic_records

from audionet_tf.core import array_files
from audionet_tf.core.errors import UserError
from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from audionet_tf.inference import readers
from audionet_tf.representations import files
from audionet_tf.teachers import precomputed

ROWS = np.full([4, 3], 1 / 3, np.float32)
ABOUT = np.array([json.dumps({'layers': ['pool5']})])
TIMES = np.arange(4.0)
ARRAYS = {  # one file that all three read
  'a': ROWS, 'pool5': ROWS, 'pool5/center_seconds': TIMES, 'about': ABOUT,
  'probabilities': ROWS, 'start_seconds': TIMES, 'end_seconds': TIMES,
}  # fmt: skip


def npy(array):
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def archive(spoil_member=lambda data: data, spoil=lambda data: data, compression=zipfile.ZIP_STORED):
  """A .npz of ARRAYS, whose members and bytes are spoiled by functions."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as target:
    for name, array in ARRAYS.items():
      target.writestr(f'{name}.npy', spoil_member(npy(array)))
  return spoil(file.getvalue())


def flagged(data):
  """All members marked as encrypted, in both of their headers."""
  data = bytearray(data)
  for sign, offset in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
    place = data.find(sign)
    while place >= 0:
      data[place + offset] |= 1
      place = data.find(sign, place + 4)
  return bytes(data)


def of_unknown_method(data):
  data = bytearray(data)
  for sign, offset in ((b'PK\3\4', 8), (b'PK\1\2', 10)):
    place = data.find(sign)
    while place >= 0:
      data[place + offset] = 77
      place = data.find(sign, place + 4)
  return bytes(data)


def inflated(data):
  """Deflated members whose first bytes are no stream."""
  place = data.find(b'PK\3\4')
  data = bytearray(data)
  while place >= 0:
    begin = place + 30 + data[place + 26] + data[place + 28]
    data[begin : begin + 4] = b'\xff' * 4
    place = data.find(b'PK\3\4', begin)
  return bytes(data)


def header(old, new):
  return lambda data: data.replace(old, new, 1)


DAMAGES = {
  'a header with an open parenthesis': archive(header(b"'shape': (", b"'shape': [")),
  'a header without an end': archive(header(b'}', b' ')),
  'a header that is an expression': archive(header(b"{'descr'", b"('descr'")),
  'negative sizes': archive(header(b'(4', b'-4')),
  'a huge size': archive(header(b'(4', b'(9' + b'9' * 20)),
  'another type': archive(header(b'<f', b'<q')),
  'objects': archive(header(b"'<f4'", b"'|O4'")),
  'encrypted': archive(spoil=flagged),
  'an unknown compression': archive(spoil=of_unknown_method),
  'a deflated member that is none': archive(spoil=inflated, compression=zipfile.ZIP_DEFLATED),
  'empty members': archive(lambda data: b''),
  'half of it': archive()[: len(archive()) // 2],
  'nothing': b'',
}


def read_outputs(path):
  folder = path.parent / 'records'
  synthetic_records.write_records(folder, {'a': 4}, RecordParams(image_size=16, image_format='png'))
  targets = precomputed.load(path).targets(records.read_manifest(folder))
  return targets('a', 0)


READERS = {
  'outputs': read_outputs,
  'features': lambda path: files.read(path, ['pool5']),
  'inference': readers.read_inference,
}


@pytest.mark.parametrize('reader', READERS)
def test_the_undamaged_file_is_read(tmp_path, reader):
  names = [name for name in ARRAYS if reader != 'outputs' or name == 'a']  # of outputs, all are videos
  np.savez(tmp_path / 'x.npz', **{name: ARRAYS[name] for name in names})
  READERS[reader](tmp_path / 'x.npz')


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('reader', READERS)
def test_damage_is_one_line(tmp_path, reader, damage):
  (tmp_path / 'x.npz').write_bytes(DAMAGES[damage])
  with pytest.raises(UserError, match=r'x\.npz: '):
    READERS[reader](tmp_path / 'x.npz')


@pytest.mark.parametrize('reader', ['features', 'inference'])
def test_what_unpacks_to_more_than_the_memory_is_one_line(tmp_path, reader, monkeypatch):
  monkeypatch.setattr(array_files, 'memory_bytes', lambda: 20_000)
  rows = np.full([4, 10_000], 1e-4, np.float32)
  arrays = ARRAYS | {'pool5': rows, 'probabilities': rows}
  np.savez(tmp_path / 'stored.npz', **arrays)
  READERS[reader](tmp_path / 'stored.npz')
  np.savez_compressed(tmp_path / 'x.npz', **arrays)
  with pytest.raises(UserError, match=r'x\.npz: .*unpacks to'):
    READERS[reader](tmp_path / 'x.npz')


@pytest.mark.parametrize(
  ('old', 'new'), [(b'(4', b'h4'), (b'}', b' '), (b"'descr'", b'"""'), (b'(4', b'(\x004'), (b'(4, 3)', b'(4, 3')]
)
def test_a_damaged_header_of_npy_is_one_line(tmp_path, old, new):
  (tmp_path / 'x.npy').write_bytes(npy(ROWS).replace(old, new, 1))
  with pytest.raises(UserError, match=r'x\.npy: not readable as \.npy'):
    precomputed.load(tmp_path / 'x.npy')
