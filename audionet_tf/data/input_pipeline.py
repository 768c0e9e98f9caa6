"""Batches for training and evaluation from records or from stored labels, by tf.data.

A batch is a dict of named tensors:
  `audio` f32 [B, samples] in [-1, 1);
  `teacher/<name>` f32 [B, T, classes] (stored answers), or `image` u8 [B, T, size, size, 3] (the teacher runs online);
  `video_id` int64 [B], position in the manifest's list of videos (a string would not pass between replicas);
  `index` int64 [B], number of the window in its video;
  `mask` f32 [B], 0 for the examples that only fill up the last batch.

A Source says where windows come from: its files are read in blocks of windows, which are mixed while they are still
compact (bytes of a JPEG, int16, float16) and become batches last.

Two pipelines: training never ends, and its order is a function of (seed, pass number) alone, so that a resumed run
enters it where the killed one left it; evaluation reads every window once, in order.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from audionet_tf.data import records

# Windows are mixed with so many others, or with fewer where they are long. The files hold them in hashed order and are
# read in a new order each pass, so that this need not cover a large set.
SHUFFLE_WINDOWS, SHUFFLE_BYTES = 10_000, 256 << 20
IMAGE_BYTES = 24_000  # of a JPEG, about
SEED_OF_PASS = 'seed_of_pass'  # goes with the windows to where they are augmented

BLOCK_WINDOWS = 64  # windows in a block, fewer in the last of a file


@dataclasses.dataclass(frozen=True)
class Source:
  """Where windows come from.

  Attributes:
    paths: list of files.
    blocks: path -> dataset of blocks: dicts of tensors whose first axis is up to BLOCK_WINDOWS windows. The blocks of
      records and of their stored labels hold the same windows in the same order.
    finish: a dict of the same tensors, of any number of windows -> batch.
    shuffle_windows: how many windows are mixed with each other.
  """

  paths: list
  blocks: Callable
  finish: Callable
  shuffle_windows: int


def shuffle_windows(params):
  """How many windows are mixed. Of records and stored labels alike: both must give the same order."""
  window_bytes = 2 * params.window_samples + IMAGE_BYTES * params.images_per_window
  return max(BLOCK_WINDOWS, min(SHUFFLE_WINDOWS, SHUFFLE_BYTES // window_bytes))


def record_source(folder, manifest):
  """Source of records: batches with `image`."""
  params = manifest['params']
  ids = [video['id'] for video in manifest['videos']]
  positions = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(ids), tf.range(len(ids), dtype=tf.int64)), -1
  )

  def blocks(path):
    return tf.data.TFRecordDataset(path).batch(BLOCK_WINDOWS).map(lambda serialized: {'serialized': serialized})

  def finish(block):
    parsed = records.parse_batch(block['serialized'], params, images=True)
    pictures = tf.map_fn(decode_picture, tf.reshape(parsed['image/encoded'], [-1]), fn_output_signature=tf.uint8)
    size = params.image_size
    return {
      'audio': parsed['audio'],
      'image': tf.reshape(pictures, [-1, params.images_per_window, size, size, 3]),
      'video_id': positions.lookup(parsed['video/id']),
      'index': parsed['index'],
      'mask': tf.ones_like(parsed['index'], tf.float32),
    }

  return Source(records.shard_paths(folder, manifest), blocks, finish, shuffle_windows(params))


def decode_picture(encoded):
  """JPEG or PNG bytes as u8 [H, W, 3]."""
  return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def encoded_pictures(folder, manifest, batch_size):
  """Dataset of string [B, T]: the JPEG or PNG pictures of every window, in the order of the files.

  Args:
    folder, manifest: of records with pictures.
    batch_size: B, less in the last one.
  """
  windows = tf.data.TFRecordDataset(records.shard_paths(folder, manifest)).batch(batch_size)
  return windows.map(lambda serialized: records.parse_batch(serialized, manifest['params'], True)['image/encoded'])


def fill_up(batch, multiple):
  """Repeats examples, with mask 0, until the batch is a multiple of `multiple`: replicas need equal, non-empty shares.

  Sounds of the batch, not silence: batch normalization knows no mask.
  """
  count = tf.shape(batch['mask'])[0]
  missing = -count % multiple
  filled = {name: tf.gather(x, tf.range(count + missing) % count) for name, x in batch.items()}
  return filled | {'mask': tf.pad(batch['mask'], [[0, missing]])}


def training_batches(source, batch_size, seed, first_pass=0, replicas=1, augment=None):
  """Shuffled batches without end; each pass holds every window once, its last batch may be small.

  Args:
    source: Source.
    batch_size: over all replicas.
    seed: python int.
    first_pass: number of the pass to begin with.
    replicas: batches are filled up to a multiple of this.
    augment: None or a function (batch, int64 [2] of seed and pass) -> batch: `augmentation.augmenter`.
  """

  def one_pass(number):
    seed_of_pass = tf.stack([tf.cast(seed, tf.int64), number])
    order = tf.random.experimental.stateless_shuffle(tf.constant(source.paths), seed_of_pass)
    files = tf.data.Dataset.from_tensor_slices(order)
    blocks = files.interleave(source.blocks, cycle_length=min(len(source.paths), 8), block_length=1)

    def shuffle(turn, windows):
      count = tf.shape(next(iter(windows.values())))[0]
      seed_of_turn = tf.random.experimental.stateless_fold_in(seed_of_pass, turn)
      places = tf.random.experimental.stateless_shuffle(tf.range(count), seed_of_turn)
      return {name: tf.gather(x, places) for name, x in windows.items()}

    # Dataset.shuffle would take no seed that depends on the pass.
    batches = blocks.rebatch(source.shuffle_windows).enumerate().map(shuffle).rebatch(batch_size)
    return batches.map(lambda windows: windows | {SEED_OF_PASS: seed_of_pass}) if augment else batches

  passes = tf.data.Dataset.range(first_pass, tf.int64.max).flat_map(one_pass)
  finish = (lambda windows: augment(source.finish(windows), windows[SEED_OF_PASS])) if augment else source.finish
  return finished(passes, finish, replicas).prefetch(8)


def sequential_batches(source, batch_size, replicas=1):
  """Every window once, in the order of the files."""
  blocks = tf.data.Dataset.from_tensor_slices(tf.constant(source.paths)).flat_map(source.blocks)
  return finished(blocks.rebatch(batch_size), source.finish, replicas).prefetch(2)


def finished(windows, finish, replicas):
  """Batches of a dataset of compact windows."""
  batches = windows.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
  return batches.map(lambda batch: fill_up(batch, replicas)) if replicas > 1 else batches
