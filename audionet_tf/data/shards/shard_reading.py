"""Shards in tf.data: local files as they are; those of a store are fetched when their turn comes, and read ahead."""

import os

import tensorflow as tf

from audionet_tf.core import tf_data
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror

AHEAD = 2  # shards that are fetched while the ones before are read

_failures = []  # UserErrors of fetching, which tf.data makes errors of its own of


def files(paths):
  """Dataset of string []: the paths of files that can be read, in their order."""
  return at_hand(tf_data.without_autotune(tf.data.Dataset.from_tensor_slices(tensor(paths))), paths)


def tensor(paths):
  """Paths as a string tensor [n]; their names need not be UTF-8."""
  return tf.constant([os.fsencode(path) for path in paths], tf.string)


def at_hand(dataset, paths):
  """A dataset of paths with that of the local copy in place of each; unchanged if all `paths` are local files."""
  if not any(map(store_mirror.is_remote, paths)):
    return dataset

  def fetched(path):
    local = tf.numpy_function(fetch, [path], tf.string)
    return tf.ensure_shape(local, [])

  return dataset.map(fetched, num_parallel_calls=AHEAD).prefetch(AHEAD)


def fetch(path):
  """`store_mirror.present` of a path, bytes to bytes."""
  try:
    return os.fsencode(store_mirror.present(os.fsdecode(path)))
  except UserError as error:
    _failures.append(error)
    raise


def forget_failures():
  """Forgets what fetching ended with so far: it is no cause of later errors."""
  _failures.clear()


def raise_failure(cause):
  """Raises the UserError that fetching ended with, if it did."""
  if _failures:
    error = _failures[-1]
    _failures.clear()
    raise error from cause
