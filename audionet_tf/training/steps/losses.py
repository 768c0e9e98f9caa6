"""Losses between targets and a student's logits, per example: of distributions, and of multi-label targets."""

import functools

import keras
import numpy as np
import tensorflow as tf


def align_targets(teacher, weights):
  """Averages the teacher's probabilities for the pictures of a window into targets of the student's steps.

  Args:
    teacher: f32 [B, T, classes].
    weights: f32 [S, T] (NumPy), rows of sum 1 (`alignment.for_student`).

  Returns:
    f32 [B, S, classes].
  """
  if weights.shape[0] == weights.shape[1] and (weights == np.eye(len(weights))).all():
    return teacher
  return tf.einsum('st,btc->bsc', weights, teacher)


def broadcast_targets(teacher, student_logits):
  """Both as tensors [B, T, classes]; a target with T = 1 is repeated for every step of the student.

  Raises:
    ValueError: the shapes do not go together.
  """
  teacher, logits = tf.convert_to_tensor(teacher), tf.convert_to_tensor(student_logits)
  if teacher.shape.rank == 3 and teacher.shape[1] == 1 and logits.shape.rank == 3 and logits.shape[1] != 1:
    teacher = tf.repeat(teacher, tf.shape(logits)[1], axis=1)
  if not (teacher.shape.rank == 3 and teacher.shape.is_compatible_with(logits.shape)):
    raise ValueError(f'teacher {teacher.shape} and student {logits.shape}: expected is [B, T, classes] for both')
  return teacher, logits


def kl_divergence(teacher, student_logits):
  """KL(teacher || student) per example, in nats: summed over classes, averaged over time.

  Source: Aytar et al. 2016, section 3.2; Bryce 2018, section 3.

  Args:
    teacher: f32 [B, T, classes], each row sums to one.
    student_logits: f32 [B, T, classes].

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  cross_entropy = tf.nn.softmax_cross_entropy_with_logits(teacher, logits)  # [B, T]
  negative_entropy = tf.reduce_sum(tf.math.xlogy(teacher, teacher), axis=-1)  # [B, T]
  return tf.reduce_mean(cross_entropy + negative_entropy, axis=-1)


def squared_distance(teacher, student_logits):
  """Squared distance of the two distributions per example: summed over classes, averaged over time.

  Source: Aytar et al. 2016, section 3.2 (the l2 loss of its ablation).

  Args:
    teacher: f32 [B, T, classes], each row sums to one.
    student_logits: f32 [B, T, classes].

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  return tf.reduce_mean(tf.reduce_sum(tf.math.squared_difference(teacher, tf.nn.softmax(logits)), axis=-1), axis=-1)


def cosine_distance(teacher, student_vectors):
  """1 - cosine of the teacher's and the student's vectors per example: 0 to 2, averaged over time.

  Args:
    teacher: f32 [B, T, width], of any length above 0.
    student_vectors: f32 [B, T, width].

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  teacher, vectors = broadcast_targets(teacher, student_vectors)
  cosine = tf.reduce_sum(tf.math.l2_normalize(teacher, axis=-1) * tf.math.l2_normalize(vectors, axis=-1), axis=-1)
  return tf.reduce_mean(1.0 - cosine, axis=-1)


def squared_error(waveform, reconstruction):
  """Squared error of a reconstructed waveform per example, averaged over time.

  Args:
    waveform, reconstruction: f32 [B, samples].

  Returns:
    f32 [B].
  """
  return tf.reduce_mean(tf.math.squared_difference(waveform, reconstruction), axis=-1)


def binary_loss(loss, labels, student_logits, label_smoothing=0.0):
  """A binary loss with an independent term per class, per example: summed over classes, averaged over time.

  Args:
    loss: key of MULTI_LABEL_LOSSES.
    labels: f32 [B, T, classes] in [0, 1]; rows may have any sum.
    student_logits: f32 [B, T, classes].
    label_smoothing: s in [0, 0.5]; a label y counts as y (1 - s) + s / 2.

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  labels, logits = broadcast_targets(labels, student_logits)
  mean = MULTI_LABEL_LOSSES[loss](from_logits=True, label_smoothing=label_smoothing, reduction=None)
  return tf.reduce_mean(mean(labels, logits), axis=-1) * logits.shape[-1]


def top1_is_label(labels, student_logits):
  """Share of time steps at which the student's most probable class is one of the labels.

  Args:
    labels: f32 [B, T, classes] in [0, 1].
    student_logits: f32 [B, T, classes].

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  labels, logits = broadcast_targets(labels, student_logits)
  first = tf.gather(labels, tf.argmax(logits, axis=-1), batch_dims=2)  # [B, T]
  return tf.reduce_mean(tf.cast(first > 0.5, tf.float32), axis=-1)


RECONSTRUCTION = 'reconstruction'  # the loss `squared_error` of autoencoders, which have no teacher
LOSSES = {'kl': kl_divergence, 'l2': squared_distance}
CROSS_ENTROPY = 'cross_entropy'
# Focal loss: Lin et al. 2017, section 3; positives weigh 0.25, negatives 0.75, as in Caption4Sound.
MULTI_LABEL_LOSSES = {
  CROSS_ENTROPY: keras.losses.BinaryCrossentropy,
  'focal': functools.partial(keras.losses.BinaryFocalCrossentropy, apply_class_balancing=True, alpha=0.25, gamma=2.0),
}


def activation_of(loss):
  """Key of heads.ACTIVATIONS: the activation of logits that were trained with `loss`."""
  return 'sigmoid' if loss in MULTI_LABEL_LOSSES else 'softmax'


def top_k_agreement(teacher, student_logits, k):
  """Share of time steps at which the teacher's most probable class is among the student's k most probable ones.

  Args:
    teacher: f32 [B, T, classes].
    student_logits: f32 [B, T, classes].
    k: int; with fewer than k classes the share is 1.

  Returns:
    f32 [B].

  Raises:
    ValueError: the shapes do not go together.
  """
  teacher, logits = broadcast_targets(teacher, student_logits)
  batch, steps, classes = tf.unstack(tf.shape(teacher))
  first = tf.argmax(tf.reshape(teacher, [-1, classes]), axis=-1, output_type=tf.int32)
  hit = tf.math.in_top_k(first, tf.reshape(logits, [-1, classes]), k)
  return tf.reduce_mean(tf.cast(tf.reshape(hit, [batch, steps]), tf.float32), axis=-1)
