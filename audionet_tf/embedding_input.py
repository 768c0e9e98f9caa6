"""AudioSet's released embeddings as training input: a Source of batches without sound.

A batch is that of `input_pipeline`, but `audio` holds embeddings, f32 [B, 10 x 128] in [-1, 1): byte / 128 - 1, step by
step. `teacher/<head>` f32 [B, 1, classes] is 1 for each of the clip's labels. `embedding_training`
trains from it.
"""

import tensorflow as tf
import tqdm

from audionet_tf import embedding_files, input_pipeline
from audionet_tf.errors import UserError

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
    for clip in embedding_files.read(path):
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
      {embedding_files.EMBEDDING: tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    # Clips of less than ten seconds have fewer steps: these are repeated.
    turns = tf.range(STEPS, dtype=tf.int64) % tf.expand_dims(lengths[embedding_files.EMBEDDING], 1)  # [B, STEPS]
    chosen = tf.gather(steps[embedding_files.EMBEDDING], turns, batch_dims=1)
    values = tf.cast(tf.io.decode_raw(chosen, tf.uint8), tf.float32) / 128 - 1  # [B, STEPS, WIDTH]
    several = tf.reduce_max(tf.one_hot(context['labels'].to_tensor(-1), classes), 1)  # [B, classes]
    return {
      'audio': tf.ensure_shape(tf.reshape(values, [-1, STEPS * WIDTH]), [None, STEPS * WIDTH]),
      'video_id': positions.lookup(context['video_id']),
      'index': tf.zeros_like(lengths[embedding_files.EMBEDDING]),
      'mask': tf.ones_like(lengths[embedding_files.EMBEDDING], tf.float32),
      input_pipeline.TEACHER + head: tf.expand_dims(several, 1),
    }

  return input_pipeline.Source(list(map(str, paths)), blocks, finish, input_pipeline.SHUFFLE_WINDOWS)
