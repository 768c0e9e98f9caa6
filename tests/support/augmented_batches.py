"""Random batches, and their augmentation."""

import numpy as np
import tensorflow as tf

from audionet_tf.data import augmentation


def batch_of(count, samples=32, steps=4, seed=0):
  rng = np.random.default_rng(seed)
  return {
    'audio': rng.uniform(-1, 1, [count, samples]).astype(np.float32),
    'teacher/a': rng.dirichlet(np.ones(6), [count, steps]).astype(np.float32),
    'teacher/b': rng.dirichlet(np.ones(3), [count, steps]).astype(np.float32),
    'video_id': np.arange(count) // 3,
    'index': np.arange(count) % 3 + 7,
    'mask': np.ones(count, np.float32),
  }


def augmented(batch, values, seed=(0, 0), mapped=False):
  """Augments a batch eagerly, or with Dataset.map and an unknown batch size; returns NumPy arrays."""
  augment = augmentation.augmenter(values)
  seed = tf.constant(seed, tf.int64)
  if not mapped:
    result = augment({name: tf.constant(x) for name, x in batch.items()}, seed)
  else:
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(len(batch['mask']))
    result = next(iter(dataset.map(lambda x: augment(x, seed))))
  return {name: x.numpy() for name, x in result.items()}
