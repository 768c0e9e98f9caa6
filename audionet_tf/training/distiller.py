"""The train steps: a student learns what its teachers predict, what labels say, or to reconstruct its input.

Distiller: distributions, by KL divergence (SoundNet, Aytar et al. 2016, section 3.2; Bryce 2018, section 3.1).
MultiLabelTrainer: labels that do not exclude each other. AutoencoderTrainer: no teacher, the sound is the target.
"""

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.data import batch_keys
from audionet_tf.data.batch_keys import TEACHER
from audionet_tf.models.heads import LOGITS
from audionet_tf.training import losses, spec_augment
from audionet_tf.training.metrics import FiniteSteps, SegmentMean


class Distiller(keras.Model):
  """A student and its teachers' answers, for `fit` and `evaluate` under any single-worker strategy.

  Args:
    student: keras.Model, see `registry`.
    heads: names of the teachers; the student has a head for each.
    videos: how many videos there are: the KL of each is kept (`video_means`).
    loss_reduction: 'sum' or 'mean' of the examples' losses over the *global* batch. AudioNet's code sums.
    ask: dict of head to a function from u8 [N, H, W, 3] to probabilities f32 [N, classes], for batches with `image`;
      a teacher is held as a function so that it enters no checkpoint. None where batches hold the answers.
    alignment: f32 [S, T] (NumPy), which of a window's T pictures each of the student's S steps answers for
      (`alignment.for_student`); None where both are one.
    videos_windows: None, or a list of (first window, number of windows) of every video: then the KL of every single
      window is kept (`window_means`, video after video; `window_ends` int [videos] says where each ends).
    loss: key of losses.LOSSES: what is trained. The KL is a figure in any case.
    loss_weights: dict of head to the weight of its loss; None for 1 each.
  """

  distance, stats_key = 'kl', 'kldiv'  # what is kept of every video, and its name in stats.json
  activation = 'softmax'  # key of heads.ACTIVATIONS, of its heads

  def __init__(
    self,
    student,
    heads,
    videos,
    loss_reduction='sum',
    ask=None,
    alignment=None,
    videos_windows=None,
    loss='kl',
    loss_weights=None,
  ):
    super().__init__()
    if loss_reduction not in ('sum', 'mean'):
      raise ValueError(f'loss_reduction is {loss_reduction!r}, allowed is sum or mean')
    self.student = student
    self.hear_hiding = spec_augment.hiding(student)
    self.heads = tuple(heads)
    self.loss_reduction = loss_reduction
    self.loss_name = loss
    self.loss_weights = loss_weights or dict.fromkeys(self.heads, 1.0)
    self.ask = ask or {}
    self.alignment = np.ones([1, 1], np.float32) if alignment is None else alignment
    self.means = {name: keras.metrics.Mean(name) for name in self.mean_names()}
    self.video_means = SegmentMean(videos, 'video_means')
    self.finite_steps = FiniteSteps()
    self.window_means = None
    if videos_windows is not None:
      first, counts = np.array(videos_windows, np.int64).T
      self.window_ends = np.cumsum(counts)
      self.row_of_index_0 = tf.constant(self.window_ends - counts - first)
      self.window_means = SegmentMean(int(self.window_ends[-1]), 'window_means')

  def mean_names(self):
    """Names of the scalar metrics: means of all heads, and by head where there are several.

    They are not weighted; what is trained is the weighted sum over the heads.
    """
    names = [*self.head_names(), *(['loss'] if self.has_own_loss() else [])]
    if len(self.heads) > 1:
      names += [f'{name}_{head}' for head in self.heads for name in names]
    return names

  def head_names(self):
    """Names of `head_figures`."""
    return ['kl', 'top1', 'top5']

  def has_own_loss(self):
    """Whether what is trained of a head is not its `distance`; then it is a figure too, `loss`."""
    return self.loss_name != self.distance

  def call(self, audio, training=False):
    return self.student(audio, training=training)

  def hear(self, batch):
    """The student's outputs in training; stretches of its spectrogram are hidden where the batch says so."""
    if batch_keys.HIDDEN_TIME in batch or batch_keys.HIDDEN_FREQUENCY in batch:
      return self.hear_hiding(batch['audio'], batch)
    return self(batch['audio'], training=True)

  def targets(self, batch):
    """dict of head to f32 [B, S, classes]: the teachers' answers for each step of the student."""
    return {head: losses.align_targets(answers, self.alignment) for head, answers in self.answers(batch).items()}

  def answers(self, batch):
    """dict of head to f32 [B, T, classes]: stored answers, or the teachers' own to the batch's pictures."""
    stored = {head: batch[TEACHER + head] for head in self.heads if TEACHER + head in batch}
    if len(stored) == len(self.heads):
      return stored
    shape = tf.shape(batch['image'])
    pictures = tf.reshape(batch['image'], tf.concat([shape[:1] * shape[1], shape[2:]], 0))  # [B T, H, W, 3]
    answers = {head: tf.stop_gradient(self.ask[head](pictures)) for head in self.heads}
    steps = batch['image'].shape[1] or shape[1]
    return {head: batch_keys.soft_targets(tf.reshape(p, [shape[0], steps, p.shape[-1]])) for head, p in answers.items()}

  def distances(self, targets, outputs):
    """dict of head to KL f32 [B]."""
    return {head: losses.kl_divergence(targets[head], outputs[LOGITS + head]) for head in self.heads}

  def example_losses(self, targets, outputs, distances):
    """f32 [B]: what is trained; `distances` are the heads' losses where they have no other."""
    if self.has_own_loss():
      distances = {head: self.head_loss(targets[head], outputs[LOGITS + head]) for head in self.heads}
    return tf.add_n([self.loss_weights[head] * distances[head] for head in self.heads])

  def head_loss(self, target, logits):
    """f32 [B]: the loss of a head whose `distance` is not what is trained."""
    return losses.LOSSES[self.loss_name](target, logits)

  def train_step(self, batch):
    targets = self.targets(batch)
    with tf.GradientTape() as tape:
      outputs = self.hear(batch)
      distances = self.distances(targets, outputs)
      total = tf.reduce_sum(batch['mask'] * self.example_losses(targets, outputs, distances))
      loss = self.optimizer.scale_loss(total / self.divisor(batch['mask']))
    gradients = tape.gradient(loss, self.student.trainable_variables)
    self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables, strict=True))
    return self.update_metrics(batch, targets, outputs, distances)

  def test_step(self, batch):
    targets = self.targets(batch)
    outputs = self(batch['audio'], training=False)
    return self.update_metrics(batch, targets, outputs, self.distances(targets, outputs))

  def divisor(self, mask):
    """Divides the replica's summed KL. Gradients are summed over replicas, so a mean takes the global count."""
    if self.loss_reduction == 'sum':
      return 1.0
    return tf.distribute.get_replica_context().all_reduce('SUM', tf.reduce_sum(mask))

  def figures(self, targets, outputs, distances):
    """dict of scalar metric to a list of f32 [B], whose mean it is."""
    values = {}
    for head in self.heads:
      target, logits = targets[head], outputs[LOGITS + head]
      own = {'loss': self.head_loss(target, logits)} if self.has_own_loss() else {}
      for name, value in (self.head_figures(target, logits, distances[head]) | own).items():
        values.setdefault(name, []).append(value)
        if len(self.heads) > 1:
          values[f'{name}_{head}'] = [value]
    return values

  def head_figures(self, target, logits, distance):
    """dict of figure to f32 [B], of one head."""
    return {'kl': distance, **{f'top{k}': losses.top_k_agreement(target, logits, k) for k in (1, 5)}}

  def update_metrics(self, batch, targets, outputs, distances):
    mask = batch['mask']
    for name, parts in self.figures(targets, outputs, distances).items():
      self.means[name].update_state(tf.add_n(parts) / len(parts), mask)
    distance = tf.add_n(list(distances.values())) / len(distances)
    # After a loss that is not finite every other is: only the first step tells which videos were in it.
    before = mask * tf.cast(tf.equal(tf.convert_to_tensor(self.finite_steps.broken), 0), mask.dtype)
    self.video_means.update_state(distance, batch['video_id'], before)
    total = tf.distribute.get_replica_context().all_reduce('SUM', tf.reduce_sum(distance * mask))
    self.finite_steps.update_state(tf.math.is_finite(total))
    if self.window_means is not None:
      rows = tf.gather(self.row_of_index_0, batch['video_id']) + batch['index']
      self.window_means.update_state(distance, rows, mask)
    return {name: metric.result() for name, metric in self.means.items()}


class MultiLabelTrainer(Distiller):
  """As Distiller, for losses of `losses.MULTI_LABEL_LOSSES`; targets are labels in [0, 1], rows of any sum.

  The figures are `cross_entropy` (in nats, of all classes together) and `top1`: how often the student's first class is
  one of the labels.

  Args:
    label_smoothing: see `losses.binary_loss`; of the loss, not of the figures.
  """

  distance = stats_key = losses.CROSS_ENTROPY
  activation = 'sigmoid'

  def __init__(self, *args, label_smoothing=0.0, **kwargs):
    self.label_smoothing = label_smoothing
    super().__init__(*args, **kwargs)

  def head_names(self):
    return [self.distance, 'top1']

  def has_own_loss(self):
    return super().has_own_loss() or self.label_smoothing > 0

  def distances(self, targets, outputs):
    return {head: losses.binary_loss(self.distance, targets[head], outputs[LOGITS + head]) for head in self.heads}

  def head_loss(self, target, logits):
    return losses.binary_loss(self.loss_name, target, logits, self.label_smoothing)

  def head_figures(self, target, logits, distance):
    return {self.distance: distance, 'top1': losses.top1_is_label(target, logits)}


SOUND = 'waveform'  # its output; the target is the batch's `audio`


class AutoencoderTrainer(Distiller):
  """As Distiller, for a student with the output `waveform`: trains the squared error, which is the only figure too."""

  distance = stats_key = 'squared_error'

  def __init__(self, student, videos, loss_reduction='sum', videos_windows=None):
    super().__init__(student, [], videos, loss_reduction, videos_windows=videos_windows)

  def mean_names(self):
    return [self.distance]

  def targets(self, batch):
    return {SOUND: batch['audio']}

  def distances(self, targets, outputs):
    return {SOUND: losses.squared_error(targets[SOUND], outputs[SOUND])}

  def example_losses(self, targets, outputs, distances):
    return distances[SOUND]

  def figures(self, targets, outputs, distances):
    return {self.distance: [distances[SOUND]]}
