"""Class-balanced batches: classes take turns, so that training sees rare ones as often as common ones.

Windows are those of records, or clips of AudioSet's embeddings. Every round visits all classes in a new random order
and takes the next window of each. A class walks through a shuffled list of its windows, which is shuffled again at its
end: windows of small classes repeat, and those of large classes come in later rounds. Windows without any label form a
class of their own. The window drawn is a function of seed and position alone, so that a resumed run continues where
the interrupted one stopped.

Source: the training code of Caption4Sound (hellokikicat/caption4sounds).
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import tf_data
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import batch_keys, input_pipeline, records
from audionet_tf.data.shards import shard_reading, tfrecord_io

DAMAGED = 'not the record that the manifest lists'


@dataclasses.dataclass(frozen=True)
class Windows:
  """The windows of labelled TFRecord files.

  Attributes:
    audio: string [B], serialized Examples -> `audio` of a batch.
    targets: number of targets per window, each of which holds its labels.
    paths: list of the files, str.
    shard: int [windows], positions in `paths`.
    offset: int [windows], bytes before the framed record.
    length: int [windows], bytes of the framed record.
    video: int64 [windows], position in the manifest's list of videos.
    index: int64 [windows], number of the window in its video.
    packed_labels: u8 [windows, ceil(classes / 8)].
    classes: number of classes.
  """

  audio: Callable
  targets: int
  paths: list
  shard: np.ndarray
  offset: np.ndarray
  length: np.ndarray
  video: np.ndarray
  index: np.ndarray
  packed_labels: np.ndarray
  classes: int

  def labels(self, numbers):
    """The labels of windows int [n] or a slice, bool [n, classes]."""
    return np.unpackbits(self.packed_labels[numbers], axis=1, count=self.classes).astype(bool)

  def of_classes(self):
    """List of int arrays: the windows of each class that occurs, and last those without any label."""
    members = {}
    for start in range(0, len(self.index), 4096):
      rows, classes = np.nonzero(with_no_label(self.labels(slice(start, start + 4096))))
      for number in np.unique(classes):
        members.setdefault(number, []).append(start + rows[classes == number])
    return [np.concatenate(members[number]) for number in sorted(members)]


def with_no_label(labels):
  """bool [n, classes + 1]: labels with a last column for windows without any."""
  return np.concatenate([labels, ~labels.any(1, keepdims=True)], 1)


def of_records(records_folder, manifest, source, head):
  """The Windows of records with stored labels.

  Args:
    records_folder: of the records.
    manifest: their manifest.
    source: `soft_labels.label_source` of the labels.
    head: name of the teacher.
  """
  params = manifest['params']

  def audio(examples):
    return records.parse_batch(examples, params)['audio']

  return read_windows(records.shard_paths(records_folder, manifest), source, head, audio, params.answers_per_window)


def of_embeddings(source, head):
  """The Windows of AudioSet's embeddings. `source`: from `audioset_embeddings.source`."""
  return read_windows(source.paths, source, head, lambda examples: source.finish({'serialized': examples})['audio'], 1)


def read_windows(paths, source, head, audio, targets):
  """Finds the windows of TFRecord files and their labels.

  Args:
    paths: of TFRecord files, one window per record.
    source: input_pipeline.Source of the same windows, in the same order, with their labels.
    head: name of the teacher.
    audio: string [B], serialized Examples -> `audio` of a batch.
    targets: number of targets per window.

  Returns:
    Windows.

  Raises:
    UserError: the teacher predicts probabilities instead of labels, or the files are damaged.
  """
  offsets = [tfrecord_io.record_offsets(path) for path in paths]
  names = 'video_id', 'index', batch_keys.TEACHER + head
  parts = []

  def columns(block):
    batch = source.finish(block)
    return tuple(batch[name] for name in names)  # tf.data then does not decode the sound

  with tqdm.tqdm(total=sum(map(len, offsets)), desc='counting labels', unit=' windows', delay=2) as bar:
    for path in source.paths:
      blocks = shard_reading.files([path]).flat_map(source.blocks).map(columns, tf_data.THREADS)
      for video, index, labels in blocks.prefetch(2).as_numpy_iterator():
        if not (((labels == 0) | (labels == 1)).all() and (labels == labels[:, :1]).all()):
          raise UserError(
            f'balance: teacher {head} predicts probabilities, not labels; balanced batches need a table of labels'
          )
        parts.append((video, index, np.packbits(labels[:, 0] > 0, axis=1)))
        bar.update(len(labels))
  video, index, packed_labels = map(np.concatenate, zip(*parts, strict=True))
  shard = np.repeat(np.arange(len(paths)), [len(rows) for rows in offsets])
  offset, length = np.concatenate([rows for rows in offsets if len(rows)]).T
  return Windows(audio, targets, paths, shard, offset, length, video, index, packed_labels, labels.shape[-1])


def order(members, seed):
  """The order in which windows are drawn.

  Args:
    members: list of int arrays, the windows of each class.
    seed: python int.

  Returns:
    A function from a position, python int, to the number of the window drawn there.
  """

  @functools.lru_cache(maxsize=2 * len(members) + 2)
  def permutation(key, repetition, length):
    return np.random.default_rng([seed, key, repetition]).permutation(length)

  def draw(position):
    turn, place = divmod(position, len(members))  # a turn visits every class once
    chosen = int(permutation(len(members), turn, len(members))[place])
    repetition, offset = divmod(turn, len(members[chosen]))
    return int(members[chosen][permutation(chosen, repetition, len(members[chosen]))[offset]])

  return draw


def read_records(windows, numbers):
  """The serialized Examples of windows, list of bytes. ValueError with DAMAGED if a checksum is wrong."""
  payloads = []
  for number in numbers:
    path = windows.paths[windows.shard[number]]
    with open(store_mirror.present(path), 'rb') as file:
      file.seek(windows.offset[number])
      framed = file.read(windows.length[number])
    if tfrecord_io.framed(framed[12:-4]) != framed:
      raise ValueError(f'{path}: {DAMAGED}, at byte {windows.offset[number]}')
    payloads.append(framed[12:-4])
  return payloads


def training_batches(
  windows, head, batch_size, seed, first_pass=0, share=input_pipeline.ALL_ROWS, augment=None, first_step=0
):
  """An endless dataset of balanced batches, with the tensors of `input_pipeline.training_batches`.

  A pass draws as many windows as there are, in full batches.

  Args:
    windows: Windows.
    head: name of the teacher.
    batch_size: over all replicas.
    seed: python int.
    first_pass: number of the pass to start with.
    share: input_pipeline.Share, the rows of each batch that are wanted.
    augment: None or a function (batch, int64 [2] of seed and pass) -> batch.
    first_step: number of batches of the first pass that are left out.
  """
  steps = -(-len(windows.index) // batch_size)
  draw = order(windows.of_classes(), seed)
  before, after = share.split(augment)
  rows, is_own = (x.numpy() for x in before.rows(batch_size))

  def draw_batch(batch):
    numbers = np.array([draw(int(batch) * batch_size + row) for row in rows])
    examples = np.array(read_records(windows, numbers), object)
    labels = np.repeat(windows.labels(numbers).astype(np.float32)[:, None], windows.targets, axis=1)
    return examples, labels, windows.video[numbers], windows.index[numbers]

  def finish(batch):
    examples, labels, video, index = tf.numpy_function(
      draw_batch, [batch], [tf.string, tf.float32, tf.int64, tf.int64], stateful=False
    )
    tensors = {
      'audio': windows.audio(tf.ensure_shape(examples, [len(rows)])),
      'video_id': tf.ensure_shape(video, [len(rows)]),
      'index': tf.ensure_shape(index, [len(rows)]),
      'mask': tf.constant(is_own),
      batch_keys.TEACHER + head: tf.ensure_shape(labels, [len(rows), windows.targets, windows.classes]),
    }
    return after.of(augment(tensors, tf.stack([tf.constant(seed, tf.int64), batch // steps])) if augment else tensors)

  numbers = tf_data.without_autotune(tf.data.Dataset.range(first_pass * steps + first_step, tf.int64.max))
  return numbers.map(finish, tf_data.THREADS).prefetch(8)
