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
    super().__init__(*args, **kwargs)
    self.label_smoothing = label_smoothing

  def mean_names(self):
    names = [self.distance, 'top1']
    several = [f'{name}_{head}' for head in self.heads for name in names] if len(self.heads) > 1 else []
    return names + several

  def distances(self, targets, outputs):
    return {head: losses.by_class(self.distance, targets[head], outputs[LOGITS + head]) for head in self.heads}

  def example_losses(self, targets, outputs, distances):
    if self.loss_name != self.distance or self.label_smoothing:
      distances = {
        head: losses.by_class(self.loss_name, targets[head], outputs[LOGITS + head], self.label_smoothing)
        for head in self.heads
      }
    return self.weighted(distances)

  def head_figures(self, target, logits, distance):
    return {self.distance: distance, 'top1': losses.first_is_label(target, logits)}
