"""What a step of a network's layer hears: receptive field, hop and centre, from the table of its sliding windows.

A table is a list of (kernel, stride, padding), from the input on, of convolutions and pools; padding is that of one
side, and incomplete windows are dropped.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
  """Where the steps of a layer lie, in samples of the network's input.

  Attributes:
    field: samples that one step hears.
    hop: samples from one step to the next.
    first_center: middle of what step 0 hears; its field may begin before sample 0, in the padding.
  """

  field: int
  hop: int
  first_center: float


def receptive_field(table):
  """Steps of the last of the table's layers."""
  field, hop, start = 1, 1, 0
  for kernel, stride, padding in table:
    field += (kernel - 1) * hop
    start -= padding * hop
    hop *= stride
  return ReceptiveField(field, hop, start + (field - 1) / 2)


def minimum_input_length(table):
  """Samples that are needed for one step of the last of the table's layers."""
  samples = 1
  for kernel, stride, padding in reversed(table):
    samples = max(1, (samples - 1) * stride + kernel - 2 * padding)
  return samples


def output_length(samples, table):
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
    last = output_length(samples, table) - 1
    padded = any(padding for _, _, padding in table)
    heard.append(samples if padded else receptive_field(table).field + receptive_field(table).hop * last)
  return max(heard)
