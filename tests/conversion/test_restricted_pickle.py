"""Untrusted files of weights: nothing in them runs, no size is trusted, and every fault is a UserError of one line.

Pickles in .npy files, and damage to files of every kind; `test_torch7` has more on Torch7.
"""

import os
import pickle
import random
import struct

import hostile_files
import numpy as np
import pytest
import soundnet_files

from audionet_tf.conversion import converter, restricted_pickle, torch7
from audionet_tf.core.errors import UserError

CONTENT = {'conv1': {'weights': np.arange(24, dtype='f4').reshape(2, 3, 4), 'biases': np.arange(3.0)}, 'b': {}}


class Calls:
  """Pickles as a call of `function`."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


def npy(path, pickled):
  """A .npy of one object whose pickle is `pickled`, bytes."""
  soundnet_files.save_npy(path, None, lambda array: pickled)
  return path


@pytest.mark.parametrize(
  'save',
  [
    lambda path: soundnet_files.save_npy(path, CONTENT),
    lambda path: np.save(path, CONTENT),
    lambda path: soundnet_files.save_npy(path, CONTENT, lambda array: pickle.dumps(array, 2)),
    lambda path: soundnet_files.save_npy(path, CONTENT, lambda array: pickle.dumps(array, 5)),
    lambda path: soundnet_files.save_npy(
      path,
      {
        'conv1': {k: np.asfortranarray(v).astype(v.dtype.newbyteorder('>')) for k, v in CONTENT['conv1'].items()},
        'b': {},
      },
    ),
  ],
)
def test_arrays_equal_numpys(tmp_path, save):
  save(tmp_path / 'x.npy')
  content = restricted_pickle.read(tmp_path / 'x.npy')
  assert list(content) == ['conv1', 'b'] and content['b'] == {}
  for name, values in CONTENT['conv1'].items():
    np.testing.assert_array_equal(content['conv1'][name], values)
    assert content['conv1'][name].dtype.itemsize == values.dtype.itemsize


@pytest.mark.parametrize('place', ['root', 'layer', 'part', 'key'])
@pytest.mark.parametrize('protocol', [2, 4])
def test_pickles_with_calls_are_refused(tmp_path, place, protocol):
  harm = Calls(os.system, f'touch {tmp_path}/harmed')
  content = {'root': harm, 'layer': {'conv1': harm}, 'part': {'conv1': {'weights': harm}}, 'key': {harm: 1}}[place]
  path = tmp_path / 'x.npy'
  soundnet_files.save_npy(path, content, lambda array: pickle.dumps(array, protocol))
  hostile_files.refused(restricted_pickle.read, path, r'refused, it calls (posix|nt|os)\.system; allowed are arrays')
  assert not (tmp_path / 'harmed').exists()


@pytest.mark.parametrize('name', ['builtins eval', '__builtin__ getattr', 'numpy load', 'numpy.core.multiarray scalar'])
def test_only_constructors_of_arrays_are_allowed(tmp_path, name):
  module, function = name.split()
  path = npy(tmp_path / 'x.npy', f'c{module}\n{function}\n'.encode() + b'(V1+1\ntR.')
  hostile_files.refused(restricted_pickle.read, path, f'refused, it calls {module}.{function}')


def array_pickle(shape, code='f4', data=b'\0' * 8, state=b''):
  """Opcodes of {'a': {'b': an array}} as NumPy writes it; `state` follows the dtype."""
  dtype = b'cnumpy\ndtype\n(U' + bytes([len(code)]) + code.encode() + b'I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntb'
  array = b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR'
  array += b'(I1\n(' + b''.join(b'I%d\n' % size for size in shape) + b't' + dtype + state + b'I00\nU'
  array += bytes([len(data)]) + data + b'tb'
  root = b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(t'
  root += b'cnumpy\ndtype\n(U\x02O8I0\nI1\ntRI00\n(}(U\x01a}(U\x01b' + array + b'uultb.'
  return root


@pytest.mark.parametrize(
  'pickled, expected',
  [
    (array_pickle([2**40]), 'an array of shape'),
    (array_pickle([-2, -1]), 'an array of shape'),
    (array_pickle([3]), 'an array of shape'),
    (array_pickle([0, 2**62], data=b''), '.*'),
    (array_pickle([1], code='O8'), 'no array of numbers'),
    (array_pickle([1], code='V8'), "an array of 'V8', expected are numbers"),
    (array_pickle([2], code='f8,O8'), 'expected are numbers'),
    (array_pickle([2], code='zz'), 'zz'),
    (b'r\xff\xff\xff\x7f.', 'more than 20000 operations'),
    (b'N' + b'r\xff\xff\xff\x7f.', 'more than 20000 operations'),
    (b'I1\n' + b'\x85' * 30_000 + b'.', 'more than 20000 operations'),
    (b'\x96' + struct.pack('<Q', 1 << 40) + b'.', 'not a readable .npy'),
    (b'\x8e' + struct.pack('<Q', 1 << 40) + b'.', 'not a readable .npy'),
    (b'\x95' + struct.pack('<Q', 1 << 40) + b'N.', 'not a readable .npy'),
    (b'}.', 'it does not hold one dict'),
    (b'', 'not a readable .npy'),
  ],
)
def test_sizes_in_a_pickle_are_not_trusted(tmp_path, pickled, expected):
  hostile_files.refused(restricted_pickle.read, npy(tmp_path / 'x.npy', pickled), expected)


def test_the_pickle_above_is_readable(tmp_path):
  content = restricted_pickle.read(npy(tmp_path / 'x.npy', array_pickle([2], data=struct.pack('<2f', 1.5, -3))))
  np.testing.assert_array_equal(content['a']['b'], np.array([1.5, -3], 'f4'))


@pytest.mark.parametrize(
  'header, expected',
  [
    (
      b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
      'float32 of shape .2,., expected is one pickled dict',
    ),
    (b"{'descr': '|O', 'fortran_order': False, 'shape': (1000000000000,), }", 'expected is one pickled dict'),
    (b'(' * 9000, 'not a readable .npy'),
    (b"__import__('os').mkdir('x')", 'not a readable .npy'),
  ],
)
def test_headers(tmp_path, header, expected):
  path = tmp_path / 'x.npy'
  path.write_bytes(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header) + 1) + header + b'\n' + b'N.')
  hostile_files.refused(restricted_pickle.read, path, expected)


@pytest.mark.parametrize('module, suffix', [(restricted_pickle, 'npy'), (torch7, 't7')])
def test_files_that_are_too_large(tmp_path, monkeypatch, module, suffix):
  monkeypatch.setattr(module, 'MAX_BYTES', 100)
  (tmp_path / f'x.{suffix}').write_bytes(b'\0' * 101)
  hostile_files.refused(module.read, tmp_path / f'x.{suffix}', '101 bytes, allowed are up to 100')


def whole(path, suffix):
  if suffix == 'npy':
    soundnet_files.save_npy(path, CONTENT)
  else:
    path.write_bytes(soundnet_files.T7().value(hostile_files.T7_CONTENT).out)
  return path.read_bytes()


@pytest.mark.parametrize('module, suffix', [(restricted_pickle, 'npy'), (torch7, 't7')])
def test_every_truncation_is_a_user_error(tmp_path, module, suffix):
  path = tmp_path / f'x.{suffix}'
  data = whole(path, suffix)
  for size in range(len(data)):
    path.write_bytes(data[:size])
    with pytest.raises(UserError, match='x.'):
      module.read(path)


@pytest.mark.parametrize('module, suffix', [(restricted_pickle, 'npy'), (torch7, 't7')])
def test_damage_is_a_user_error_or_harmless(tmp_path, module, suffix):
  path = tmp_path / f'x.{suffix}'
  data, generator = whole(path, suffix), random.Random(0)
  refusals = 0
  for _ in range(1000):
    damaged = bytearray(data)
    for _ in range(generator.randint(1, 3)):
      damaged[generator.randrange(len(data))] = generator.choice([0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)])
    path.write_bytes(damaged)
    try:
      module.read(path)
    except UserError:
      refusals += 1
  assert refusals > 100


def test_weights_must_be_finite_floats():
  good = {'a': np.ones(3, 'f8')}
  assert converter.floats('x', good)['a'].dtype == np.float32
  for values, expected in (
    (np.array([1, np.nan]), 'a holds numbers that are not finite'),
    (np.array([1, -np.inf], 'f4'), 'a holds numbers that are not finite'),
    (np.array([1e39]), 'a holds numbers that are not finite'),
    (np.ones(2, 'c8'), 'a is of complex64, expected are floating-point numbers'),
    (np.ones(2, bool), 'a is of bool'),
  ):
    with pytest.raises(UserError, match=f'x: unfit weights: {expected}'):
      converter.floats('x', {'a': values})
