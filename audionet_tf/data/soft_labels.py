"""Stored soft labels: what teachers predict for the pictures of a dataset, beside its sound.

`RECORDS/labels/<key>/` holds, for every shard of the records, one TFRecord file with the same windows in the same
order. The key is a digest of the records and the teachers: other records or another teacher make another folder.
An Example is a block of up to input_pipeline.BLOCK_WINDOWS windows: read one by one, small Examples cost more than
what is in them.

| feature          | dtype | holds, for the n windows of the block one after another                |
|------------------|-------|------------------------------------------------------------------------|
| `audio/pcm`      | bytes | as in the record: int16, little endian                                 |
| `video`          | int64 | n positions in the manifest's list of videos                           |
| `index`          | int64 | n numbers of windows                                                   |
| `teacher/<name>` | bytes | float16, little endian, n x A x classes: probabilities, A one per      |
|                  |       | picture and 1 where there are none. Normalise them: rounding moves the |
|                  |       | sum by 0.001, and those below 3e-8 become 0                            |
"""

import dataclasses
import json
import pathlib

import tensorflow as tf

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, input_pipeline, params, records, tfrecord_io
from audionet_tf.data.batch_keys import TEACHER
from audionet_tf.data.input_pipeline import Source


def label_source(folder, manifest):
  """Source of stored labels (`soft_labels`, where their form is described): batches with `teacher/<name>`."""
  params = manifest['params']
  classes = {TEACHER + name: len(teacher['classes']) for name, teacher in manifest['teachers'].items()}
  kinds = {TEACHER + name: teacher['description'].get('outputs') for name, teacher in manifest['teachers'].items()}
  plain = [name for name, kind in kinds.items() if kind == batch_keys.MULTI_LABEL]  # no distributions
  spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ('audio/pcm', *classes)}
  spec |= {name: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True) for name in ('video', 'index')}

  def parse(serialized):
    block = tf.io.parse_single_example(serialized, spec)
    pcm = tf.io.decode_raw(block.pop('audio/pcm'), tf.int16, little_endian=True)
    block['pcm'] = tf.reshape(pcm, [-1, params.window_samples])
    for name, count in classes.items():
      answers = tf.io.decode_raw(block[name], tf.float16, little_endian=True)
      block[name] = tf.reshape(answers, [-1, params.answers_per_window, count])
    return block

  def finish(block):
    return {
      'audio': records.scaled_pcm(block['pcm']),
      'video_id': block['video'],
      'index': block['index'],
      'mask': tf.ones_like(block['index'], tf.float32),
      **{name: tf.cast(block[name], tf.float32) for name in plain},
      **{name: batch_keys.soft_targets(block[name]) for name in classes if name not in plain},
    }

  def blocks(path):
    return tf.data.TFRecordDataset(path).map(parse)

  return Source(records.shard_paths(folder, manifest), blocks, finish, input_pipeline.shuffle_windows(params))


FORMAT_VERSION = 1
FOLDER = 'labels'


def is_whole(folder, teachers):
  """Whether all shards and the manifest are there, with the teachers' present class names."""
  try:
    stored = read_manifest(folder)['teachers']
  except UserError:
    return False
  return all(stored[teacher.name]['classes'] == list(teacher.class_names) for teacher in teachers)


def write_manifest(folder, manifest, teachers, shards):
  """Writes the labels' manifest; `shards`: list of (name, windows)."""
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
  """Whether a shard is there with all its windows."""
  try:
    return len(tfrecord_io.record_offsets(path)) == -(-windows // input_pipeline.BLOCK_WINDOWS)
  except (FileNotFoundError, UserError):
    return False


def read_manifest(folder):
  """The manifest of a folder of stored labels, as a dict with `params` as RecordParams.

  Keys: `format_version`; `records_digest`; `params`; `windows`; `videos`: list of ids; `teachers`: dict of name to
  `description`, `digest`, `classes` (names); `shards`: list of dicts `name`, `windows`, `bytes`.

  Raises UserError: no manifest, another format, a shard missing or cut short.
  """
  folder = pathlib.Path(folder)
  path = folder / records.MANIFEST_NAME
  if not path.is_file():
    raise UserError(f'{folder}: no finished soft labels here ({records.MANIFEST_NAME} is missing); train again')
  try:
    manifest = json.loads(path.read_text())
    version = manifest['format_version']
    if version != FORMAT_VERSION:
      raise UserError(f'{path}: format {version}, this program reads {FORMAT_VERSION}; delete the folder')
    manifest['params'] = params.RecordParams(**manifest['params'])
    for shard in manifest['shards']:
      shard['name'], shard['bytes'], shard['windows']
    for key in ('records_digest', 'windows', 'videos', 'teachers'):
      manifest[key]
  except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
    raise UserError(f'{path}: not a manifest of soft labels ({text.brief(error)})') from None
  records.check_shards(folder, manifest['shards'], 'delete the folder, and training makes it again')
  return manifest
