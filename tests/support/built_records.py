"""Builds small records for tests, and reads them without the code under test where that matters."""

import io
import pathlib

import media_clips
import numpy as np
from PIL import Image

from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import tfrecord_io
from tfrecords import builder

PNG = RecordParams(image_format='png', image_size=16)


def build(videos, output, params=PNG, **kwargs):
  return builder.build([str(v) for v in np.atleast_1d(videos)], output, params, **kwargs)


def read(folder):
  """Every window in the order of the shards, list of dicts of feature name to list of values; checks the CRCs."""
  rows, manifest = [], records.read_manifest(folder)
  for path in records.shard_paths(folder, manifest):
    data = pathlib.Path(path).read_bytes()
    for offset, length in tfrecord_io.record_offsets(path):
      payload = data[offset + 12 : offset + length - 4]
      assert tfrecord_io.framed(payload) == data[offset : offset + length]
      example = tfrecord_io.example_class().FromString(payload)
      features = example.features.feature
      rows.append({k: list(features[k].bytes_list.value or features[k].int64_list.value) for k in features})
  return rows


def by_index(folder, video_id):
  rows = [row for row in read(folder) if row['video/id'] == [video_id.encode()]]
  return dict(sorted((row['window/index'][0], row) for row in rows))


def greys(row):
  return [np.asarray(Image.open(io.BytesIO(data)))[8, 8, 0] for data in row['image/encoded']]


def pcm(row):
  return np.frombuffer(row['audio/pcm'][0], '<i2') / 32768


def shard_bytes(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == '.tfrecord'}


def three(folder):
  folder.mkdir()
  for i, name in enumerate(('a.mkv', 'b.mkv', 'c.mkv')):
    media_clips.write(folder / name, seconds=0.6 + 0.2 * i)
  return folder
