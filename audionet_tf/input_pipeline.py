"""Batches for training and evaluation from records or from stored labels, by tf.data.

A batch is a dict of named tensors:
  `audio` f32 [B, samples] in [-1, 1);
  `teacher/<name>` f32 [B, T, classes] (stored answers), or `image` u8 [B, T, size, size, 3] (the teacher runs online);
  `video_id` int64 [B], position in the manifest's list of videos (a string would not pass between replicas);
  `index` int64 [B], number of the window in its video;
  `mask` f32 [B], 0 for the examples that only fill up the last batch.

Two pipelines: training never ends, and its order is a function of (seed, pass number) alone, so that a resumed run
enters it where the killed one left it; evaluation reads every window once, in order.
"""

import tensorflow as tf

from audionet_tf import losses, records

# Windows that are shuffled among each other. The files hold windows in hashed order and are read in a new order each
# pass, so this need not cover a large set. The same for records and stored labels: both must give the same order.
SHUFFLE_WINDOWS = 10_000
TEACHER = 'teacher/'  # + name: key of a teacher's answers


def record_parser(manifest):
  """serialized string [B] -> batch with `image`, for records."""
  params = manifest['params']
  ids = [video['id'] for video in manifest['videos']]
  positions = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(ids), tf.range(len(ids), dtype=tf.int64)), -1
  )

  def parse(serialized):
    parsed = records.parse_batch(serialized, params, images=True)
    pictures = tf.map_fn(decode_picture, tf.reshape(parsed['image/encoded'], [-1]), fn_output_signature=tf.uint8)
    size = params.image_size
    return {
      'audio': parsed['audio'],
      'image': tf.reshape(pictures, [-1, params.images_per_window, size, size, 3]),
      'video_id': positions.lookup(parsed['video/id']),
      'index': parsed['index'],
      'mask': tf.ones_like(parsed['index'], tf.float32),
    }

  return parse


def decode_picture(encoded):
  """JPEG or PNG bytes as u8 [H, W, 3]."""
  return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def label_parser(manifest):
  """serialized string [B] -> batch with `teacher/<name>`, for stored labels (`soft_labels`)."""
  params = manifest['params']
  classes = {name: len(teacher['classes']) for name, teacher in manifest['teachers'].items()}
  spec = {'audio/pcm': tf.io.FixedLenFeature([], tf.string)}
  spec |= {name: tf.io.FixedLenFeature([], tf.int64) for name in ('video', 'index')}
  spec |= {TEACHER + name: tf.io.FixedLenFeature([], tf.string) for name in classes}

  def parse(serialized):
    parsed = tf.io.parse_example(serialized, spec)
    batch = {
      'audio': records.decode_pcm(parsed['audio/pcm'], params.window_samples),
      'video_id': parsed['video'],
      'index': parsed['index'],
      'mask': tf.ones_like(parsed['index'], tf.float32),
    }
    for name, count in classes.items():
      answers = tf.io.decode_raw(parsed[TEACHER + name], tf.float16, little_endian=True)
      batch[TEACHER + name] = losses.soft_targets(tf.reshape(answers, [-1, params.images_per_window, count]))
    return batch

  return parse


def fill_up(batch, multiple):
  """Appends masked zeros until the batch is a multiple of `multiple`: replicas need equal, non-empty shares."""
  missing = -tf.shape(batch['mask'])[0] % multiple
  return {name: tf.pad(x, [[0, missing]] + [[0, 0]] * (x.shape.rank - 1)) for name, x in batch.items()}


def training_batches(paths, parse, batch_size, seed, first_pass=0, replicas=1):
  """Shuffled batches without end; each pass holds every window once, its last batch may be small.

  Args:
    paths: shard files.
    parse: `record_parser(...)` or `label_parser(...)`.
    batch_size: over all replicas.
    seed: python int.
    first_pass: number of the pass to begin with.
    replicas: batches are filled up to a multiple of this.
  """

  def one_pass(number):
    seed_of_pass = tf.stack([tf.cast(seed, tf.int64), number])
    order = tf.random.experimental.stateless_shuffle(tf.constant(paths), seed_of_pass)
    shards = tf.data.Dataset.from_tensor_slices(order)
    serialized = shards.interleave(tf.data.TFRecordDataset, cycle_length=min(len(paths), 8), block_length=16)

    def shuffle(block, content):
      return tf.random.experimental.stateless_shuffle(
        content, tf.random.experimental.stateless_fold_in(seed_of_pass, block)
      )

    # Bytes are shuffled, not decoded pictures; Dataset.shuffle would take no seed that depends on the pass.
    return serialized.batch(SHUFFLE_WINDOWS).enumerate().map(shuffle).rebatch(batch_size)

  passes = tf.data.Dataset.range(first_pass, tf.int64.max).flat_map(one_pass)
  batches = passes.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
  if replicas > 1:
    batches = batches.map(lambda batch: fill_up(batch, replicas))
  return batches.prefetch(8)


def sequential_batches(paths, parse, batch_size, replicas=1):
  """Every window once, in the order of the files."""
  batches = tf.data.TFRecordDataset(paths).batch(batch_size).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
  if replicas > 1:
    batches = batches.map(lambda batch: fill_up(batch, replicas))
  return batches.prefetch(2)
