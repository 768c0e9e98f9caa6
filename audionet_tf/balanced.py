"""Balanced batches: each class in turn, so that rare ones are heard as often as common ones.

Source: Caption4Sound's training (REFERENCE D2). The classes come in a new order each turn; each has its own shuffled
list of windows, which begins anew, shuffled anew, when it ends. So windows of small classes are repeated, and those of
large ones are not thrown away: they come in later turns. What is drawn is a function of seed and position alone, so
that a resumed run enters where the killed one stopped. A window without any label counts as a class of its own.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf import input_pipeline, records
from audionet_tf.errors import UserError

DAMAGED = 'not the record that its manifest names'


@dataclasses.dataclass(frozen=True)
class Windows:
  """The windows of labelled records.

  Attributes:
    params: RecordParams.
    paths: list of the shards of the records.
    shard, offset, length: int [windows], where each lies, framed, in bytes.
    video, index: int64 [windows], as in a batch.
    heard: u8 [windows, classes / 8], their labels, packed.
    classes: how many.
  """

  params: object
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


def read_windows(records_folder, manifest, source, head):
  """The Windows of records and of the labels that are stored for them.

  Args:
    records_folder, manifest: of the records.
    source: input_pipeline.label_source of the same windows, in the same order.
    head: name of the teacher.

  Raises:
    UserError: the teacher gives no labels but shares; the records are damaged.
  """
  paths = records.shard_paths(records_folder, manifest)
  offsets = [records.record_offsets(path) for path in paths]
  parts = {name: [] for name in ('video', 'index', 'heard')}
  with tqdm.tqdm(total=manifest['windows'], desc='counting labels', unit=' windows', delay=2) as bar:
    for path in source.paths:
      for block in source.blocks(path).as_numpy_iterator():
        answers = block[input_pipeline.TEACHER + head]
        if not (((answers == 0) | (answers == 1)).all() and (answers == answers[:, :1]).all()):
          raise UserError(f'balance: teacher {head} gives shares, not labels; balanced batches need a table of labels')
        parts['heard'].append(np.packbits(answers[:, 0] > 0, axis=1))
        for name in ('video', 'index'):
          parts[name].append(block[name])
        bar.update(len(answers))
  shard = np.repeat(np.arange(len(paths)), [len(rows) for rows in offsets])
  offset, length = np.concatenate(offsets).T
  joined = {name: np.concatenate(values) for name, values in parts.items()}
  return Windows(manifest['params'], paths, shard, offset, length, **joined, classes=answers.shape[-1])


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
    if records.framed(framed[12:-4]) != framed:
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
  answers = windows.params.answers_per_window

  def drawn(batch):
    numbers = np.array([draw(int(batch) * batch_size + row) for row in range(batch_size)])
    examples = np.array(read_records(windows, numbers), object)
    heard = np.repeat(windows.labels(numbers).astype(np.float32)[:, None], answers, axis=1)
    return examples, heard, windows.video[numbers], windows.index[numbers]

  def finish(batch):
    examples, heard, video, index = tf.numpy_function(
      drawn, [batch], [tf.string, tf.float32, tf.int64, tf.int64], stateful=False
    )
    parsed = records.parse_batch(tf.ensure_shape(examples, [batch_size]), windows.params)
    whole = {
      'audio': parsed['audio'],
      'video_id': tf.ensure_shape(video, [batch_size]),
      'index': tf.ensure_shape(index, [batch_size]),
      'mask': tf.ones([batch_size]),
      input_pipeline.TEACHER + head: tf.ensure_shape(heard, [batch_size, answers, windows.classes]),
    }
    return augment(whole, tf.stack([tf.constant(seed, tf.int64), batch // steps])) if augment else whole

  numbers = tf.data.Dataset.range(first_pass * steps, tf.int64.max)
  return input_pipeline.finished(numbers, finish, replicas).prefetch(8)
