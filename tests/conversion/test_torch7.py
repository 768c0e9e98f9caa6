"""Torch7's files: values, tensors that stay within their storage, no functions, no trusted sizes."""

import struct

import hostile_files
import numpy as np
import pytest
import soundnet_files

from audionet_tf.conversion import torch7


def test_values_of_torch7(tmp_path):
  path = tmp_path / 'x.t7'
  path.write_bytes(soundnet_files.T7().value({'a': 2.5, 'b': True, 'c': 'x', 3: hostile_files.T7_CONTENT, 'd': {}}).out)
  content = torch7.read(path)
  assert (content['a'], content['b'], content['c'], content['d']) == (2.5, True, 'x', {})
  assert content[3].name == 'nn.Sequential' and content[3].fields['modules'][2] is None
  np.testing.assert_array_equal(
    content[3].fields['modules'][1].fields['weight'].array(), np.arange(24.0).reshape(2, 3, 4)
  )


def reference(kind, number):
  return struct.pack('<ii', kind, number)


def test_references_to_itself_and_to_others(tmp_path):
  path = tmp_path / 'x.t7'
  storage = soundnet_files.T7()
  storage.number = 7
  storage.value(np.arange(6, dtype='f4'))  # objects 8, and 9 of the storage
  view = reference(4, 50) + struct.pack('<i', 3) + b'V 1' + struct.pack('<i', 17) + b'torch.FloatTensor'
  view += struct.pack('<i5q', 2, 2, 2, 3, 1, 2) + reference(4, 9)  # 2 x 2, strides 3 and 1, from the second number
  entries = [(1, reference(3, 1)), (2, storage.out), (3, view), (4, reference(4, 8))]
  out = reference(3, 1) + struct.pack('<i', len(entries))
  for key, value in entries:
    out += struct.pack('<id', 1, key) + value
  path.write_bytes(out)
  content = torch7.read(path)
  assert content[1] is content and content[4] is content[2]
  np.testing.assert_array_equal(content[3].array(), [[1, 2], [4, 5]])


def tensor(sizes, strides, offset, numbers=4, declared=None):
  """A FloatTensor, as the file declares it, over a storage of `numbers`."""
  out = reference(4, 1) + struct.pack('<i', 17) + b'torch.FloatTensor'
  out += struct.pack(f'<i{len(sizes) + len(strides) + 1}q', len(sizes), *sizes, *strides, offset)
  out += reference(4, 2) + struct.pack('<i', 18) + b'torch.FloatStorage'
  return out + struct.pack('<q', numbers if declared is None else declared) + struct.pack('<4f', 0, 1, 2, 3)


@pytest.mark.parametrize(
  'sizes, strides, offset',
  [
    ([5], [1], 1),
    ([4], [1], 2),
    ([2, 2], [3, 1], 2),
    ([2**40], [0], 1),
    ([2**62], [2**62], 1),
    ([-4], [1], 1),
    ([4], [-1], 4),
    ([4], [1], -3),
    ([4], [1], 0),
    ([1], [1], 2**62),
  ],
)
def test_tensor_beyond_its_storage_is_refused(tmp_path, sizes, strides, offset):
  (tmp_path / 'x.t7').write_bytes(tensor(sizes, strides, offset))
  with pytest.raises(ValueError, match='sizes'):
    torch7.read(tmp_path / 'x.t7').array()


@pytest.mark.parametrize(
  'sizes, strides, expected',
  [([4], [1], [0, 1, 2, 3]), ([2, 2], [1, 2], [[0, 2], [1, 3]]), ([1], [2**62], [0]), ([], [], []), ([0], [1], [])],
)
def test_tensor_within_its_storage(tmp_path, sizes, strides, expected):
  (tmp_path / 'x.t7').write_bytes(tensor(sizes, strides, 1))
  np.testing.assert_array_equal(torch7.read(tmp_path / 'x.t7').array(), expected)


def nested(depth):
  return b''.join(reference(3, i + 1) + struct.pack('<iid', 1, 1, 1) for i in range(depth)) + struct.pack('<i', 0)


@pytest.mark.parametrize(
  'data, expected',
  [
    (b'', 'not a readable .t7'),
    (reference(6, 1) + struct.pack('<i', 2) + b'hi', 'holds a function, and code is not read'),
    (reference(7, 1), 'function'),
    (reference(8, 1), 'function'),
    (reference(9, 1), '9 is no kind of value'),
    (reference(-1, 1), '-1 is no kind of value'),
    (struct.pack('<ii', 2, 2**31 - 1) + b'abc', '2147483647 bytes are declared at byte 8, where 3 are left'),
    (struct.pack('<ii', 2, -5) + b'abc', '-5 bytes are declared'),
    (tensor([4], [1], 1, declared=2**60), 'bytes are declared'),
    (tensor([4], [1], 1, declared=-1), '-4 bytes are declared'),
    (
      reference(4, 1) + struct.pack('<i', 17) + b'torch.FloatTensor' + struct.pack('<i', 2**30),
      '1073741824 dimensions',
    ),
    (reference(4, 1) + struct.pack('<i', 15) + b'torch.Generator', 'holds a torch.Generator, which is not read'),
    (reference(3, 1) + struct.pack('<i', 2**31 - 1), 'bytes are declared'),
    (nested(5000), 'nested more than 100 deep'),
  ],
)
def test_malformed_files_are_refused(tmp_path, data, expected):
  (tmp_path / 'x.t7').write_bytes(data)
  hostile_files.refused(torch7.read, tmp_path / 'x.t7', expected)


def test_number_of_values_is_limited(tmp_path, monkeypatch):
  monkeypatch.setattr(torch7, 'MAX_VALUES', 30)
  (tmp_path / 'x.t7').write_bytes(soundnet_files.T7().value({i: i for i in range(20)}).out)
  hostile_files.refused(torch7.read, tmp_path / 'x.t7', 'more than 30 values')
