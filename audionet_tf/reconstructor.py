"""The training step of a student without teachers: it learns to give back what it hears."""

from audionet_tf import losses
from audionet_tf.distiller import Distiller

SOUND = 'waveform'  # its output; the target is the batch's `audio`


class Reconstructor(Distiller):
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
