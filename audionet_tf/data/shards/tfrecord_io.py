"""tf.train.Example and TFRecord framing without TensorFlow, whose import takes longer than building a short video.

The message is declared here for the protobuf library; a test parses the bytes with TensorFlow's own classes.
"""

import functools
import os
import struct

import google_crc32c
import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror

BUFFER_BYTES = 1 << 18  # of files of records: Python's own 8 kB take a system call every few records


@functools.cache
def example_class():
  """The message class of tf.train.Example, in a descriptor pool of its own: TensorFlow may be loaded as well."""
  from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

  field = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(name='audionet_example.proto', package='tensorflow', syntax='proto3')

  def message(name, *fields):
    proto = file.message_type.add(name=name)
    for number, (field_name, label, kind, type_name) in enumerate(fields, 1):
      proto.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name)
    return proto

  one, many, sub = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
  message('BytesList', ('value', many, field.TYPE_BYTES, None))
  message('FloatList', ('value', many, field.TYPE_FLOAT, None))
  message('Int64List', ('value', many, field.TYPE_INT64, None))
  message(
    'Feature',
    ('bytes_list', one, sub, '.tensorflow.BytesList'),
    ('float_list', one, sub, '.tensorflow.FloatList'),
    ('int64_list', one, sub, '.tensorflow.Int64List'),
  )
  features = message('Features', ('feature', many, sub, '.tensorflow.Features.FeatureEntry'))
  entry = features.nested_type.add(name='FeatureEntry')
  entry.options.map_entry = True
  entry.field.add(name='key', number=1, label=one, type=field.TYPE_STRING)
  entry.field.add(name='value', number=2, label=one, type=sub, type_name='.tensorflow.Feature')
  message('Example', ('features', one, sub, '.tensorflow.Features'))
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName('tensorflow.Example'))


def serialize(features):
  """Serializes a dict of feature name to a list of int or bytes as an Example. Equal dicts give equal bytes."""
  example = example_class()()
  for name, values in features.items():
    feature = example.features.feature[name]
    (feature.bytes_list if isinstance(values[0], bytes) else feature.int64_list).value.extend(values)
  return example.SerializeToString(deterministic=True)


def framed(payload):
  """`payload` as a TFRecord: length, its masked CRC, the bytes, their masked CRC, all little-endian."""
  length = struct.pack('<Q', len(payload))
  return b''.join((length, masked_crc(length), payload, masked_crc(payload)))


def masked_crc(data):
  """CRC32C as TFRecord stores it: rotated right by 15 bits, plus a constant."""
  crc = google_crc32c.value(data)
  return struct.pack('<I', (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def unfinished(path):
  """Where a pass over many windows writes the file at `path`, a pathlib.Path; a later run goes on with it."""
  return path.with_name(f'.{path.name}.partial')


def record_offsets(path, allow_truncated=False):
  """Finds the records of a TFRecord file.

  Args:
    path: of the file.
    allow_truncated: whether a truncated last record is left out instead of reported.

  Returns:
    int64 [records, 2]: offset and length of each framed record, in bytes.

  Raises:
    UserError: the file ends inside a record.
  """
  path = store_mirror.present(path)
  size, position, spans = os.path.getsize(path), 0, []
  with open(path, 'rb') as file:
    while position < size:
      file.seek(position)
      header = file.read(8)
      length = struct.unpack('<Q', header)[0] + 16 if len(header) == 8 else size + 1
      if position + length > size and allow_truncated:
        break
      if position + length > size:
        raise UserError(f'{path}: ends inside a record at byte {position}; build it again')
      spans.append((position, length))
      position += length
  return np.array(spans, np.int64).reshape(-1, 2)


def checked_records(path):
  """Reads the records of a TFRecord file one by one and compares their checksums.

  Args:
    path: of the file.

  Yields:
    (offset in bytes, framed record, fault): fault is None, or what is wrong. Nothing behind a damaged length can be
    found, so that this fault is the last.
  """
  path = store_mirror.present(path)
  size, position = os.path.getsize(path), 0
  with open(path, 'rb', buffering=BUFFER_BYTES) as file:
    while position < size:
      header = file.read(12)
      if len(header) == 12 and masked_crc(header[:8]) != header[8:]:
        yield position, header, 'its length has a wrong checksum'
        return
      length = struct.unpack('<Q', header[:8])[0] + 16 if len(header) == 12 else 0
      if not length or position + length > size:
        yield position, header, 'the file ends inside it'
        return
      framed_record = header + file.read(length - 12)
      good = masked_crc(framed_record[12:-4]) == framed_record[-4:]
      yield position, framed_record, None if good else 'wrong checksum'
      position += length


def first_fault(path):
  """The first fault of a TFRecord file, as 'PATH: record at byte N: ...'; None if every checksum is right."""
  if store_mirror.size(path) is None:
    return f'{path}: missing'
  faults = (f'{path}: record at byte {at}: {fault}' for at, _, fault in checked_records(path) if fault)
  return next(faults, None)
