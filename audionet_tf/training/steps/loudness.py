"""The weight of a window by its loudness: a teacher is sure of a picture also while nothing sounds.

A window of level L, its RMS in dB of full scale, has the weight (L - floor) / RANGE_DB, clipped to [0, 1]. The floor of
a video is the 10th percentile of its windows' levels, but at least 20 and at most 40 dB below the 95th: steady sound,
and a video of one window, have the weight 1, and where parts are silent, noise far below the rest counts as nothing.
It is at least SILENCE_DB, so that silence has the weight 0.

Weights depend on the records alone: not on the batch, nor on the augmentation, which comes after them.
"""

import sys

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import tf_data
from audionet_tf.core.errors import UserError
from audionet_tf.data import record_manifest
from audionet_tf.data.batch_keys import NEEDS_WHOLE_BATCH, WEIGHT
from audionet_tf.data.shards import shard_reading

GATES = ('none', 'loudness')
RANGE_DB = 20.0
FLOOR_PERCENTILE, LOUD_PERCENTILE = 10, 95
FLOOR_BELOW_LOUD_DB = (40.0, 20.0)
SILENCE_DB = -90.0  # about one step of int16


def window_weights(source, manifest):
  """The weights of all windows, from one pass over their sound, whose mean is reported on stderr.

  Args:
    source: input_pipeline.Source of records or stored labels.
    manifest: of the records.

  Returns:
    f32 [windows], video after video.

  Raises:
    UserError: all windows are silent.
  """
  rows, levels = record_manifest.first_rows(manifest['videos']), np.full(manifest['windows'], SILENCE_DB, np.float32)

  def columns(block):
    batch = source.finish(block)
    power = tf.reduce_mean(batch['audio'] ** 2, 1)
    return batch['video_id'], batch['index'], power  # tf.data then decodes no pictures

  blocks = shard_reading.files(source.paths).flat_map(source.blocks).map(columns, tf_data.THREADS)
  with tqdm.tqdm(total=manifest['windows'], desc='measuring loudness', unit=' windows', delay=2) as bar:
    for video, index, power in blocks.prefetch(2).as_numpy_iterator():
      levels[rows[video] + index] = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
      bar.update(len(power))
  if (levels <= SILENCE_DB).all():
    raise UserError(f'gate loudness: all {len(levels)} windows are silent; leave --gate out, or use other records')
  ends = np.cumsum([video['windows'] for video in manifest['videos']])
  weights = np.concatenate([weights_of(part) for part in np.split(levels, ends[:-1]) if len(part)])
  print(
    f'gate: mean weight {weights.mean():.2f}, {(weights == 0).mean():.1%} of the windows have none', file=sys.stderr
  )
  return weights


def weights_of(levels):
  """The weights of the windows of one video, f32 [n] in [0, 1], from their levels in dB, f32 [n]."""
  floor, loud = np.percentile(levels, [FLOOR_PERCENTILE, LOUD_PERCENTILE])
  most, least = FLOOR_BELOW_LOUD_DB
  floor = max(np.clip(floor, loud - most, loud - least), SILENCE_DB)
  return np.clip((levels - floor) / RANGE_DB, 0, 1).astype(np.float32)


def gated(videos, weights, augment=None):
  """A function as from `augmentation.augmenter` that adds `weight` to a batch, then augments it.

  Args:
    videos: of the manifest.
    weights: f32 [windows], from `window_weights`.
    augment: None or a function (batch, int64 [2] of seed and pass) -> batch.
  """
  rows, table = tf.constant(record_manifest.first_rows(videos)), tf.constant(weights)

  def apply(batch, seed):
    weight = tf.gather(table, tf.gather(rows, batch['video_id']) + batch['index'])
    batch = batch | {WEIGHT: weight}
    return augment(batch, seed) if augment else batch

  setattr(apply, NEEDS_WHOLE_BATCH, getattr(augment, NEEDS_WHOLE_BATCH, False))
  return apply
