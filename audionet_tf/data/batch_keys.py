"""Keys and values of a batch that the input pipeline, the teachers and the train steps agree on."""

import tensorflow as tf

TEACHER = 'teacher/'  # + name: key of a teacher's answers


# Keys of a batch, f32 [B, 2]: where a stretch of the spectrogram that is hidden begins and ends, in shares of its axis.
HIDDEN_TIME, HIDDEN_FREQUENCY = 'hidden/time', 'hidden/frequency'


def soft_targets(probabilities):
  """A teacher's answers as targets: rounded to float16, as they are stored, and summing to one again.

  Stored and online answers pass through here, so that both give the same training, number for number.

  Args:
    probabilities: float [..., classes].

  Returns:
    f32 [..., classes].
  """
  rounded = tf.cast(tf.cast(probabilities, tf.float16), tf.float32)
  return rounded / tf.reduce_sum(rounded, axis=-1, keepdims=True)


MULTI_LABEL = 'labels'  # `outputs` of a teacher whose answers are no distributions: each class is 0 or 1
