"""Receptive-field arithmetic: size, stride and centre of a layer's steps, from the table of its sliding windows.

A table is a list of (kernel, stride, padding) of the convolutions and pools from the input up to the layer. Padding
counts one side; incomplete windows are dropped.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
  """Receptive field of the steps of a layer, in samples of the network's input.

  Attributes:
    size: length of the receptive field of a step.
    stride: samples from one step to the next.
    first_center: centre of the receptive field of step 0, which may start before sample 0, in the padding.
  """

  size: int
  stride: int
  first_center: float


def receptive_field(table):
  """The ReceptiveField of the last layer of a table."""
  size, hop, start = 1, 1, 0  # hop: samples of the input from one step to the next
  for kernel, stride, padding in table:
    size += (kernel - 1) * hop
    start -= padding * hop
    hop *= stride
  return ReceptiveField(size, hop, start + (size - 1) / 2)


def minimum_input_length(table):
  """Samples that give one step of the last layer of a table."""
  samples = 1
  for kernel, stride, padding in reversed(table):
    samples = max(1, (samples - 1) * stride + kernel - 2 * padding)
  return samples


def output_length(samples, table):
  """Number of steps that `samples` give in the last layer of a table; 0 where they are too few for any layer."""
  for kernel, stride, padding in table:
    samples = max(0, (samples + 2 * padding - kernel) // stride + 1) if samples else 0
  return samples


def covered_samples(samples, tables):
  """How many of `samples` the steps of any layer cover.

  A layer without padding, as on patches, drops a remainder that fills no step.

  Args:
    samples: int, at least one step of each layer.
    tables: dict of layer name to its table.
  """
  covered = []
  for table in tables.values():
    last = output_length(samples, table) - 1
    padded = any(padding for _, _, padding in table)
    covered.append(samples if padded else receptive_field(table).size + receptive_field(table).stride * last)
  return max(covered)
