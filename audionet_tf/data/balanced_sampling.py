"""Balanced batches: each class in turn, so that rare ones are heard as often as common ones.

Source: Caption4Sound's training. Windows are those of records, or clips of AudioSet's embeddings. The
classes come in a new order each turn; each has its own shuffled list of windows, which begins anew, shuffled anew, when
it ends. So windows of small classes are repeated, and those of large ones are not thrown away: they come in later
turns. What is drawn is a function of seed and position alone, so that a resumed run enters where the killed one
stopped. A window without any label counts as a class of its own.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, input_pipeline, records, tfrecord_io

DAMAGED = 'not the record that its manifest names'


@dataclasses.dataclass(frozen=True)
class Windows:
  """The windows of labelled TFRecord files.

  Attributes:
    audio: string [B], the Examples of windows -> their `audio` of a batch.
    answers: how many answers a window has, all of them its labels.
    paths: list of the files.
    shard, offset, length: int [windows], where each lies, framed, in bytes.
    video, index: int64 [windows], as in a batch.
    heard: u8 [windows, classes / 8], their labels, packed.
    classes: how many.
  """

  audio: Callable
  answers: int
  paths: list
  shard: np.ndarray
  offset: np.ndarray
  length: np.ndarray
  video: np.ndarray
  index: np.ndarray
  heard: np.ndarray
  classes: int

  def labels(self, numbers):
    """bool [n, classes] of windows int [n]."""
    return np.unpackbits(self.heard[numbers], axis=1, count=self.classes).astype(bool)

  def of_classes(self):
    """List of int arrays: the windows of each class that there is, and last those without any label."""
    members = {}
    for start in range(0, len(self.index), 4096):
      rows, classes = np.nonzero(with_none(self.labels(slice(start, start + 4096))))
      for number in np.unique(classes):
        members.setdefault(number, []).append(start + rows[classes == number])
    return [np.concatenate(members[number]) for number in sorted(members)]


def with_none(labels):
  """bool [n, classes + 1]: the last says that there is none."""
  return np.concatenate([labels, ~labels.any(1, keepdims=True)], 1)


def of_records(records_folder, manifest, source, head):
  """The Windows of records and of the labels that are stored for them, `soft_labels.label_source`."""
  params = manifest['params']

  def audio(examples):
    return records.parse_batch(examples, params)['audio']

  return read_windows(records.shard_paths(records_folder, manifest), source, head, audio, params.answers_per_window)


def of_embeddings(source, head):
  """The Windows of AudioSet's embeddings, of `audioset_embeddings.source`."""
  return read_windows(source.paths, source, head, lambda examples: source.finish({'serialized': examples})['audio'], 1)


def read_windows(paths, source, head, audio, answers):
  """The Windows in files.

  Args:
    paths: of TFRecord files, one window a record.
    source: input_pipeline.Source of the same windows, in the same order, with their labels.
    head: name of the teacher.
    audio, answers: see Windows.

  Raises:
    UserError: the teacher gives no labels but shares; the files are damaged.
  """
  offsets = [tfrecord_io.record_offsets(path) for path in paths]
  names = 'video_id', 'index', batch_keys.TEACHER + head
  parts = []

  def counted(block):
    batch = source.finish(block)
    return tuple(batch[name] for name in names)  # sound that nobody asks for is not read out

  with tqdm.tqdm(total=sum(map(len, offsets)), desc='counting labels', unit=' windows', delay=2) as bar:
    for path in source.paths:
      for video, index, shares in source.blocks(path).map(counted).as_numpy_iterator():
        if not (((shares == 0) | (shares == 1)).all() and (shares == shares[:, :1]).all()):
          raise UserError(f'balance: teacher {head} gives shares, not labels; balanced batches need a table of labels')
        parts.append((video, index, np.packbits(shares[:, 0] > 0, axis=1)))
        bar.update(len(shares))
  video, index, heard = map(np.concatenate, zip(*parts, strict=True))
  shard = np.repeat(np.arange(len(paths)), [len(rows) for rows in offsets])
  offset, length = np.concatenate([rows for rows in offsets if len(rows)]).T
  return Windows(audio, answers, paths, shard, offset, length, video, index, heard, shares.shape[-1])


def order(members, seed):
  """The function from position to the number of the window that is drawn there.

  Args:
    members: list of int arrays, the windows of each class.
    seed: python int.
  """

  @functools.lru_cache(maxsize=2 * len(members) + 2)
  def permutation(what, lap, length):
    return np.random.default_rng([seed, what, lap]).permutation(length)

  def draw(position):
    turn, place = divmod(position, len(members))
    chosen = int(permutation(len(members), turn, len(members))[place])
    lap, at = divmod(turn, len(members[chosen]))
    return int(members[chosen][permutation(chosen, lap, len(members[chosen]))[at]])

  return draw


def read_records(windows, numbers):
  """The Examples of windows, list of bytes. ValueError, which says DAMAGED, for one without its checksum."""
  found = []
  for number in numbers:
    path = windows.paths[windows.shard[number]]
    with open(path, 'rb') as file:
      file.seek(windows.offset[number])
      framed = file.read(windows.length[number])
    if tfrecord_io.framed(framed[12:-4]) != framed:
      raise ValueError(f'{path}: {DAMAGED}, at byte {windows.offset[number]}')
    found.append(framed[12:-4])
  return found


def training_batches(windows, head, batch_size, seed, first_pass=0, replicas=1, augment=None):
  """Batches as of `input_pipeline.training_batches`, all of `batch_size`; a pass draws as many windows as there are.

  Args:
    windows: Windows.
    head: name of the teacher.
    batch_size, seed, first_pass, replicas, augment: as there.
  """
  steps = -(-len(windows.index) // batch_size)
  draw = order(windows.of_classes(), seed)

  def drawn(batch):
    numbers = np.array([draw(int(batch) * batch_size + row) for row in range(batch_size)])
    examples = np.array(read_records(windows, numbers), object)
    heard = np.repeat(windows.labels(numbers).astype(np.float32)[:, None], windows.answers, axis=1)
    return examples, heard, windows.video[numbers], windows.index[numbers]

  def finish(batch):
    examples, heard, video, index = tf.numpy_function(
      drawn, [batch], [tf.string, tf.float32, tf.int64, tf.int64], stateful=False
    )
    whole = {
      'audio': windows.audio(tf.ensure_shape(examples, [batch_size])),
      'video_id': tf.ensure_shape(video, [batch_size]),
      'index': tf.ensure_shape(index, [batch_size]),
      'mask': tf.ones([batch_size]),
      batch_keys.TEACHER + head: tf.ensure_shape(heard, [batch_size, windows.answers, windows.classes]),
    }
    return augment(whole, tf.stack([tf.constant(seed, tf.int64), batch // steps])) if augment else whole

  numbers = tf.data.Dataset.range(first_pass * steps, tf.int64.max)
  return input_pipeline.finished(numbers, finish, replicas).prefetch(8)
