"""The train steps: a student learns its teachers' predictions, multi-label targets, or to reconstruct its input.

Distiller: distributions, by KL divergence (SoundNet, Aytar et al. 2016, section 3.2; Bryce 2018, section 3.1).
MultiLabelTrainer: labels that do not exclude each other. AutoencoderTrainer: no teacher, the sound is the target.
"""

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.data import batch_keys
from audionet_tf.data.batch_keys import TEACHER, WEIGHT
from audionet_tf.models.heads import LOGITS
from audionet_tf.training.steps import losses, spec_augment
from audionet_tf.training.steps.metrics import FiniteSteps, SegmentMean

COSINE_DISTANCE = 'cosine_distance'  # of heads that learn embeddings: the trained loss, and its metric


class Distiller(keras.Model):
  """A student and its teachers' predictions, for the training `loop`, or Keras `fit`, under any strategy.

  Args:
    student: keras.Model from `registry.build`.
    heads: names of the teachers; the student has a head for each.
    videos: number of videos; the mean KL of each is kept (`video_means`).
    loss_reduction: 'sum' or 'mean' of the examples' losses over the *global* batch, weighted if it has `weight`.
      AudioNet's code sums.
    teacher_fns: dict of head to a function from u8 [N, H, W, 3] to probabilities f32 [N, classes], for batches with
      `image`; a teacher is held as a function so that it enters no checkpoint. None if batches hold its outputs.
    alignment: f32 [S, T] (NumPy), the weights of a window's T pictures in the target of each of the student's S steps
      (`alignment.for_student`); None if S = T = 1.
    videos_windows: None, or a list of (first window, number of windows) of every video: then the KL of every single
      window is kept (`window_means`, video after video; `window_ends`, int [videos], holds the end of each).
    loss: key of losses.LOSSES: what is trained. The KL is a metric in any case.
    loss_weights: dict of head to the weight of its loss; None for 1 each.
    embeddings: names of the heads whose targets are vectors, not distributions: they learn by cosine distance, whatever
      `loss` is. It is kept per video if all heads do.

  Raises:
    ValueError: an unknown loss_reduction.
  """

  distance, stats_key = 'kl', 'kldiv'  # the metric that is kept per video, and its name in stats.json
  activation = 'softmax'  # of the heads, key of heads.ACTIVATIONS

  def __init__(
    self,
    student,
    heads,
    videos,
    loss_reduction='sum',
    teacher_fns=None,
    alignment=None,
    videos_windows=None,
    loss='kl',
    loss_weights=None,
    embeddings=(),
  ):
    super().__init__()
    if loss_reduction not in ('sum', 'mean'):
      raise ValueError(f'loss_reduction is {loss_reduction!r}, allowed is sum or mean')
    self.student = student
    self.forward_masked = spec_augment.masked_forward(student)
    self.heads = tuple(heads)
    self.loss_reduction = loss_reduction
    self.loss_name = loss
    self.embeddings = frozenset(embeddings)
    if self.heads and self.embeddings == set(self.heads):
      self.distance = self.stats_key = self.loss_name = COSINE_DISTANCE
    self.loss_weights = loss_weights or dict.fromkeys(self.heads, 1.0)
    self.teacher_fns = teacher_fns or {}
    self.alignment = np.ones([1, 1], np.float32) if alignment is None else alignment
    self.means = {name: keras.metrics.Mean(name) for name in self.metric_names()}
    self.video_means = SegmentMean(videos, 'video_means')
    self.finite_steps = FiniteSteps()
    self.window_means = None
    if videos_windows is not None:
      first, counts = np.array(videos_windows, np.int64).T
      self.window_ends = np.cumsum(counts)
      self.row_of_index_0 = tf.constant(self.window_ends - counts - first)
      self.window_means = SegmentMean(int(self.window_ends[-1]), 'window_means')

  def metric_names(self):
    """Names of the scalar metrics: means over all heads, and per head if there are several.

    The metrics are unweighted; the trained loss is the weighted sum over the heads.
    """
    of_distribution = [*self.head_metric_names(), *(['loss'] if self.has_own_loss() else [])]
    by_head = {head: [COSINE_DISTANCE] if head in self.embeddings else of_distribution for head in self.heads}
    names = list(dict.fromkeys(name for head_names in by_head.values() for name in head_names))
    if len(self.heads) > 1:
      names += [f'{name}_{head}' for head, head_names in by_head.items() for name in head_names]
    return names

  def head_metric_names(self):
    """Names of `head_metric_values`."""
    return ['kl', 'top1', 'top5']

  def has_own_loss(self):
    """Whether the trained loss of a head differs from its `distance`; then it is a metric of its own, `loss`."""
    return self.loss_name != self.distance

  def call(self, audio, training=False):
    """The student's outputs, in float32 also where it computes in another precision."""
    return {name: tf.cast(x, tf.float32) for name, x in self.student(audio, training=training).items()}

  def forward(self, batch):
    """The student's outputs in training mode, with the masks of SpecAugment if the batch has them.

    Returns:
      dict: `logits/<head>` f32 [B, S, classes], `embedding` f32 [B, width].
    """
    if batch_keys.HIDDEN_TIME in batch or batch_keys.HIDDEN_FREQUENCY in batch:
      return self.forward_masked(batch['audio'], batch)
    return self(batch['audio'], training=True)

  def targets(self, batch):
    """dict of head to f32 [B, S, classes]: the teachers' probabilities, aligned with the student's steps."""
    return {head: losses.align_targets(rows, self.alignment) for head, rows in self.teacher_targets(batch).items()}

  def teacher_targets(self, batch):
    """dict of head to f32 [B, T, classes]: the stored outputs, or what the teachers predict for the pictures."""
    stored = {head: batch[TEACHER + head] for head in self.heads if TEACHER + head in batch}
    if len(stored) == len(self.heads):
      return stored
    shape = tf.shape(batch['image'])
    pictures = tf.reshape(batch['image'], tf.concat([shape[:1] * shape[1], shape[2:]], 0))  # [B T, H, W, 3]
    outputs = {head: tf.stop_gradient(self.teacher_fns[head](pictures)) for head in self.heads}
    steps = batch['image'].shape[1] or shape[1]
    targets = {head: tf.reshape(rows, [shape[0], steps, rows.shape[-1]]) for head, rows in outputs.items()}
    return {
      head: batch_keys.stored(rows) if head in self.embeddings else batch_keys.soft_targets(rows)
      for head, rows in targets.items()
    }

  def losses_by_head(self, targets, outputs):
    """dict of head to its distance, the KL or that of the cosine, f32 [B]."""
    return {
      head: (losses.cosine_distance if head in self.embeddings else losses.kl_divergence)(
        targets[head], outputs[LOGITS + head]
      )
      for head in self.heads
    }

  def example_losses(self, targets, outputs, distances):
    """f32 [B]: the trained loss, summed over the heads; it is `distances` unless the heads have a loss of their own."""
    if self.has_own_loss():
      of_distributions = [head for head in self.heads if head not in self.embeddings]
      distances = distances | {head: self.head_loss(targets[head], outputs[LOGITS + head]) for head in of_distributions}
    return tf.add_n([self.loss_weights[head] * distances[head] for head in self.heads])

  def head_loss(self, target, logits):
    """f32 [B]: the trained loss of a head, if that is not its `distance`."""
    return losses.LOSSES[self.loss_name](target, logits)

  def train_step(self, batch):
    """One optimizer step, called on every replica.

    Args:
      batch: dict of a replica's tensors (`data/batch_keys.py`): `audio` f32 [B, samples], `video_id` and `index` int64
        [B], `mask` f32 [B] (0 for padding), `teacher/<head>` f32 [B, T, classes] or `image` u8 [B, T, H, W, 3], and
        perhaps `weight` f32 [B]: a sum or mean over the batch is then weighted; metrics are not.

    Returns:
      dict of metric to its mean in this epoch so far.
    """
    targets = self.targets(batch)
    weights = batch['mask'] * batch[WEIGHT] if WEIGHT in batch else batch['mask']
    with tf.GradientTape() as tape:
      outputs = self.forward(batch)
      distances = self.losses_by_head(targets, outputs)
      total = tf.reduce_sum(weights * self.example_losses(targets, outputs, distances))
      loss = self.optimizer.scale_loss(tf.math.divide_no_nan(total, self.divisor(weights)))
    gradients = self.all_or_none_finite(tape.gradient(loss, self.student.trainable_variables))
    self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables, strict=True))
    return self.update_metrics(batch, targets, outputs, distances)

  def all_or_none_finite(self, gradients):
    """The gradients; with loss scaling NaN if those of any replica are not finite, as all must skip the same steps."""
    context = tf.distribute.get_replica_context()
    if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer) or context.num_replicas_in_sync == 1:
      return gradients
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(x)) for x in gradients])
    broken = context.all_reduce('SUM', tf.cast(tf.logical_not(finite), tf.float32))
    return [tf.where(broken > 0, np.float32('nan'), x) for x in gradients]

  def test_step(self, batch):
    targets = self.targets(batch)
    outputs = self(batch['audio'], training=False)
    return self.update_metrics(batch, targets, outputs, self.losses_by_head(targets, outputs))

  def divisor(self, weights):
    """Divisor of the replica's summed loss. Gradients are summed over replicas, so a mean needs the global weight."""
    if self.loss_reduction == 'sum':
      return 1.0
    return tf.distribute.get_replica_context().all_reduce('SUM', tf.reduce_sum(weights))

  def metric_values(self, targets, outputs, distances):
    """dict of scalar metric to a list of f32 [B], of which it is the mean."""
    values = {}
    for head in self.heads:
      target, logits = targets[head], outputs[LOGITS + head]
      if head in self.embeddings:
        values_of_head = {COSINE_DISTANCE: distances[head]}
      else:
        own = {'loss': self.head_loss(target, logits)} if self.has_own_loss() else {}
        values_of_head = self.head_metric_values(target, logits, distances[head]) | own
      for name, value in values_of_head.items():
        values.setdefault(name, []).append(value)
        if len(self.heads) > 1:
          values[f'{name}_{head}'] = [value]
    return values

  def head_metric_values(self, target, logits, distance):
    """dict of metric to f32 [B], of one head."""
    return {'kl': distance, **{f'top{k}': losses.top_k_agreement(target, logits, k) for k in (1, 5)}}

  def update_metrics(self, batch, targets, outputs, distances):
    """Updates the scalar metrics and the means per video and per window; masked examples do not count.

    Args:
      batch: as in `train_step`.
      targets: dict of head to f32 [B, S, classes].
      outputs: of the student.
      distances: from `losses_by_head`.

    Returns:
      dict of metric to its mean in this epoch so far.
    """
    mask = batch['mask']
    for name, parts in self.metric_values(targets, outputs, distances).items():
      self.means[name].update_state(tf.add_n(parts) / len(parts), mask)
    kept = [head for head in distances if head not in self.embeddings] or list(distances)
    distance = tf.add_n([distances[head] for head in kept]) / len(kept)
    # Once a loss is not finite, all later ones are not either: only the first such step shows which videos caused it.
    still_finite = mask * tf.cast(tf.equal(tf.convert_to_tensor(self.finite_steps.broken), 0), mask.dtype)
    self.video_means.update_state(distance, batch['video_id'], still_finite)
    everything = tf.add_n(list(distances.values()))
    total = tf.distribute.get_replica_context().all_reduce('SUM', tf.reduce_sum(everything * mask))
    self.finite_steps.update_state(tf.math.is_finite(total))
    if self.window_means is not None:
      rows = tf.gather(self.row_of_index_0, batch['video_id']) + batch['index']
      self.window_means.update_state(distance, rows, mask)
    return {name: metric.result() for name, metric in self.means.items()}


class MultiLabelTrainer(Distiller):
  """A Distiller for losses of `losses.MULTI_LABEL_LOSSES`; targets are labels in [0, 1], rows may have any sum.

  The metrics are `cross_entropy` (nats, summed over the classes) and `top1`: how often the student's most probable
  class is one of the labels.

  Args:
    label_smoothing: of the trained loss, not of the metrics (`losses.binary_loss`).
  """

  distance = stats_key = losses.CROSS_ENTROPY
  activation = 'sigmoid'

  def __init__(self, *args, label_smoothing=0.0, **kwargs):
    self.label_smoothing = label_smoothing
    super().__init__(*args, **kwargs)

  def head_metric_names(self):
    return [self.distance, 'top1']

  def has_own_loss(self):
    return super().has_own_loss() or self.label_smoothing > 0

  def losses_by_head(self, targets, outputs):
    return {head: losses.binary_loss(self.distance, targets[head], outputs[LOGITS + head]) for head in self.heads}

  def head_loss(self, target, logits):
    return losses.binary_loss(self.loss_name, target, logits, self.label_smoothing)

  def head_metric_values(self, target, logits, distance):
    return {self.distance: distance, 'top1': losses.top1_is_label(target, logits)}


SOUND = 'waveform'  # the autoencoder's output; its target is the batch's `audio`


class AutoencoderTrainer(Distiller):
  """A Distiller for a student with the output `waveform`: trains the squared error, which is the only metric too."""

  distance = stats_key = 'squared_error'

  def __init__(self, student, videos, loss_reduction='sum', videos_windows=None):
    super().__init__(student, [], videos, loss_reduction, videos_windows=videos_windows)

  def metric_names(self):
    return [self.distance]

  def targets(self, batch):
    return {SOUND: batch['audio']}

  def losses_by_head(self, targets, outputs):
    return {SOUND: losses.squared_error(targets[SOUND], outputs[SOUND])}

  def example_losses(self, targets, outputs, distances):
    return distances[SOUND]

  def metric_values(self, targets, outputs, distances):
    return {self.distance: [distances[SOUND]]}
