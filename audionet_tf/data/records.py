"""The record: one window of sound with its pictures, a tf.train.Example in TFRecord files.

The schema is the table FEATURES, which writer and parser both follow. The builder writes with `tfrecord_io`, which
does not need TensorFlow.

| feature                | dtype | count | content                                                   |
|------------------------|-------|-------|-----------------------------------------------------------|
| `schema_version`       | int64 | 1     | SCHEMA_VERSION                                            |
| `video/id`             | bytes | 1     | UTF-8, the same for all windows of a video                |
| `window/index`         | int64 | 1     | k; the window covers [k hop, k hop + window)              |
| `window/start_us`      | int64 | 1     | k hop, presentation time in microseconds                  |
| `audio/sample_rate_hz` | int64 | 1     | sample rate                                               |
| `audio/pcm`            | bytes | 1     | mono, int16, little-endian, window x rate samples         |
| `image/encoded`        | bytes | T     | JPEG or PNG, RGB, image_size x image_size                 |
| `image/time_us`        | int64 | T     | presentation time: the middle of each part of the window  |
"""

import pathlib

import numpy as np
from google.protobuf import message

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import record_manifest
from audionet_tf.data.record_manifest import MANIFEST_NAME, SCHEMA_VERSION  # noqa: F401 (users of records name them)
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.media.timeline import PCM_SCALE

IMAGE_BYTES = 24_000  # of a typical JPEG
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


def window_example(params, video_id, index, pcm, images, image_seconds=None):
  """Serializes one window as an Example, bytes. Windows without pictures have no `image/` features.

  Args:
    params: RecordParams.
    video_id: str.
    index: number of the window.
    pcm: int16 [window_samples].
    images: T encoded images, bytes.
    image_seconds: their T times; None for those of the params.

  Raises:
    ValueError: the number of samples or images does not match the params.
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
  return tfrecord_io.serialize({name: values[name] for name in FEATURES if values[name]})


def microseconds(seconds):
  """Seconds (float or Fraction) as integer microseconds."""
  return round(seconds * 1_000_000)


def example_at(path, start, length):
  """Reads the features of one framed record. ValueError if its checksum is wrong, or it holds no Example.

  Args:
    path: of the TFRecord file.
    start: bytes before the record.
    length: bytes of the framed record.
  """
  with open(store_mirror.present(path), 'rb') as file:
    file.seek(start)
    framed = file.read(length)
  payload = framed[12:-4]
  if tfrecord_io.framed(payload) != framed:
    raise ValueError(f'record at byte {start} has a wrong checksum')
  try:
    return tfrecord_io.example_class().FromString(payload).features.feature
  except message.DecodeError:
    raise ValueError(f'record at byte {start} holds no Example') from None


def difference(features, params, video_id, index):
  """What in a record is not as it should be.

  Args:
    features: of the parsed Example.
    params: RecordParams.
    video_id, index: of the window that the record should hold.

  Returns:
    str, or None if the record has its place and the right sizes.
  """
  expected = {
    'schema_version': SCHEMA_VERSION,
    'window/start_us': microseconds(params.start_seconds(index)),
    'audio/sample_rate_hz': params.sample_rate_hz,
  }
  ids, indices = list(features['video/id'].bytes_list.value), list(features['window/index'].int64_list.value)
  if (ids, indices) != ([video_id.encode()], [index]):
    names = [name.decode(errors='replace') for name in ids]
    return f'holds window {indices} of {text.brief_value(names)} in place of window {index} of {video_id}'
  for name, value in expected.items():
    if list(features[name].int64_list.value) != [value]:
      return f'{name} is {list(features[name].int64_list.value)[:2]}, expected {value}'
  if [len(pcm) for pcm in features['audio/pcm'].bytes_list.value] != [2 * params.window_samples]:
    return f'its sound has not {params.window_samples} samples'
  counts = len(features['image/encoded'].bytes_list.value), len(features['image/time_us'].int64_list.value)
  if counts != (params.images_per_window, params.images_per_window):
    return f'has {counts[0]} pictures at {counts[1]} times, expected {params.images_per_window}'
  return None


def read_manifest(folder):
  """Reads the manifest of a folder of records, and checks that its shards are there.

  Returns:
    dict: as `record_manifest` describes it, with `params` as RecordParams.

  Raises:
    UserError: no such folder, no manifest, a damaged one, another schema, no windows, or a shard that is missing or
      truncated.
  """
  manifest = record_manifest.read(folder)
  check_shards(folder, manifest['shards'], f'python -m tfrecords.verify {folder} --repair builds it again')
  return manifest


def check_shards(folder, shards, advice):
  """Raises UserError, ending in `advice`, unless every shard is in the folder with its full size.

  Args:
    folder: of the shards.
    shards: list of dicts `name`, `bytes`.
    advice: what to do about it.
  """
  for shard in shards:
    record_manifest.check_name(shard['name'])
    path = pathlib.Path(folder) / shard['name']
    if store_mirror.size(path) != shard['bytes']:
      raise UserError(f'{path}: missing or truncated; {advice}')


def shard_paths(folder, manifest):
  """Paths of the shards, in order, as str."""
  return [str(pathlib.Path(folder) / shard['name']) for shard in manifest['shards']]


def spec_of(name, images_per_window=0):
  """tf.io.FixedLenFeature of a feature."""
  import tensorflow as tf

  kind, count = FEATURES[name]
  shape = {ONE: [], IMAGES: [images_per_window]}[count]
  return tf.io.FixedLenFeature(shape, {'int64': tf.int64, 'bytes': tf.string}[kind])


def parse_batch(serialized, params, images=False):
  """Parses a batch of Examples, for use in tf.data after `batch`.

  Args:
    serialized: string [B].
    params: RecordParams of the records.
    images: whether to return the encoded pictures too.

  Returns:
    dict: `audio` f32 [B, samples] in [-1, 1); `video/id` string [B]; `index` int64 [B]; `start_us` int64 [B];
    with images `image/encoded` string [B, T].
  """
  import tensorflow as tf

  features = {'video/id': 'video/id', 'index': 'window/index', 'start_us': 'window/start_us', 'audio': 'audio/pcm'}
  if images:
    features['image/encoded'] = 'image/encoded'
  spec = {name: spec_of(name, params.images_per_window) for name in features.values()}
  parsed = tf.io.parse_example(serialized, spec)
  batch = {key: parsed[name] for key, name in features.items()}
  batch['audio'] = decode_pcm(batch['audio'], params.window_samples)  # [B, samples]
  return batch


def decode_pcm(pcm, samples):
  """Decodes int16 little-endian bytes, string [B], to f32 [B, samples] in [-1, 1)."""
  import tensorflow as tf

  decoded = tf.io.decode_raw(pcm, tf.int16, little_endian=True)
  return tf.ensure_shape(scaled_pcm(decoded), [None, samples])


def scaled_pcm(pcm):
  """Scales an int16 tensor to f32 in [-1, 1)."""
  import tensorflow as tf

  return tf.cast(pcm, tf.float32) / PCM_SCALE
