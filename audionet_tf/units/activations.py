"""When the units of a layer are excited most, and which of them are selective (Aytar et al. 2016, figure 6)."""

import dataclasses

import numpy as np

from audionet_tf.core.errors import UserError

UNITS = 12  # shown where none are named
MOMENTS = 10  # shown of a unit


@dataclasses.dataclass
class TopActivations:
  """The strongest moments of every unit so far, and its statistics.

  Attributes:
    activations: f32 [n, width], falling; n is MOMENTS at the most.
    centers: f64 [n, width], the middle of what was heard, in samples from time zero of its file.
    files: int [n, width], position in the list of files.
    steps: how many were heard.
    sums, squares: f64 [width], of the activations of all steps.
  """

  activations: np.ndarray
  centers: np.ndarray
  files: np.ndarray
  steps: int
  sums: np.ndarray
  squares: np.ndarray

  def deviation(self):
    """f64 [width], over all steps."""
    return np.sqrt(np.maximum(0, self.squares / self.steps - np.square(self.sums / self.steps)))

  def selectivity(self):
    """f64 [width]: how far the mean of the moments lies above that of all steps, in deviations; 0 for the deaf."""
    spread = self.deviation()
    above = self.activations.mean(0, dtype=np.float64) - self.sums / self.steps
    return np.divide(above, spread, out=np.zeros_like(above), where=spread > 1e-6 * np.abs(above))


def merge(one, other):
  """The strongest moments and the statistics of two Strongest."""
  activations = np.concatenate([one.activations, other.activations])
  order = np.argsort(-activations, axis=0, kind='stable')[:MOMENTS]
  parts = (activations, np.concatenate([one.centers, other.centers]), np.concatenate([one.files, other.files]))
  return TopActivations(
    *(np.take_along_axis(part, order, 0) for part in parts),
    one.steps + other.steps,
    one.sums + other.sums,
    one.squares + other.squares,
  )


def strongest_of(activations, center, hop, number):
  """Strongest of one piece.

  Args:
    activations: f32 [T, width].
    center, hop: of its first step, and from step to step, in samples.
    number: of the file.
  """
  best = activations.argmax(0)[None]  # [1, width]
  return TopActivations(
    np.take_along_axis(activations, best, 0),
    center + hop * best.astype(np.float64),
    np.full_like(best, number),
    len(activations),
    activations.sum(0, dtype=np.float64),
    np.square(activations, dtype=np.float64).sum(0),
  )


def strongest_windows(activations):
  """Strongest of f32 [windows, width]: the moments are windows, numbered as `files`; their centers are not known."""
  order = np.argsort(-activations, axis=0, kind='stable')[:MOMENTS]
  return TopActivations(
    np.take_along_axis(activations, order, 0),
    np.zeros(order.shape),
    order,
    len(activations),
    activations.sum(0, dtype=np.float64),
    np.square(activations, dtype=np.float64).sum(0),
  )


def chosen_units(found, wanted):
  """Numbers of the units to show: those wanted, or the UNITS most selective. UserError where there is no such unit."""
  width = len(found.sums)
  wrong = [unit for unit in wanted if not 0 <= unit < width]
  if wrong:
    raise UserError(f'unit {wrong[0]}: the layer has {width}, allowed is 0 to {width - 1}')
  return list(wanted) or np.argsort(-found.selectivity(), kind='stable')[:UNITS].tolist()


def top_moments(found, unit):
  """[(file number, center in samples, activation)] of a unit, the strongest first; those above its mean alone."""
  rows = zip(found.files[:, unit], found.centers[:, unit], found.activations[:, unit], strict=True)
  mean = found.sums[unit] / found.steps
  return [(int(file), float(center), float(value)) for file, center, value in rows if value > mean]
