"""Keys and values of a batch that the input pipeline, the teachers and the train steps agree on."""

TEACHER = 'teacher/'  # + name: key of a teacher's predictions
# Keys, f32 [B, 2]: start and end of the hidden part of the spectrogram, as fractions of its axis.
HIDDEN_TIME, HIDDEN_FREQUENCY = 'hidden/time', 'hidden/frequency'
WEIGHT = 'weight'  # f32 [B], of an example in the trained loss; without the key, 1 each
NEEDS_WHOLE_BATCH = 'needs_whole_batch'  # attribute of an augmentation that mixes the examples of a batch
EMBEDDING = 'embedding'  # `outputs` of a teacher whose predictions are vectors of length 1, not distributions
MULTI_LABEL = 'labels'  # `outputs` of a teacher whose predictions are not distributions: each class is 0 or 1


def stored(values):
  """A teacher's predictions as f32, rounded to float16 as they are stored."""
  import tensorflow as tf

  return tf.cast(tf.cast(values, tf.float16), tf.float32)


def soft_targets(probabilities):
  """A teacher's predictions as targets: rounded to float16, as they are stored, then normalized.

  Stored and online predictions both pass through here, so that training is the same, bit for bit.

  Args:
    probabilities: float [..., classes].

  Returns:
    f32 [..., classes].
  """
  import tensorflow as tf

  rounded = stored(probabilities)
  return rounded / tf.reduce_sum(rounded, axis=-1, keepdims=True)
