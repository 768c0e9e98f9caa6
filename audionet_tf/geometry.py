"""What a step of a network's layer hears: receptive field, hop and centre, from the table of its sliding windows.

A table is a list of (kernel, stride, padding), from the input on, of convolutions and pools; padding is that of one
side, and incomplete windows are dropped.
"""

import dataclasses

import numpy as np


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


def alignment(centers, hop, times):
  """Which pictures a step answers for: the mean of those within half a hop of its centre, else the nearest one.

  Args:
    centers: seconds of the S steps' middles, increasing.
    hop: seconds from step to step.
    times: seconds of the T pictures.

  Returns:
    f32 [S, T], rows of sum 1.
  """
  distance = np.abs(np.subtract.outer(np.asarray(centers, np.float64), np.asarray(times, np.float64)))  # [S, T]
  nearest = np.arange(len(times)) == distance.argmin(1)[:, None]
  covered = np.where((distance <= hop / 2).any(1, keepdims=True), distance <= hop / 2, nearest)
  return (covered / covered.sum(1, keepdims=True)).astype(np.float32)
