"""The record: one window of sound with its pictures, as a tf.train.Example in TFRecord files.

The schema is the table FEATURES; the writer and the parser both walk it. Writing needs no TensorFlow
(its import costs more than building a short video), so the Example message is declared here for the
protobuf library; a test reads these bytes with TensorFlow's own classes.

| feature               | dtype | count            | holds                                                  |
|-----------------------|-------|------------------|--------------------------------------------------------|
| `schema_version`      | int64 | 1                | SCHEMA_VERSION                                         |
| `video/id`            | bytes | 1                | UTF-8, the same for all windows of a video             |
| `window/index`        | int64 | 1                | k; the window covers [k hop, k hop + window)           |
| `window/start_us`     | int64 | 1                | k hop, in microseconds of presentation time            |
| `audio/sample_rate_hz`| int64 | 1                | rate of the sound                                      |
| `audio/pcm`           | bytes | 1                | mono, int16, little endian, window x rate samples      |
| `image/encoded`       | bytes | T                | JPEG or PNG, RGB, image_size x image_size              |
| `image/time_us`       | int64 | T                | presentation time asked for: the middle of each part   |
"""

import functools
import json
import os
import pathlib
import struct

import google_crc32c
import numpy as np

from audionet_tf import params as params_lib
from audionet_tf.errors import UserError

SCHEMA_VERSION = 1
MANIFEST_NAME = 'manifest.json'
PCM_SCALE = 32768.0  # int16 full scale: stored sample / PCM_SCALE lies in [-1, 1)

ONE, IMAGES = '1', 'T'
FEATURES = {
  'schema_version': ('int64', ONE),
  'video/id': ('bytes', ONE),
  'window/index': ('int64', ONE),
  'window/start_us': ('int64', ONE),
  'audio/sample_rate_hz': ('int64', ONE),
  'audio/pcm': ('bytes', ONE),
  'image/encoded': ('bytes', IMAGES),
  'image/time_us': ('int64', IMAGES),
}


@functools.cache
def example_class():
  """tf.train.Example for the protobuf library, in a pool of its own: TensorFlow may be loaded beside it."""
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
  """A dict of feature name to a list of int or bytes, as the bytes of an Example. Equal dicts give equal bytes."""
  example = example_class()()
  for name, values in features.items():
    feature = example.features.feature[name]
    (feature.bytes_list if isinstance(values[0], bytes) else feature.int64_list).value.extend(values)
  return example.SerializeToString(deterministic=True)


def window_example(params, video_id, index, pcm, images, image_seconds=None):
  """One window as the bytes of an Example; without pictures it has no features of pictures.

  Args:
    params: RecordParams.
    video_id: str.
    index: number of the window.
    pcm: int16 [window_samples].
    images: T encoded images, bytes.
    image_seconds: their T times; None for those that the params say.

  Raises:
    ValueError: a count does not fit the params.
  """
  if pcm.shape != (params.window_samples,) or pcm.dtype != np.int16:
    raise ValueError(f'pcm is {pcm.dtype} {pcm.shape}, expected int16 ({params.window_samples},)')
  if len(images) != params.images_per_window:
    raise ValueError(f'{len(images)} images, expected {params.images_per_window}')
  values = {
    'schema_version': [SCHEMA_VERSION],
    'video/id': [video_id.encode()],
    'window/index': [index],
    'window/start_us': [microseconds(params.start_seconds(index))],
    'audio/sample_rate_hz': [params.sample_rate_hz],
    'audio/pcm': [pcm.astype('<i2').tobytes()],
    'image/encoded': list(images),
    'image/time_us': [microseconds(t) for t in image_seconds or params.image_seconds(index)],
  }
  return serialize({name: values[name] for name in FEATURES if values[name]})


def microseconds(seconds):
  """Seconds (float or Fraction) as integer microseconds."""
  return round(seconds * 1_000_000)


def framed(payload):
  """`payload` as a TFRecord: length, its masked CRC, the bytes, their masked CRC (little endian)."""
  length = struct.pack('<Q', len(payload))
  return b''.join((length, masked_crc(length), payload, masked_crc(payload)))


def masked_crc(data):
  """CRC32C as TFRecord stores it: rotated right by 15 bits plus a constant."""
  crc = google_crc32c.value(data)
  return struct.pack('<I', (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record_offsets(path, cut_short=False):
  """int64 [records, 2]: where each framed record of a TFRecord file begins and how long it is, in bytes.

  Raises UserError where the file ends inside a record; with `cut_short` that record is left out.
  """
  size, position, found = os.path.getsize(path), 0, []
  with open(path, 'rb') as file:
    while position < size:
      file.seek(position)
      header = file.read(8)
      length = struct.unpack('<Q', header)[0] + 16 if len(header) == 8 else size
      if position + length > size and cut_short:
        break
      if position + length > size:
        raise UserError(f'{path}: ends inside a record at byte {position}; build it again')
      found.append((position, length))
      position += length
  return np.array(found, np.int64).reshape(-1, 2)


def read_manifest(folder):
  """The manifest of a folder of records, as a dict with `params` as RecordParams.

  Keys: `schema_version`; `params`; `windows` (in all); `digest` (of the records: changes when any of them does);
  `videos`: list of dicts `id`, `digest`, `windows`, `first_window` (they are numbered without gaps); `shards`: list of
  dicts `name`, `windows`, `bytes`; what the builder adds for itself.

  Raises UserError: no such folder, no manifest, another schema, no windows, a shard missing or cut short.
  """
  folder = pathlib.Path(folder)
  path = folder / MANIFEST_NAME
  if not path.is_file():
    raise UserError(f'{folder}: no records here ({MANIFEST_NAME} is missing); make them with python -m tfrecords.build')
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
    version = manifest['schema_version']
    if version != SCHEMA_VERSION:
      raise UserError(f'{path}: schema version {version}, this program reads {SCHEMA_VERSION}; build the records again')
    manifest['params'] = params_lib.RecordParams(**manifest['params'])
    fields = [
      (manifest, {'windows': int, 'digest': str, 'videos': list, 'shards': list}),
      *((video, {'id': str, 'windows': int, 'first_window': int}) for video in manifest['videos']),
      *((shard, {'name': str, 'windows': int, 'bytes': int}) for shard in manifest['shards']),
    ]
    for row, kinds in fields:
      for key, kind in kinds.items():
        if not isinstance(row[key], kind):
          raise TypeError(f'{key} is {row[key]!r}')
  except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
    raise UserError(f'{path}: not a manifest of this program ({type(error).__name__}: {error})') from None
  if not manifest['windows']:
    raise UserError(f'{folder}: the records are empty; build them again from videos with sound and picture')
  check_shards(folder, manifest['shards'], 'build the records again')
  return manifest


def check_shards(folder, shards, advice):
  """Raises UserError, ending in `advice`, unless each of `shards`, dicts `name` and `bytes`, lies whole in `folder`."""
  for shard in shards:
    path = pathlib.Path(folder) / shard['name']
    if path.name != shard['name']:
      raise UserError(f'{folder}: shard name {shard["name"]!r} leaves the folder')
    if not path.is_file() or path.stat().st_size != shard['bytes']:
      raise UserError(f'{path}: missing or cut short; {advice}')


def shard_paths(folder, manifest):
  """Paths of the shards, in order, as str."""
  return [str(pathlib.Path(folder) / shard['name']) for shard in manifest['shards']]


def parse_batch(serialized, params, images=False):
  """A batch of Examples as named tensors, for use in tf.data after `batch`.

  Args:
    serialized: string [B].
    params: RecordParams of the records.
    images: whether to give the encoded pictures too.

  Returns:
    dict: `audio` f32 [B, samples] in [-1, 1); `video/id` string [B]; `index` int64 [B]; `start_us` int64 [B];
    with images `image/encoded` string [B, T].
  """
  import tensorflow as tf

  wanted = {'video/id': 'video/id', 'index': 'window/index', 'start_us': 'window/start_us', 'audio': 'audio/pcm'}
  if images:
    wanted['image/encoded'] = 'image/encoded'
  dtypes = {'int64': tf.int64, 'bytes': tf.string}
  shapes = {ONE: [], IMAGES: [params.images_per_window]}
  spec = {name: tf.io.FixedLenFeature(shapes[FEATURES[name][1]], dtypes[FEATURES[name][0]]) for name in wanted.values()}
  parsed = tf.io.parse_example(serialized, spec)
  batch = {ours: parsed[theirs] for ours, theirs in wanted.items()}
  batch['audio'] = decode_pcm(batch['audio'], params.window_samples)  # [B, samples]
  return batch


def decode_pcm(pcm, samples):
  """int16 little-endian bytes, string [B], as f32 [B, samples] in [-1, 1). TensorFlow."""
  import tensorflow as tf

  decoded = tf.io.decode_raw(pcm, tf.int16, little_endian=True)
  return tf.ensure_shape(scaled_pcm(decoded), [None, samples])


def scaled_pcm(pcm):
  """int16 samples as f32 in [-1, 1). TensorFlow."""
  import tensorflow as tf

  return tf.cast(pcm, tf.float32) / PCM_SCALE
