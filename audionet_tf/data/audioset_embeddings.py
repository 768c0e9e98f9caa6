"""AudioSet's released embeddings: SequenceExamples in TFRecord files, and an `input_pipeline.Source` over them.

An example holds 128 bytes per 0.96 s of a clip: VGGish's embedding after PCA, quantized to 8 bits.

| part of an example             | dtype | content                                                                     |
|--------------------------------|-------|-----------------------------------------------------------------------------|
| context `video_id`             | bytes | UTF-8 id; in files of `audionet_tf.features` the name of the file, escaped  |
| context `start_time_seconds`   | float | start of the embedded part                                                  |
| context `end_time_seconds`     | float | end of the embedded part                                                    |
| context `labels`               | int64 | class indices; only in AudioSet's own files                                 |
| context `about`                | bytes | JSON, described in `representations/files.py`; only in files of `features`  |
| feature list `audio_embedding` | bytes | one string per step: unsigned bytes, 0 to 255                               |

A batch has the tensors of `input_pipeline`, but `audio` holds embeddings, f32 [B, 10 x 128] in [-1, 1): byte / 128 - 1,
step after step. `teacher/<head>` f32 [B, 1, classes] is 1 for each label of the clip.

Source: Gemmeke et al. 2017 (AudioSet); Hershey et al. 2017 and its public code, research/audioset/vggish (embeddings).
"""

import contextlib
import dataclasses

import numpy as np
import tqdm
from google.protobuf.message import DecodeError

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data.shards import tfrecord_io

LAYER, EMBEDDING = 'pca', 'audio_embedding'
STEPS, WIDTH = 10, 128  # of a clip of ten seconds: steps, bytes per step
STEP_SECONDS = 0.96
FIRST_CENTER_SECONDS = (15_600 - 1) / 2 / 16_000  # middle of the first step's receptive field at 16 kHz


@dataclasses.dataclass(frozen=True)
class Clip:
  """The embedding of one clip: the content of one SequenceExample.

  Attributes:
    video_id: YouTube id, or the name of a file.
    start_seconds: start of the embedded part.
    end_seconds: end of the embedded part.
    labels: tuple of int, class indices; empty where the file has none.
    embedding: u8 [T, width].
    about: JSON text that `audionet_tf.features` stores, or None.
  """

  video_id: str
  start_seconds: float
  end_seconds: float
  labels: tuple
  embedding: np.ndarray
  about: str | None = None

  def center_seconds(self):
    """The center of each step's receptive field in seconds, f64 [T]."""
    return self.start_seconds + FIRST_CENTER_SECONDS + STEP_SECONDS * np.arange(len(self.embedding))


def serialized(clip):
  """Serializes a Clip as a SequenceExample, bytes."""
  import tensorflow as tf

  example = tf.train.SequenceExample()
  context = example.context.feature
  context['video_id'].bytes_list.value.append(clip.video_id.encode(errors='backslashreplace'))
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
  """Parses the bytes of a SequenceExample into a Clip. ValueError if they are not a valid one."""
  import tensorflow as tf

  try:
    example = tf.train.SequenceExample.FromString(payload)
  except DecodeError as error:
    raise ValueError(str(error)) from None
  context = example.context.feature
  values = {
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
    raise ValueError(f'{EMBEDDING} is not one string per step, all of one length')
  if not values['video_id']:
    raise ValueError('no video_id')
  start = (values['start_time_seconds'] or [0.0])[0]
  return Clip(
    values['video_id'][0].decode(),
    start,
    (values['end_time_seconds'] or [start + STEP_SECONDS * len(rows)])[0],
    tuple(values['labels']),
    np.stack([np.frombuffer(row[0], np.uint8) for row in rows]),
    values['about'][0].decode() if values['about'] else None,
  )


def read(path):
  """Yields the Clips of a TFRecord file, AudioSet's own or one of `audionet_tf.features`.

  Raises:
    UserError: there is no such file, or it is damaged.
  """
  try:
    offsets = tfrecord_io.record_offsets(path)
  except (FileNotFoundError, IsADirectoryError):
    raise UserError(f'{path}: no such file; expected a TFRecord file of embeddings') from None
  with open(path, 'rb') as file:
    for start, length in offsets:
      file.seek(start)
      framed = file.read(length)
      payload = framed[12:-4]
      try:
        if tfrecord_io.framed(payload) != framed:
          raise ValueError('wrong checksum')
        yield parsed(payload)
      except ValueError as error:
        raise UserError(f'{path}: the record at byte {start} is not an AudioSet embedding ({error})') from None


@contextlib.contextmanager
def write(path):
  """Writes the features of one file as a single SequenceExample; the file appears when it is complete.

  The interface is that of `array_files.npz`, for the arrays `pca` u8 [T, 128], `pca/center_seconds` and `about`. Only
  the first time is stored: the steps follow each other by 0.96 s.

  Args:
    path: pathlib.Path of the file.

  Yields:
    A function (name, rows) that appends rows to an array.
  """
  rows, centers, about = [], [], []
  arrays = {LAYER: rows, f'{LAYER}/center_seconds': centers, 'about': about}
  with files.atomic_write(path, 'wb') as file:
    yield lambda name, values: arrays[name].append(values)
    embedding = np.concatenate(rows)
    start = float(centers[0][0]) - FIRST_CENTER_SECONDS
    name = path.name.removesuffix(path.suffix)
    clip = Clip(name, start, start + STEP_SECONDS * len(embedding), (), embedding.astype(np.uint8), about[0].item())
    file.write(tfrecord_io.framed(serialized(clip)))


def read_features(path):
  """Reads a file of `write`.

  Returns:
    (about, features): JSON text, and a dict of `pca` to (f32 [T, width], f64 [T] centers in seconds).

  Raises:
    UserError: the file is missing, damaged, or not one of `audionet_tf.features`.
  """
  clips = list(read(path))
  if len(clips) != 1 or clips[0].about is None:
    raise UserError(f'{path}: holds {len(clips)} AudioSet clips; expected the features of one file')
  (clip,) = clips
  return clip.about, {LAYER: (clip.embedding.astype(np.float32), clip.center_seconds())}


def read_manifest(paths, classes):
  """Reads what training needs to know about files of embeddings.

  Args:
    paths: TFRecord files in AudioSet's format; every clip has labels.
    classes: number of classes.

  Returns:
    dict: `windows`, the number of clips; `videos`, a list of dicts `id`, `windows` and `first_window`.

  Raises:
    UserError: a file is damaged, or a clip has another width, no labels, or labels out of range.
  """
  videos = {}
  for path in tqdm.tqdm(paths, desc='reading embeddings', unit=' files', delay=2):
    for clip in read(path):
      if clip.embedding.shape[1] != WIDTH:
        raise UserError(f'{path}: {clip.video_id} has {clip.embedding.shape[1]} values per step, expected {WIDTH}')
      if not clip.labels or not all(0 <= label < classes for label in clip.labels):
        raise UserError(f'{path}: {clip.video_id} has labels {list(clip.labels)}, expected 0 to {classes - 1}')
      if clip.video_id in videos:
        raise UserError(f'{path}: {clip.video_id} occurs twice; list each clip once')
      videos[clip.video_id] = {'id': clip.video_id, 'windows': 1, 'first_window': 0}
  if not videos:
    raise UserError('the files hold no embeddings to train on')
  return {'windows': len(videos), 'videos': list(videos.values())}


def source(paths, manifest, head, classes):
  """An input_pipeline.Source of embeddings; a clip is one window.

  Args:
    paths: TFRecord files in AudioSet's format.
    manifest: what `read_manifest` returned for them.
    head: name of the student's head.
    classes: number of classes.
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
    # Clips shorter than ten seconds have fewer steps, which are repeated.
    indices = tf.range(STEPS, dtype=tf.int64) % tf.expand_dims(lengths[EMBEDDING], 1)  # [B, STEPS]
    strings = tf.gather(steps[EMBEDDING], indices, batch_dims=1)
    values = tf.cast(tf.io.decode_raw(strings, tf.uint8), tf.float32) / 128 - 1  # [B, STEPS, WIDTH]
    targets = tf.reduce_max(tf.one_hot(context['labels'].to_tensor(-1), classes), 1)  # [B, classes]
    return {
      'audio': tf.ensure_shape(tf.reshape(values, [-1, STEPS * WIDTH]), [None, STEPS * WIDTH]),
      'video_id': positions.lookup(context['video_id']),
      'index': tf.zeros_like(lengths[EMBEDDING]),
      'mask': tf.ones_like(lengths[EMBEDDING], tf.float32),
      batch_keys.TEACHER + head: tf.expand_dims(targets, 1),
    }

  return input_pipeline.Source(list(map(str, paths)), blocks, finish, input_pipeline.SHUFFLE_WINDOWS)
