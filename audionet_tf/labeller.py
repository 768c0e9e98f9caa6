"""The training step of a student of labels that do not exclude each other: each class is a question of its own."""

from audionet_tf import losses
from audionet_tf.distiller import Distiller
from audionet_tf.students import LOGITS


class Labeller(Distiller):
  """As Distiller, for losses of `losses.LOSSES_OF_LABELS`; targets are labels in [0, 1], rows of any sum.

  The figures are `cross_entropy` (in nats, of all classes together) and `top1`: how often the student's first class is
  one of the labels.

  Args:
    label_smoothing: see `losses.by_class`; of the loss, not of the figures.
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
    return {head: losses.by_class(self.distance, targets[head], outputs[LOGITS + head]) for head in self.heads}

  def head_loss(self, target, logits):
    return losses.by_class(self.loss_name, target, logits, self.label_smoothing)

  def head_figures(self, target, logits, distance):
    return {self.distance: distance, 'top1': losses.first_is_label(target, logits)}
