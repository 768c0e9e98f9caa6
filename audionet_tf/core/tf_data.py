"""tf.data without autotune: how many threads a stage has is fixed.

Dropping an iterator can wait for autotune's thread: on one busy core, five trainings of AudioNet ended 3 to 37 s late,
and four without autotune 0.01 s. The iterators that a MirroredStrategy makes for several devices, or for a GPU, take no
options: they keep autotune, and two replicas on that core ended 1 to 12 s late, with a pipeline without it.
"""

import joblib
import tensorflow as tf

THREADS = min(16, joblib.cpu_count())  # for `num_parallel_calls`; autotune begins with 16 too
AHEAD_BYTES = 1 << 30  # of results that wait


def threads(bytes_each):
  """The number of threads for a stage whose results take so many bytes each: at most THREADS, at least one."""
  return max(1, min(THREADS, AHEAD_BYTES // bytes_each))


def without_autotune(dataset):
  """The dataset with autotune off, also for all that is built on it.

  A map then runs in parallel only if it has `num_parallel_calls`.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)
