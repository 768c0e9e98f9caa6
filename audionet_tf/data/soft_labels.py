"""Stored soft labels: what teachers predict for the pictures of a data set, together with the sound of short windows.

`RECORDS/labels/<key>/` holds one TFRecord file for every shard of the records, with the same windows in the same order.
The key is a digest of the records and the teachers, so that other records or another teacher get another folder. An
Example is a block of up to input_pipeline.BLOCK_WINDOWS windows, because parsing many small Examples costs more than
what they hold.

| feature          | dtype | content, for the n windows of the block in order                             |
|------------------|-------|------------------------------------------------------------------------------|
| `audio/pcm`      | bytes | as in the record: int16, little-endian; absent where `reads_records`         |
| `video`          | int64 | n positions in the manifest's list of videos                                 |
| `index`          | int64 | n window numbers                                                             |
| `teacher/<name>` | bytes | probabilities, float16, little-endian, n x T x classes, where T is one per   |
|                  |       | picture, or 1 without pictures. Normalize them: rounding changes the sum by  |
|                  |       | up to 0.001, and values below 3e-8 become 0. Of an embedding, its numbers    |
"""

import dataclasses
import json
import pathlib

from audionet_tf.core import digests, sealed_json, text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import batch_keys, record_manifest, records, video_table
from audionet_tf.data.batch_keys import TEACHER
from audionet_tf.data.shards import tfrecord_io

FORMAT_VERSION = 1
FOLDER = 'labels'
LEAST_SOUND_BYTES, SOUND_TO_PICTURES = 1 << 16, 4  # of a window whose sound is read from the records
KEYS = {'format_version': int, 'records_digest': str, 'windows': int, 'videos': list, 'teachers': dict, 'shards': list}
OUTPUT_SETTINGS = ('dtype', 'input_range', 'outputs')  # parts of a teacher's description that change its outputs


def key(records_digest, teachers):
  """Name of the folder: 16 hex digits of a digest of all that changes the stored outputs.

  Args:
    records_digest: of the records.
    teachers: dict of name to dict of `digest` and `description`.
  """
  identity = {
    name: [teacher['digest'], *(teacher['description'].get(part) for part in OUTPUT_SETTINGS)]
    for name, teacher in teachers.items()
  }
  return digests.of_text(json.dumps([FORMAT_VERSION, records_digest, identity], sort_keys=True))[:16]


def reads_records(params):
  """Whether training reads the sound from the records, so that it is not stored twice.

  It does where windows are long and pictures are the smaller part by far, as they are read along; short windows are
  read in blocks instead.
  """
  sound_bytes, image_bytes = 2 * params.window_samples, records.IMAGE_BYTES * params.images_per_window
  return sound_bytes >= LEAST_SOUND_BYTES and sound_bytes >= SOUND_TO_PICTURES * image_bytes


def read_manifest(folder):
  """Reads the manifest of a folder of stored labels, and checks that its shards are there.

  Returns:
    dict: `format_version`; `records_digest`; `params`, RecordParams; `windows`; `videos`, as
    `listed_videos`; `teachers`, dict of name to dict of `description`, `digest`, `classes` (names); `shards`, list of
    dicts `name`, `windows`, `bytes`; and if it has no sound `sound`, list of the names of the records' shards.

  Raises:
    UserError: no manifest, another format, or a shard that is missing or truncated.
  """
  manifest = parse_manifest(folder)
  records.check_shards(folder, manifest['shards'], advice_for(folder))
  return manifest


def advice_for(folder):
  """What to do about damaged answers in a folder."""
  if store_mirror.mirror_of(folder):  # verify repairs on this machine only
    return f'delete {folder} and train again'
  return f'python -m tfrecords.verify {pathlib.Path(folder).parents[1]} --repair takes it away, then train again'


def parse_manifest(folder):
  """As `read_manifest`, without a look at the shards."""
  folder = pathlib.Path(folder)
  path, kind = folder / records.MANIFEST_NAME, 'a manifest of soft labels'
  if not path.is_file():
    raise UserError(f'{folder}: no finished soft labels here ({records.MANIFEST_NAME} is missing); train again')
  manifest = sealed_json.read(path, kind, advice_for(folder))
  version = manifest.get('format_version')
  if type(version) is int and version != FORMAT_VERSION:
    raise UserError(
      f'{path}: format {version}, but this program reads {FORMAT_VERSION}; delete the folder and train again'
    )
  try:
    manifest['params'] = record_manifest.checked_params(manifest['params'])
    record_manifest.check_types(manifest, KEYS)
    for shard in manifest['shards']:
      record_manifest.check_types(shard, record_manifest.SHARD_KEYS)
    names = [shard['name'] for shard in manifest['shards']]
    sound = manifest.get('sound', names)
    for name in (*names, *sound):
      record_manifest.check_name(name)
    if len(sound) != len(names):
      raise ValueError('other names of shards with sound than shards')
    for teacher in manifest['teachers'].values():
      teacher['digest'], teacher['description'].get, len(teacher['classes'])
    if sum(shard['windows'] for shard in manifest['shards']) != manifest['windows']:
      raise ValueError(f'{manifest["windows"]} windows, but shards with others')
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path}: not {kind} ({text.brief(error)}); {advice_for(folder)}') from None
  return manifest


def label_source(folder, manifest):
  """An input_pipeline.Source of stored labels: its batches have `teacher/<name>`.

  Args:
    folder: of the labels.
    manifest: from `read_manifest`.
  """
  import tensorflow as tf

  from audionet_tf.data import input_pipeline
  from audionet_tf.data.shards import shard_reading

  params = manifest['params']
  classes = {TEACHER + name: len(teacher['classes']) for name, teacher in manifest['teachers'].items()}
  unchanged = {
    TEACHER + name
    for name, teacher in manifest['teachers'].items()
    if teacher['description'].get('outputs') in (batch_keys.MULTI_LABEL, batch_keys.EMBEDDING)
  }
  own_sound = 'sound' not in manifest
  spec = {name: tf.io.FixedLenFeature([], tf.string) for name in (*(['audio/pcm'] if own_sound else []), *classes)}
  spec |= {name: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True) for name in ('video', 'index')}

  def parse(serialized):
    block = tf.io.parse_single_example(serialized, spec)
    if own_sound:
      block['pcm'] = decoded(block.pop('audio/pcm'))
    for name, count in classes.items():
      targets = tf.io.decode_raw(block[name], tf.float16, little_endian=True)
      block[name] = tf.reshape(targets, [-1, params.answers_per_window, count])
    return block

  def decoded(pcm):
    return tf.reshape(tf.io.decode_raw(pcm, tf.int16, little_endian=True), [-1, params.window_samples])

  def add_sound(block, serialized):
    window = tf.io.parse_example(serialized, {name: records.spec_of(name) for name in ('audio/pcm', 'window/index')})
    same = tf.debugging.assert_equal(window['window/index'], block['index'], 'not the windows of the records')
    with tf.control_dependencies([same]):
      return block | {'pcm': decoded(window['audio/pcm'])}

  def finish(block):
    return {
      'audio': records.scaled_pcm(block['pcm']),
      'video_id': block['video'],
      'index': block['index'],
      'mask': tf.ones_like(block['index'], tf.float32),
      **{
        name: tf.cast(block[name], tf.float32) if name in unchanged else batch_keys.soft_targets(block[name])
        for name in classes
      },
    }

  paths = records.shard_paths(folder, manifest)
  if not own_sound:
    sounds = [str(pathlib.Path(folder).parents[1] / name) for name in manifest['sound']]
    names = [shard['name'] for shard in manifest['shards']]  # a path may be that of a copy from a store
    sound_of = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, shard_reading.tensor(sounds)), '')

  def blocks(path):
    labels = tf.data.TFRecordDataset(path).map(parse)
    if own_sound:
      return labels
    name = tf.strings.split(tf.convert_to_tensor(path), '/')[-1]
    sound = shard_reading.at_hand(tf.data.Dataset.from_tensors(sound_of.lookup(name)), sounds)
    windows = sound.flat_map(tf.data.TFRecordDataset)
    return tf.data.Dataset.zip((labels, windows.batch(input_pipeline.BLOCK_WINDOWS))).map(add_sound)

  return input_pipeline.Source(paths, blocks, finish, input_pipeline.shuffle_windows(params))


def is_whole(folder, manifest, teachers):
  """Whether manifest and shards are in the folder: of these records and teachers, with their current class names.

  Args:
    folder: pathlib.Path of the labels.
    manifest: that of the records.
    teachers: as for `write_manifest`.
  """
  try:
    stored = read_manifest(folder)
  except UserError:
    return False
  same = all(
    stored['teachers'].get(name, {}).get('classes') == teacher['classes'] for name, teacher in teachers.items()
  )
  windows = [[row['windows'] for row in rows['shards']] for rows in (stored, manifest)]
  names = [row['name'] for row in manifest['shards']]
  same &= stored.get('sound', names) == names
  same &= stored['videos'] == listed_videos(manifest) and windows[0] == windows[1]
  return same and key(stored['records_digest'], stored['teachers']) == key(manifest['digest'], teachers)


def listed_videos(manifest):
  """List of the ids of a manifest of records; empty where it has more than video_table.IN_JSON, in a table."""
  videos = manifest['videos']
  return [video['id'] for video in videos] if len(videos) <= video_table.IN_JSON else []


def write_manifest(folder, manifest, teachers, shards):
  """Writes the manifest of stored labels.

  Args:
    folder: pathlib.Path of the labels, with all shards in it.
    manifest: that of the records.
    teachers: dict of name to dict of `description`, `digest` and `classes`.
    shards: list of (name, number of windows).
  """
  content = {
    'format_version': FORMAT_VERSION,
    'records_digest': manifest['digest'],
    'params': dataclasses.asdict(manifest['params']),
    'windows': manifest['windows'],
    'videos': listed_videos(manifest),
    'teachers': teachers,
    'shards': [
      {'name': name, 'windows': windows, 'bytes': store_mirror.size(folder / name)} for name, windows in shards
    ],
  }
  if reads_records(manifest['params']):
    content['sound'] = [shard['name'] for shard in manifest['shards']]
  sealed_json.write(folder / records.MANIFEST_NAME, content)


def is_finished(path, windows):
  """Whether a shard exists with all its windows."""
  from audionet_tf.data import input_pipeline

  try:
    return len(tfrecord_io.record_offsets(path)) == -(-windows // input_pipeline.BLOCK_WINDOWS)
  except (FileNotFoundError, UserError):
    return False
