"""Small records and teachers for tests of the pass that stores answers, read back with TensorFlow's own Example."""

import dataclasses
import io
import json
import struct

import numpy as np
import PIL.Image
import tensorflow as tf

from audionet_tf.data import input_pipeline, records
from audionet_tf.data import params as data_params
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.teachers import frozen_teacher

CLASSES = 5
WEIGHTS = np.random.default_rng(2).normal(0, 0.02, [3, CLASSES]).astype(np.float32)


class Interrupted(Exception):
  """Stands for the end of the process in the middle of a shard."""


def predict(images):
  """The tests' teacher, in TensorFlow: softmax of the mean colour times a matrix."""
  return tf.nn.softmax(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) @ WEIGHTS)


def make_teacher(batch_sizes=None, stop_after=None, name='colours', in_graph=False, digest='d1', **description):
  """A Teacher that notes the sizes of its batches in `batch_sizes` and raises after `stop_after` of them."""

  def probabilities(images):
    if batch_sizes is not None:
      batch_sizes.append(len(images))
      if stop_after is not None and len(batch_sizes) > stop_after:
        raise Interrupted
    return predict(images)

  names = [f'colour {i}' for i in range(CLASSES)]
  return frozen_teacher.Teacher(name, names, probabilities, in_graph, {'source': 'a test'} | description, digest)


def picture(colour):
  file = io.BytesIO()
  PIL.Image.new('RGB', (16, 16), tuple(int(part) for part in colour)).save(file, 'PNG')
  return file.getvalue()


def write_records(folder, pictures=2, same_picture=False, shards=3, windows=21):
  """Records of two videos, each picture of a random colour: (manifest, shards of (video, index, pcm, colours))."""
  params = data_params.RecordParams(
    window_seconds=0.01, hop_seconds=0.01, images_per_window=pictures, image_size=16, image_format='png'
  )
  rng = np.random.default_rng(0)
  written = [[] for _ in range(shards)]
  for number in range(windows):
    video, index = number % 2, number // 2
    pcm = rng.integers(-32768, 32768, params.window_samples).astype(np.int16)
    colours = np.full([pictures, 3], 77) if same_picture else rng.integers(0, 256, [pictures, 3])
    written[number % shards].append((video, index, pcm, colours))
  listed = []
  folder.mkdir(exist_ok=True)
  for number, shard in enumerate(written):
    path = folder / f'records-{number}.tfrecord'
    examples = [
      records.window_example(params, f'video {video}', index, pcm, [picture(colour) for colour in colours])
      for video, index, pcm, colours in shard
    ]
    path.write_bytes(b''.join(tfrecord_io.framed(example) for example in examples))
    listed.append({'name': path.name, 'windows': len(shard), 'bytes': path.stat().st_size})
  content = {
    'schema_version': records.SCHEMA_VERSION,
    'params': dataclasses.asdict(params),
    'windows': windows,
    'digest': 'records 1',
    'videos': [
      {'id': f'video {video}', 'digest': '', 'windows': len(range(video, windows, 2)), 'first_window': 0}
      for video in (0, 1)
    ],
    'shards': listed,
  }
  (folder / records.MANIFEST_NAME).write_text(json.dumps(content))
  return records.read_manifest(folder), written


def read_shard(path, pictures=2, teacher='colours'):
  """The windows of a file of blocks, by struct and TensorFlow's Example: dicts `video`, `index`, `pcm`, `outputs`."""
  content, position, windows = path.read_bytes(), 0, []
  while position < len(content):
    (length,) = struct.unpack_from('<Q', content, position)
    block = tf.train.Example.FromString(content[position + 12 : position + 12 + length]).features.feature
    videos, indices = (block[name].int64_list.value for name in ('video', 'index'))
    assert len(videos) == len(indices) <= input_pipeline.BLOCK_WINDOWS
    pcm = np.frombuffer(block['audio/pcm'].bytes_list.value[0], '<i2').reshape(len(videos), -1)
    outputs = np.frombuffer(block[f'teacher/{teacher}'].bytes_list.value[0], '<f2').reshape(-1, pictures, CLASSES)
    windows += [
      {'video': video, 'index': index, 'pcm': sound, 'outputs': rows}
      for video, index, sound, rows in zip(videos, indices, pcm, outputs, strict=True)
    ]
    position += length + 16
  return windows


def expected(colours):
  """The teacher's outputs for pictures of one colour each, in NumPy."""
  powers = np.exp(colours.astype(np.float32) @ WEIGHTS)
  return powers / powers.sum(-1, keepdims=True)
