"""tf.data with a fixed number of threads, without its tuner.

The tuner sleeps longer and longer between two looks, and whoever drops an iterator waits until it wakes: half a second
after every shard of the teacher's pass, up to 15 s after a training.
"""

import joblib
import tensorflow as tf

THREADS = min(16, joblib.cpu_count())  # for `num_parallel_calls`; 16 is the tuner's own start


def fixed(dataset):
  """The dataset, whose iterators are not tuned: its stages need a number of threads of their own."""
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)
