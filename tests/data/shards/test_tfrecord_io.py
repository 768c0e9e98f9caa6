"""TFRecord files that are cut or damaged at every byte, and Examples, against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data.shards import tfrecord_io

PAYLOADS = [b'', b'abc', b'x' * 20]
STARTS = [0, 16, 35]  # 16 bytes of a frame around each
DATA = b''.join(map(tfrecord_io.framed, PAYLOADS))
WHOLE = [DATA[start:end] for start, end in zip(STARTS, [*STARTS[1:], len(DATA)], strict=True)]
ENDS_INSIDE, WRONG_LENGTH, WRONG = 'the file ends inside it', 'its length has a wrong checksum', 'wrong checksum'


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'x.tfrecord'


def faults_of(path):
  return [(offset, fault) for offset, _, fault in tfrecord_io.checked_records(path)]


def test_tensorflow_writes_the_same_frames(path):
  with tf.io.TFRecordWriter(str(path)) as writer:
    for payload in PAYLOADS:
      writer.write(payload)
  assert path.read_bytes() == DATA
  assert list(tfrecord_io.checked_records(path)) == [
    (start, whole, None) for start, whole in zip(STARTS, WHOLE, strict=True)
  ]
  assert tfrecord_io.first_fault(path) is None


@pytest.mark.parametrize('size', range(len(DATA) + 1))
def test_a_file_that_is_cut_has_the_records_before_the_cut(path, size):
  path.write_bytes(DATA[:size])
  kept = [i for i in range(3) if STARTS[i] + len(WHOLE[i]) <= size]
  spans = [[STARTS[i], len(WHOLE[i])] for i in kept]
  found = tfrecord_io.record_offsets(path, allow_truncated=True)
  assert found.tolist() == spans and found.shape == (len(kept), 2) and found.dtype == np.int64
  good = [(STARTS[i], None) for i in kept]
  if size in (0, *STARTS, len(DATA)):
    assert tfrecord_io.record_offsets(path).tolist() == spans
    assert faults_of(path) == good and tfrecord_io.first_fault(path) is None
    return
  begun = STARTS[len(kept)]
  with pytest.raises(UserError, match=f'x.tfrecord: ends inside a record at byte {begun};'):
    tfrecord_io.record_offsets(path)
  assert faults_of(path) == [*good, (begun, ENDS_INSIDE)]
  assert tfrecord_io.first_fault(path) == f'{path}: record at byte {begun}: {ENDS_INSIDE}'


@pytest.mark.parametrize('place', range(len(DATA)))
def test_a_flipped_bit_is_in_the_length_or_in_the_content(path, place):
  """Behind a damaged length nothing can be found; behind damaged content all is."""
  content = bytearray(DATA)
  content[place] ^= 1 << place % 8
  path.write_bytes(content)
  number = max(i for i in range(3) if STARTS[i] <= place)
  before, behind = ([(STARTS[i], None) for i in part] for part in (range(number), range(number + 1, 3)))
  of_length = place - STARTS[number] < 12
  fault = WRONG_LENGTH if of_length else WRONG
  assert faults_of(path) == [*before, (STARTS[number], fault), *([] if of_length else behind)]
  assert tfrecord_io.first_fault(path) == f'{path}: record at byte {STARTS[number]}: {fault}'


def test_a_missing_file_is_a_fault(path):
  assert tfrecord_io.first_fault(path) == f'{path}: missing'


def test_examples_are_tensorflows():
  features = {'b': [b'x', b'\xff'], 'a': [3, -1], 'empty bytes': [b'']}
  example = tf.train.Example.FromString(tfrecord_io.serialize(features))
  assert list(example.features.feature['b'].bytes_list.value) == [b'x', b'\xff']
  assert list(example.features.feature['a'].int64_list.value) == [3, -1]
  assert list(example.features.feature['empty bytes'].bytes_list.value) == [b'']
  example.features.feature['f'].float_list.value.extend([0.5, -2])
  parsed = tfrecord_io.example_class().FromString(example.SerializeToString())
  assert list(parsed.features.feature['f'].float_list.value) == [0.5, -2]


def test_equal_features_give_equal_bytes_in_any_order():
  features = {name: [number] for number, name in enumerate('qwertyuiop')}
  backwards = dict(reversed(features.items()))
  assert tfrecord_io.serialize(features) == tfrecord_io.serialize(backwards)
