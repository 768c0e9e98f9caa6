"""AudioSet's embeddings: VGGish's 128 bytes per 0.96 s, SequenceExamples in TFRecord files, and a Source over them.

| of an example                  | dtype | holds                                                                |
|--------------------------------|-------|----------------------------------------------------------------------|
| context `video_id`             | bytes | UTF-8; in files of `features` the name of the file                   |
| context `start_time_seconds`   | float | of the part that was embedded                                        |
| context `end_time_seconds`     | float |                                                                      |
| context `labels`               | int64 | numbers of its classes; AudioSet's files alone                       |
| context `about`                | bytes | JSON, as `representations/files.py` has it; files of `features` alone|
| feature list `audio_embedding` | bytes | one per step: numbers 0 to 255, unsigned                             |

A batch is that of `input_pipeline`, but `audio` holds embeddings, f32 [B, 10 x 128] in [-1, 1): byte / 128 - 1, step by
step. `teacher/<head>` f32 [B, 1, classes] is 1 for each of the clip's labels.
"""

import contextlib
import dataclasses

import numpy as np
import tqdm

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import tfrecord_io

LAYER, EMBEDDING = 'pca', 'audio_embedding'
STEP_SECONDS = 0.96
FIRST_CENTER_SECONDS = (15_600 - 1) / 2 / 16_000  # between the first and last sample that a step hears


@dataclasses.dataclass(frozen=True)
class Clip:
  """An example.

  Attributes:
    video_id: str.
    start_seconds, end_seconds: float.
    labels: tuple of int.
    embedding: u8 [T, width].
    about: str, JSON, or None.
  """

  video_id: str
  start_seconds: float
  end_seconds: float
  labels: tuple
  embedding: np.ndarray
  about: str | None = None

  def center_seconds(self):
    """f64 [T]: the middle of what each step hears."""
    return self.start_seconds + FIRST_CENTER_SECONDS + STEP_SECONDS * np.arange(len(self.embedding))


def serialized(clip):
  """The bytes of a Clip's SequenceExample."""
  import tensorflow as tf

  example = tf.train.SequenceExample()
  context = example.context.feature
  context['video_id'].bytes_list.value.append(clip.video_id.encode())
  context['start_time_seconds'].float_list.value.append(clip.start_seconds)
  context['end_time_seconds'].float_list.value.append(clip.end_seconds)
  if clip.labels:
    context['labels'].int64_list.value.extend(clip.labels)
  if clip.about is not None:
    context['about'].bytes_list.value.append(clip.about.encode())
  steps = example.feature_lists.feature_list[EMBEDDING].feature
  for row in clip.embedding:
    steps.add().bytes_list.value.append(row.tobytes())
  return example.SerializeToString(deterministic=True)


def parsed(payload):
  """The Clip in the bytes of a SequenceExample. ValueError where it is none."""
  import tensorflow as tf
  from google.protobuf.message import DecodeError

  try:
    example = tf.train.SequenceExample.FromString(payload)
  except DecodeError as error:
    raise ValueError(str(error)) from None
  context = example.context.feature
  first = {
    name: list(getattr(context[name], kind).value) if name in context else []
    for name, kind in (
      ('video_id', 'bytes_list'),
      ('start_time_seconds', 'float_list'),
      ('end_time_seconds', 'float_list'),
      ('labels', 'int64_list'),
      ('about', 'bytes_list'),
    )
  }
  rows = [step.bytes_list.value for step in example.feature_lists.feature_list[EMBEDDING].feature]
  if not all(len(row) == 1 and len(row[0]) == len(rows[0][0]) for row in rows) or not rows or not rows[0][0]:
    raise ValueError(f'{EMBEDDING} is not one string of equal length a step')
  if not first['video_id']:
    raise ValueError('no video_id')
  start = (first['start_time_seconds'] or [0.0])[0]
  return Clip(
    first['video_id'][0].decode(),
    start,
    (first['end_time_seconds'] or [start + STEP_SECONDS * len(rows)])[0],
    tuple(first['labels']),
    np.stack([np.frombuffer(row[0], np.uint8) for row in rows]),
    first['about'][0].decode() if first['about'] else None,
  )


def read(path):
  """Yields the Clips of a TFRecord file, AudioSet's or one of `audionet_tf.features`. UserError where it is damaged."""
  try:
    offsets = tfrecord_io.record_offsets(path)
  except (FileNotFoundError, IsADirectoryError):
    raise UserError(f'{path}: no such file of embeddings') from None
  with open(path, 'rb') as file:
    for start, length in offsets:
      file.seek(start)
      framed = file.read(length)
      payload = framed[12:-4]
      try:
        if tfrecord_io.framed(payload) != framed:
          raise ValueError('not its checksum')
        yield parsed(payload)
      except ValueError as error:
        raise UserError(f'{path}: the record at byte {start} is no embedding of AudioSet ({error})') from None


@contextlib.contextmanager
def write(path):
  """As `array_files.npz`, of the arrays `pca` and its times: one example. Times are the first one's, and 0.96 s on."""
  rows, centers, about = [], [], []
  places = {LAYER: rows, f'{LAYER}/center_seconds': centers, 'about': about}
  with files.atomic_write(path, 'wb') as file:
    yield lambda name, values: places[name].append(values)
    embedding = np.concatenate(rows)
    start = float(centers[0][0]) - FIRST_CENTER_SECONDS
    name = path.name.removesuffix(path.suffix)
    clip = Clip(name, start, start + STEP_SECONDS * len(embedding), (), embedding.astype(np.uint8), about[0].item())
    file.write(tfrecord_io.framed(serialized(clip)))


def read_features(path):
  """(about, str; dict of `pca` to (f32 [T, width], f64 [T] seconds)) of a file of `write`. UserError: none."""
  clips = list(read(path))
  if len(clips) != 1 or clips[0].about is None:
    raise UserError(f'{path}: {len(clips)} clips of AudioSet, not the features of one file')
  (clip,) = clips
  return clip.about, {LAYER: (clip.embedding.astype(np.float32), clip.center_seconds())}


STEPS, WIDTH = 10, 128


def read_manifest(paths, classes):
  """What training needs to know of the files: dict `windows` and `videos`, dicts `id`, `windows`, `first_window`.

  Args:
    paths: TFRecord files of AudioSet's form, whose every clip has labels.
    classes: how many there are.

  Raises:
    UserError: a damaged file, a clip of another width, without labels, or with labels that there are not.
  """
  videos = {}
  for path in tqdm.tqdm(paths, desc='reading embeddings', unit=' files', delay=2):
    for clip in read(path):
      if clip.embedding.shape[1] != WIDTH:
        raise UserError(f'{path}: {clip.video_id} has {clip.embedding.shape[1]} numbers a step, expected are {WIDTH}')
      if not clip.labels or not all(0 <= label < classes for label in clip.labels):
        raise UserError(f'{path}: {clip.video_id} has labels {list(clip.labels)}, expected are 0 to {classes - 1}')
      if clip.video_id in videos:
        raise UserError(f'{path}: {clip.video_id} is there twice')
      videos[clip.video_id] = {'id': clip.video_id, 'windows': 1, 'first_window': 0}
  if not videos:
    raise UserError('no embeddings to train on')
  return {'windows': len(videos), 'videos': list(videos.values())}


def source(paths, manifest, head, classes):
  """An input_pipeline.Source; a clip is one window.

  Args:
    paths, manifest: as `read_manifest` takes and gives them.
    head: name of the student's head.
    classes: how many there are.
  """
  import tensorflow as tf

  from audionet_tf.data import batch_keys, input_pipeline

  ids = [video['id'] for video in manifest['videos']]
  positions = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(ids), tf.range(len(ids), dtype=tf.int64)), -1
  )

  def blocks(path):
    return tf.data.TFRecordDataset(path).batch(input_pipeline.BLOCK_WINDOWS).map(lambda x: {'serialized': x})

  def finish(block):
    context, steps, lengths = tf.io.parse_sequence_example(
      block['serialized'],
      {'video_id': tf.io.FixedLenFeature([], tf.string), 'labels': tf.io.RaggedFeature(tf.int64)},
      {EMBEDDING: tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    # Clips of less than ten seconds have fewer steps: these are repeated.
    turns = tf.range(STEPS, dtype=tf.int64) % tf.expand_dims(lengths[EMBEDDING], 1)  # [B, STEPS]
    chosen = tf.gather(steps[EMBEDDING], turns, batch_dims=1)
    values = tf.cast(tf.io.decode_raw(chosen, tf.uint8), tf.float32) / 128 - 1  # [B, STEPS, WIDTH]
    several = tf.reduce_max(tf.one_hot(context['labels'].to_tensor(-1), classes), 1)  # [B, classes]
    return {
      'audio': tf.ensure_shape(tf.reshape(values, [-1, STEPS * WIDTH]), [None, STEPS * WIDTH]),
      'video_id': positions.lookup(context['video_id']),
      'index': tf.zeros_like(lengths[EMBEDDING]),
      'mask': tf.ones_like(lengths[EMBEDDING], tf.float32),
      batch_keys.TEACHER + head: tf.expand_dims(several, 1),
    }

  return input_pipeline.Source(list(map(str, paths)), blocks, finish, input_pipeline.SHUFFLE_WINDOWS)
