"""Top activations of the units of a layer, and the selectivity of units.

Source: Aytar, Vondrick, Torralba 2016, figure 6.
"""

import dataclasses

import numpy as np

from audionet_tf.core.errors import UserError

UNITS = 12  # shown by default
MOMENTS = 10  # kept per unit


@dataclasses.dataclass
class TopActivations:
  """The moments of the highest activations of every unit, and the statistics of all its activations.

  Attributes:
    activations: f32 [n, width], descending; n is at most MOMENTS.
    centers: f64 [n, width], centres of the receptive fields, in samples from time zero of the file.
    files: int [n, width], index of the file.
    steps: int, number of steps seen.
    sums, squares: f64 [width], sums of the activations of all steps, and of their squares.
  """

  activations: np.ndarray
  centers: np.ndarray
  files: np.ndarray
  steps: int
  sums: np.ndarray
  squares: np.ndarray

  def std(self):
    """Standard deviation of the activations over all steps, f64 [width]."""
    return np.sqrt(np.maximum(0, self.squares / self.steps - np.square(self.sums / self.steps)))

  def selectivity(self):
    """Mean of the top activations above that of all steps, in standard deviations, f64 [width].

    0 for units that never vary.
    """
    std = self.std()
    above = self.activations.mean(0, dtype=np.float64) - self.sums / self.steps
    return np.divide(above, std, out=np.zeros_like(above), where=std > 1e-6 * np.abs(above))


def merge(one, other):
  """The TopActivations of two sets of steps together."""
  activations = np.concatenate([one.activations, other.activations])
  order = np.argsort(-activations, axis=0, kind='stable')[:MOMENTS]
  parts = (activations, np.concatenate([one.centers, other.centers]), np.concatenate([one.files, other.files]))
  return TopActivations(
    *(np.take_along_axis(part, order, 0) for part in parts),
    one.steps + other.steps,
    one.sums + other.sums,
    one.squares + other.squares,
  )


def top_in_piece(activations, center, hop, number):
  """TopActivations of one piece of sound, one moment per unit.

  Args:
    activations: f32 [T, width].
    center: of the receptive field of the first step, in samples from time zero of the file.
    hop: samples from one step to the next.
    number: index of the file.
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


def top_in_windows(activations):
  """TopActivations of windows, f32 [windows, width]: `files` holds the windows, `centers` is zero."""
  order = np.argsort(-activations, axis=0, kind='stable')[:MOMENTS]
  return TopActivations(
    np.take_along_axis(activations, order, 0),
    np.zeros(order.shape),
    order,
    len(activations),
    activations.sum(0, dtype=np.float64),
    np.square(activations, dtype=np.float64).sum(0),
  )


def chosen_units(top, units):
  """Numbers of the units to show.

  Args:
    top: TopActivations.
    units: list of int; empty for the UNITS most selective ones.

  Returns:
    list of int.

  Raises:
    UserError: the layer has no such unit.
  """
  width = len(top.sums)
  wrong = [unit for unit in units if not 0 <= unit < width]
  if wrong:
    raise UserError(f'unit {wrong[0]}: the layer has {width}, allowed is 0 to {width - 1}')
  return list(units) or np.argsort(-top.selectivity(), kind='stable')[:UNITS].tolist()


def top_moments(top, unit):
  """Moments of a unit above its mean activation: [(index of the file, center in samples, activation)], descending."""
  rows = zip(top.files[:, unit], top.centers[:, unit], top.activations[:, unit], strict=True)
  mean = top.sums[unit] / top.steps
  return [(int(file), float(center), float(value)) for file, center, value in rows if value > mean]
