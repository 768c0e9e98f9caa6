"""Metrics that Keras lacks."""

import keras
import tensorflow as tf


class SegmentMean(keras.metrics.Metric):
  """A weighted mean per segment: the KL of every video, or of every window.

  `update_state(values f32 [B], segments int [B], weights f32 [B])`; `result()` f32 [segments], NaN for empty segments.

  Args:
    segments: number of segments.
    name: of the metric.
  """

  def __init__(self, segments, name, **kwargs):
    super().__init__(name=name, **kwargs)
    self.segments = segments
    self.total = self.add_variable((segments,), 'zeros', name='total')
    self.count = self.add_variable((segments,), 'zeros', name='count')

  def update_state(self, values, segments, weights):
    # A masked example may hold a non-finite value: 0 x inf must not reach its segment.
    values = tf.where(weights > 0, values * weights, 0)
    self.total.assign_add(tf.math.unsorted_segment_sum(values, segments, self.segments))
    self.count.assign_add(tf.math.unsorted_segment_sum(weights, segments, self.segments))

  def result(self):
    return self.total / self.count


class FiniteSteps(keras.metrics.Metric):
  """Number of steps of an epoch before the first whose loss is not finite; all steps, if every loss is finite.

  `update_state(finite bool)`, the same on every replica. `broken` is above zero from the first such step on.
  """

  def __init__(self, name='finite_steps', **kwargs):
    super().__init__(name=name, **kwargs)
    self.broken = self.add_variable((), 'zeros', name='broken')  # Keras resets metrics to zero
    self.steps = self.add_variable((), 'zeros', name='steps')

  def update_state(self, finite):
    broken = tf.maximum(tf.convert_to_tensor(self.broken), tf.cast(tf.logical_not(finite), tf.float32))
    self.broken.assign(broken)
    # The result sums the counts of the replicas.
    self.steps.assign_add((1 - broken) / tf.distribute.get_strategy().num_replicas_in_sync)

  def result(self):
    return tf.round(self.steps)
