"""Stored soft labels: what teachers predict for the pictures of a data set, together with its sound.

`RECORDS/labels/<key>/` holds one TFRecord file for every shard of the records, with the same windows in the same order.
The key is a digest of the records and the teachers, so that other records or another teacher get another folder. An
Example is a block of up to input_pipeline.BLOCK_WINDOWS windows, because parsing many small Examples costs more than
what they hold.

| feature          | dtype | content, for the n windows of the block in order                             |
|------------------|-------|------------------------------------------------------------------------------|
| `audio/pcm`      | bytes | as in the record: int16, little-endian                                       |
| `video`          | int64 | n positions in the manifest's list of videos                                 |
| `index`          | int64 | n window numbers                                                             |
| `teacher/<name>` | bytes | probabilities, float16, little-endian, n x T x classes, where T is one per   |
|                  |       | picture, or 1 without pictures. Normalize them: rounding changes the sum by  |
|                  |       | up to 0.001, and values below 3e-8 become 0                                  |
"""

import dataclasses
import json
import pathlib

import tensorflow as tf

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, input_pipeline, params, records, tfrecord_io
from audionet_tf.data.batch_keys import TEACHER

FORMAT_VERSION = 1
FOLDER = 'labels'


def read_manifest(folder):
  """Reads the manifest of a folder of stored labels, and checks that its shards are there.

  Returns:
    dict: `format_version`; `records_digest`; `params`, RecordParams; `windows`; `videos`, list of ids; `teachers`, dict
    of name to dict of `description`, `digest`, `classes` (names); `shards`, list of dicts `name`, `windows`, `bytes`.

  Raises:
    UserError: no manifest, another format, or a shard that is missing or truncated.
  """
  folder = pathlib.Path(folder)
  path = folder / records.MANIFEST_NAME
  if not path.is_file():
    raise UserError(f'{folder}: no finished soft labels here ({records.MANIFEST_NAME} is missing); train again')
  try:
    manifest = json.loads(path.read_text())
    version = manifest['format_version']
    if version != FORMAT_VERSION:
      raise UserError(
        f'{path}: format {version}, but this program reads {FORMAT_VERSION}; delete the folder and train again'
      )
    manifest['params'] = params.RecordParams(**manifest['params'])
    for shard in manifest['shards']:
      shard['name'], shard['bytes'], shard['windows']
    for key in ('records_digest', 'windows', 'videos', 'teachers'):
      manifest[key]
    for teacher in manifest['teachers'].values():
      teacher['digest'], list(teacher['classes']), teacher['description'].get('outputs')
  except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path}: not a manifest of soft labels ({text.brief(error)})') from None
  records.check_shards(folder, manifest['shards'], 'delete the folder and train again')
  return manifest


def label_source(folder, manifest):
  """An input_pipeline.Source of stored labels: its batches have `teacher/<name>`.

  Args:
    folder: of the labels.
    manifest: from `read_manifest`.
  """
  params = manifest['params']
  classes = {TEACHER + name: len(teacher['classes']) for name, teacher in manifest['teachers'].items()}
  multi_label = {
    TEACHER + name
    for name, teacher in manifest['teachers'].items()
    if teacher['description'].get('outputs') == batch_keys.MULTI_LABEL
  }
  spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ('audio/pcm', *classes)}
  spec |= {name: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True) for name in ('video', 'index')}

  def parse(serialized):
    block = tf.io.parse_single_example(serialized, spec)
    pcm = tf.io.decode_raw(block.pop('audio/pcm'), tf.int16, little_endian=True)
    block['pcm'] = tf.reshape(pcm, [-1, params.window_samples])
    for name, count in classes.items():
      targets = tf.io.decode_raw(block[name], tf.float16, little_endian=True)
      block[name] = tf.reshape(targets, [-1, params.answers_per_window, count])
    return block

  def finish(block):
    return {
      'audio': records.scaled_pcm(block['pcm']),
      'video_id': block['video'],
      'index': block['index'],
      'mask': tf.ones_like(block['index'], tf.float32),
      **{
        name: tf.cast(block[name], tf.float32) if name in multi_label else batch_keys.soft_targets(block[name])
        for name in classes
      },
    }

  def blocks(path):
    return tf.data.TFRecordDataset(path).map(parse)

  return input_pipeline.Source(
    records.shard_paths(folder, manifest), blocks, finish, input_pipeline.shuffle_windows(params)
  )


def is_whole(folder, teachers):
  """Whether the manifest and all shards are in the folder, with the teachers' current class names."""
  try:
    stored = read_manifest(folder)['teachers']
  except UserError:
    return False
  return all(stored.get(t.name, {}).get('classes') == list(t.class_names) for t in teachers)


def write_manifest(folder, manifest, teachers, shards):
  """Writes the manifest of stored labels.

  Args:
    folder: pathlib.Path of the labels, with all shards in it.
    manifest: that of the records.
    teachers: list of frozen_teacher.Teacher.
    shards: list of (name, number of windows).
  """
  content = {
    'format_version': FORMAT_VERSION,
    'records_digest': manifest['digest'],
    'params': dataclasses.asdict(manifest['params']),
    'windows': manifest['windows'],
    'videos': [video['id'] for video in manifest['videos']],
    'teachers': {
      teacher.name: {
        'description': teacher.description,
        'digest': teacher.digest,
        'classes': list(teacher.class_names),
      }
      for teacher in teachers
    },
    'shards': [{'name': name, 'windows': windows, 'bytes': (folder / name).stat().st_size} for name, windows in shards],
  }
  files.write_json(folder / records.MANIFEST_NAME, content)


def is_finished(path, windows):
  """Whether a shard exists with all its windows."""
  try:
    return len(tfrecord_io.record_offsets(path)) == -(-windows // input_pipeline.BLOCK_WINDOWS)
  except (FileNotFoundError, UserError):
    return False
