"""Distances between a teacher and its student: of distributions, or of labels that do not exclude each other."""

import functools

import keras
import numpy as np
import tensorflow as tf


def align_targets(teacher, weights):
  """The teacher's answers to the pictures of a window as targets of the student's steps (`alignment.alignment`).

  Args:
    teacher: f32 [B, T, classes].
    weights: f32 [S, T] (NumPy), rows of sum 1.

  Returns:
    f32 [B, S, classes].
  """
  if weights.shape[0] == weights.shape[1] and (weights == np.eye(len(weights))).all():
    return teacher
  return tf.einsum('st,btc->bsc', weights, teacher)


def broadcast_targets(teacher, student_logits):
  """Both as tensors [B, T, classes]: one answer for several steps is one for each of them.

  ValueError for shapes that do not go together.
  """
  teacher, logits = tf.convert_to_tensor(teacher), tf.convert_to_tensor(student_logits)
  if teacher.shape.rank == 3 and teacher.shape[1] == 1 and logits.shape.rank == 3 and logits.shape[1] != 1:
    teacher = tf.repeat(teacher, tf.shape(logits)[1], axis=1)
  if not (teacher.shape.rank == 3 and teacher.shape.is_compatible_with(logits.shape)):
    raise ValueError(f'teacher {teacher.shape} and student {logits.shape}: expected [B, T, classes] of both')
  return teacher, logits


def kl_divergence(teacher, student_logits):
  """KL(teacher || student) in nats, per example: summed over classes, averaged over time.

  Source: Aytar et al. 2016, section 3.2; Bryce 2018, section 3.

  Args:
    teacher: f32 [B, T, classes], each row sums to one.
    student_logits: f32 [B, T, classes].

  Returns:
    f32 [B].

  Raises:
    ValueError: shapes that do not go together.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  cross_entropy = tf.nn.softmax_cross_entropy_with_logits(teacher, logits)  # [B, T]
  negative_entropy = tf.reduce_sum(tf.math.xlogy(teacher, teacher), axis=-1)  # [B, T]
  return tf.reduce_mean(cross_entropy + negative_entropy, axis=-1)


def squared_distance(teacher, student_logits):
  """Squared distance of the two distributions, per example: summed over classes, averaged over time.

  Source: Aytar et al. 2016, section 3.2 (the l2 of its ablation). Args, returns and errors as in `kl_divergence`.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  return tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(teacher, tf.nn.softmax(logits)), axis=-1), axis=-1)


def squared_error(waveform, reconstruction):
  """Squared error of a sound that was given back, per example: averaged over time.

  Args:
    waveform, reconstruction: f32 [B, samples].

  Returns:
    f32 [B].
  """
  return tf.reduce_mean(tf.math.squared_difference(waveform, reconstruction), axis=-1)


def binary_loss(loss, labels, student_logits, label_smoothing=0.0):
  """A binary loss of each class for itself, per example: summed over classes, averaged over time.

  Args:
    loss: key of LOSSES_OF_LABELS.
    labels: f32 [B, T, classes] in [0, 1]; rows may have any sum.
    student_logits: f32 [B, T, classes].
    label_smoothing: s: a label y counts as y (1 - s) + s / 2.

  Returns:
    f32 [B].

  Raises:
    ValueError: shapes that do not go together.
  """
  labels, logits = broadcast_targets(labels, student_logits)
  mean = MULTI_LABEL_LOSSES[loss](from_logits=True, label_smoothing=label_smoothing, reduction=None)
  return tf.reduce_mean(mean(labels, logits), axis=-1) * logits.shape[-1]


def top1_is_label(labels, student_logits):
  """Share of time steps where the student's first class is one of the labels: f32 [B]. Args as of `by_class`."""
  labels, logits = broadcast_targets(labels, student_logits)
  first = tf.gather(labels, tf.argmax(logits, axis=-1), batch_dims=2)  # [B, T]
  return tf.reduce_mean(tf.cast(first > 0.5, tf.float32), axis=-1)


RECONSTRUCTION = 'reconstruction'  # the loss `squared_error`, of students that nobody teaches
LOSSES = {'kl': kl_divergence, 'l2': squared_distance}
CROSS_ENTROPY = 'cross_entropy'
# Focal loss: Lin et al. 2017, section 3; positives weigh 0.25, negatives 0.75, as in Caption4Sound.
MULTI_LABEL_LOSSES = {
  CROSS_ENTROPY: keras.losses.BinaryCrossentropy,
  'focal': functools.partial(keras.losses.BinaryFocalCrossentropy, apply_class_balancing=True, alpha=0.25, gamma=2.0),
}


def activation_of(loss):
  """Key of ACTIVATIONS: how the logits that a loss has trained are to be read."""
  return 'sigmoid' if loss in MULTI_LABEL_LOSSES else 'softmax'


def top_k_agreement(teacher, student_logits, k):
  """Share of time steps where the teacher's first class is among the student's first k: f32 [B].

  Args and errors as in `kl_divergence`; where there are fewer than k classes, all are meant.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  batch, steps, classes = tf.unstack(tf.shape(teacher))
  first = tf.argmax(tf.reshape(teacher, [-1, classes]), axis=-1, output_type=tf.int32)
  hit = tf.math.in_top_k(first, tf.reshape(logits, [-1, classes]), k)
  return tf.reduce_mean(tf.cast(tf.reshape(hit, [batch, steps]), tf.float32), axis=-1)
