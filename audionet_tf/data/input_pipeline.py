"""tf.data pipelines that read batches for training and evaluation from records or stored labels.

A batch is a dict of named tensors:
  `audio` f32 [B, samples] in [-1, 1);
  `teacher/<name>` f32 [B, T, classes] (stored predictions) or `image` u8 [B, T, size, size, 3] (online teacher);
  `video_id` int64 [B], position in the manifest's list of videos (strings cannot be gathered over replicas);
  `index` int64 [B], number of the window in its video;
  `mask` f32 [B], 0 for examples that only pad the last batch;
  `weight` f32 [B] in [0, 1], with a gate (`training/steps/loudness.py`): of the example in the trained loss.

A Source describes where windows come from. Its files are read in blocks of windows, which are shuffled while they are
still compact (JPEG bytes, int16, float16) and decoded last.

There are two pipelines. Training is endless, and its order is a function of (seed, pass) alone, so that a resumed run
continues where the interrupted one stopped. Evaluation reads every window once, in order.

Several workers read the same files in the same order, and each decodes and augments its own rows of every batch
(Share): together they train on the batches of one worker, whatever their number.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from audionet_tf.core import tf_data
from audionet_tf.data import records
from audionet_tf.data.batch_keys import NEEDS_WHOLE_BATCH
from audionet_tf.data.shards import damage, shard_reading

# Size of the shuffle buffer in windows, less if they are long. The files hold windows in hashed order and are read in a
# new order in each pass, so the buffer need not cover a large data set.
SHUFFLE_WINDOWS, SHUFFLE_BYTES = 10_000, 256 << 20
BLOCK_WINDOWS = 64  # windows in a block, fewer in the last of a file
SEED_OF_PASS = 'seed_of_pass'  # key that carries the seed to the augmentation


@dataclasses.dataclass(frozen=True)
class Source:
  """Where windows come from.

  Attributes:
    paths: list of files.
    blocks: path -> dataset of blocks: dicts of tensors whose first axis is up to BLOCK_WINDOWS windows. The blocks of
      records and of their stored labels hold the same windows in the same order.
    finish: dict of the same tensors, for any number of windows -> batch.
    shuffle_windows: size of the shuffle buffer in windows.
  """

  paths: list
  blocks: Callable
  finish: Callable
  shuffle_windows: int


@dataclasses.dataclass(frozen=True)
class Share:
  """The rows of every batch that one worker gets: a part of equal length, in the order of the workers.

  Attributes:
    replicas: of all workers; batches are padded to a multiple of it.
    worker: number of this worker, from 0.
    workers: number of workers.
  """

  replicas: int = 1
  worker: int = 0
  workers: int = 1

  def rows(self, count):
    """(numbers of this worker's rows in a batch of `count` windows, int32 [B]; f32 [B], 0 where a row only pads).

    Rows are repeated rather than zeroed, because batch normalization ignores the mask.
    """
    rows = (count + -count % self.replicas) // self.workers
    places = self.worker * rows + tf.range(rows)
    return places % count, tf.cast(places < count, tf.float32)

  def split(self, augment=None):
    """(Share to take before examples are decoded and augmented, Share to take after that); one of both is all rows."""
    early = self.workers > 1 and not getattr(augment, NEEDS_WHOLE_BATCH, False)
    return (self, ALL_ROWS) if early else (ALL_ROWS, self)

  def of(self, tensors):
    """The rows of a dict of tensors [B, ...]. Its `mask`, if it has one, is 0 for padding."""
    if self.replicas == 1:
      return tensors
    numbers, is_own = self.rows(tf.shape(next(iter(tensors.values())))[0])
    taken = {name: tf.gather(x, numbers) for name, x in tensors.items()}
    return taken | ({'mask': taken['mask'] * is_own} if 'mask' in taken else {})


ALL_ROWS = Share()


def shuffle_windows(params):
  """Size of the shuffle buffer in windows; the same for records and stored labels, which must be read in one order."""
  window_bytes = 2 * params.window_samples + records.IMAGE_BYTES * params.images_per_window
  return max(BLOCK_WINDOWS, min(SHUFFLE_WINDOWS, SHUFFLE_BYTES // window_bytes))


def record_source(folder, manifest):
  """Source of records: its batches have `image`.

  Args:
    folder: of the records.
    manifest: from `records.read_manifest`.
  """
  params = manifest['params']
  ids = [video['id'] for video in manifest['videos']]
  positions = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(ids), tf.range(len(ids), dtype=tf.int64)), -1
  )

  def blocks(path):
    return tf.data.TFRecordDataset(path).batch(BLOCK_WINDOWS).map(lambda serialized: {'serialized': serialized})

  def finish(block):
    parsed = records.parse_batch(block['serialized'], params, images=True)
    images = tf.map_fn(decode_picture, tf.reshape(parsed['image/encoded'], [-1]), fn_output_signature=tf.uint8)
    size = params.image_size
    numbers = positions.lookup(parsed['video/id'])
    # An older manifest has no checksum, by which an id edited by hand were found before.
    with tf.control_dependencies([tf.debugging.assert_non_negative(numbers, message=damage.UNKNOWN_VIDEO)]):
      numbers = tf.identity(numbers)
    return {
      'audio': parsed['audio'],
      'image': tf.reshape(images, [-1, params.images_per_window, size, size, 3]),
      'video_id': numbers,
      'index': parsed['index'],
      'mask': tf.ones_like(parsed['index'], tf.float32),
    }

  return Source(records.shard_paths(folder, manifest), blocks, finish, shuffle_windows(params))


def decode_picture(encoded):
  """Decodes JPEG or PNG bytes to u8 [H, W, 3]."""
  return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def encoded_pictures(folder, manifest, batch_size):
  """Dataset of string [B, T]: the JPEG or PNG pictures of every window, in the order of the files.

  Args:
    folder: of records with pictures.
    manifest: from `records.read_manifest`.
    batch_size: B; the last batch may be smaller.
  """
  paths = shard_reading.files(records.shard_paths(folder, manifest))
  windows = paths.flat_map(tf.data.TFRecordDataset).batch(batch_size)

  def pictures(serialized):
    return records.parse_batch(serialized, manifest['params'], True)['image/encoded']

  return windows.map(pictures, tf_data.THREADS).prefetch(2)


def training_batches(source, batch_size, seed, first_pass=0, share=ALL_ROWS, augment=None, first_step=0):
  """An endless dataset of shuffled batches. A pass holds every window once; its last batch may be smaller.

  Args:
    source: Source.
    batch_size: over all replicas.
    seed: python int.
    first_pass: number of the pass to start with.
    share: Share, the rows of each batch that are wanted.
    augment: None or a function (batch, int64 [2] of seed and pass) -> batch, such as `augmentation.augmenter` returns.
    first_step: number of batches of the first pass that are left out; their windows are read, but not decoded.
  """

  paths = shard_reading.tensor(source.paths)

  def one_pass(number):
    seed_of_pass = tf.stack([tf.cast(seed, tf.int64), number])
    order = tf.random.experimental.stateless_shuffle(paths, seed_of_pass)
    files = shard_reading.at_hand(tf.data.Dataset.from_tensor_slices(order), source.paths)
    blocks = files.interleave(source.blocks, cycle_length=min(len(source.paths), 8), block_length=1)

    def shuffle(turn, windows):
      count = tf.shape(next(iter(windows.values())))[0]
      seed_of_turn = tf.random.experimental.stateless_fold_in(seed_of_pass, turn)
      permutation = tf.random.experimental.stateless_shuffle(tf.range(count), seed_of_turn)
      return {name: tf.gather(x, permutation) for name, x in windows.items()}

    # Dataset.shuffle accepts no seed that depends on the pass.
    batches = blocks.rebatch(source.shuffle_windows).enumerate().map(shuffle).rebatch(batch_size)
    return batches.map(lambda windows: windows | {SEED_OF_PASS: seed_of_pass}) if augment else batches

  passes = tf_data.without_autotune(tf.data.Dataset.range(first_pass, tf.int64.max)).flat_map(one_pass)
  return finished(passes.skip(first_step), source.finish, share, augment).prefetch(8)


def sequential_batches(source, batch_size, share=ALL_ROWS):
  """Dataset of batches that hold every window once, in the order of the files.

  Args:
    source: Source.
    batch_size: over all replicas.
    share: Share, the rows of each batch that are wanted.
  """
  blocks = shard_reading.files(source.paths).flat_map(source.blocks)
  return finished(blocks.rebatch(batch_size), source.finish, share).prefetch(2)


def file_reader(source):
  """A function for `damage.named` that reads one file of a Source, alone, as its batches are read."""

  def read(path):
    if path in source.paths:
      for _ in sequential_batches(dataclasses.replace(source, paths=[path]), BLOCK_WINDOWS):
        pass

  return read


def finished(windows, finish, share, augment=None):
  """Decodes a dataset of batches of compact windows, in parallel, augments them, and takes the rows of a Share.

  Args:
    windows: dataset of dicts of tensors [B, ...], and with `augment` SEED_OF_PASS int64 [2].
    finish: function from these to a batch.
    share: Share.
    augment: as for `training_batches`.
  """
  before, after = share.split(augment)

  def rows(block):
    columns = {name: x for name, x in block.items() if name != SEED_OF_PASS}
    count = tf.shape(next(iter(columns.values())))[0]
    batch = finish(before.of(columns))
    batch['mask'] *= before.rows(count)[1]
    return after.of(augment(batch, block[SEED_OF_PASS]) if augment else batch)

  return windows.map(rows, tf_data.THREADS)
