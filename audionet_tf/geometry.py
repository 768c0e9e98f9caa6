"""What a step of a network's layer hears: receptive field, hop and centre, from the table of its sliding windows.

A table is a list of (kernel, stride, padding), from the input on, of convolutions and pools; padding is that of one
side, and incomplete windows are dropped.
"""

import dataclasses

import numpy as np

from audionet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Steps:
  """Where the steps of a layer lie, in samples of the network's input.

  Attributes:
    field: samples that one step hears.
    hop: samples from one step to the next.
    first_center: middle of what step 0 hears; its field may begin before sample 0, in the padding.
  """

  field: int
  hop: int
  first_center: float


def steps(table):
  """Steps of the last of the table's layers."""
  field, hop, start = 1, 1, 0
  for kernel, stride, padding in table:
    field += (kernel - 1) * hop
    start -= padding * hop
    hop *= stride
  return Steps(field, hop, start + (field - 1) / 2)


def shortest(table):
  """Samples that are needed for one step of the last of the table's layers."""
  samples = 1
  for kernel, stride, padding in reversed(table):
    samples = max(1, (samples - 1) * stride + kernel - 2 * padding)
  return samples


def length(samples, table):
  """How many steps `samples` give; 0 where a layer has not enough for one."""
  for kernel, stride, padding in table:
    samples = max(0, (samples + 2 * padding - kernel) // stride + 1) if samples else 0
  return samples


def heard_samples(samples, tables):
  """How many of so many samples the layers hear: without padding, as in patches, a rest that fills no step is dropped.

  Args:
    samples: enough for a step of each.
    tables: dict of layer to its table.
  """
  heard = []
  for table in tables.values():
    last = length(samples, table) - 1
    padded = any(padding for _, _, padding in table)
    heard.append(samples if padded else steps(table).field + steps(table).hop * last)
  return max(heard)


def alignment(centers, hop, times, target_steps='covered'):
  """Which pictures a step answers for.

  Args:
    centers: seconds of the S steps' middles, increasing.
    hop: seconds from step to step.
    times: seconds of the T pictures.
    target_steps: key of TARGET_STEPS.

  Returns:
    f32 [S, T], rows of sum 1.

  Raises:
    UserError: 'same' where S is not T.
  """
  centers, times = np.asarray(centers, np.float64), np.asarray(times, np.float64)
  chosen = TARGET_STEPS[target_steps](np.abs(np.subtract.outer(centers, times)), hop)
  return (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)


def covered(distance, hop):
  """The pictures within half a hop of the step's centre, else the nearest: bool [S, T] from seconds [S, T]."""
  within = distance <= hop / 2
  return np.where(within.any(1, keepdims=True), within, nearest(distance, hop))


def nearest(distance, hop):
  """The picture nearest to the step's centre: bool [S, T]."""
  return np.arange(distance.shape[1]) == distance.argmin(1)[:, None]


def same(distance, hop):
  """Picture t for step t, as SoundNet's code does, wherever the steps lie: bool [S, T]."""
  steps, pictures = distance.shape
  if steps != pictures:
    raise UserError(
      f'the student has {steps} steps, the window {pictures} pictures; --target_steps=same needs as many of both'
    )
  return np.eye(steps, dtype=bool)


def window(distance, hop):
  """All pictures, for every step: where a cut between them has no sound of its own. bool [S, T]."""
  return np.ones(distance.shape, bool)


TARGET_STEPS = {'covered': covered, 'nearest': nearest, 'same': same, 'window': window}
