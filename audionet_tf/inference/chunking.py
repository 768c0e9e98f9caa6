"""Cuts sound into pieces such that the steps of a network's layers equal those of one pass over the whole.

A layer's zero padding belongs at the two ends of the sound only. Pieces therefore overlap by the receptive field, start
at multiples of the layers' stride, and an inner piece keeps only the steps whose receptive field lies inside it.
"""

import dataclasses

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import receptive_field

PIECE_SAMPLES = 1 << 19  # longer pieces are no faster, and need more memory
FIELDS = 8  # a piece is at least this many receptive fields long, so that at most an eighth is computed twice


@dataclasses.dataclass(frozen=True)
class Piece:
  """A part of the sound.

  Attributes:
    pcm: int16 [n].
    start: position of its first sample in the sound.
    keep: dict of layer to (begin, end), the steps of this piece that follow those of the pieces before it.
  """

  pcm: np.ndarray
  start: int
  keep: dict


def piece_samples(tables):
  """Number of samples in a piece, for a dict of layer to its table of sliding windows (`receptive_field`)."""
  steps = [receptive_field.receptive_field(table) for table in tables.values()]
  hop = max(step.stride for step in steps)
  return -(-max(PIECE_SAMPLES, FIELDS * max(step.size for step in steps)) // hop) * hop


def pieces(chunks, tables, samples=None):
  """Cuts sound into pieces, in memory that does not grow with its length.

  Args:
    chunks: iterable of consecutive int16 [n].
    tables: dict of layer to its table, all of one network: the largest stride is a multiple of every other.
    samples: length of a piece; None for `piece_samples(tables)`. The last one may be shorter.

  Yields:
    Piece. The kept steps of a layer, concatenated, are those of the whole sound.

  Raises:
    ValueError: the pieces are too short for the layers.
  """
  samples = samples or piece_samples(tables)
  steps = {layer: receptive_field.receptive_field(table) for layer, table in tables.items()}
  grid = max(step.stride for step in steps.values())
  start, done, held, size = 0, dict.fromkeys(tables, 0), [], 0
  for chunk in chunks:
    held.append(chunk)
    size += len(chunk)
    while size > samples:  # else this may be the last piece
      whole = np.concatenate(held)
      inside = {layer: max(done[layer], steps_inside(step, start + samples)) for layer, step in steps.items()}
      yield piece(whole[:samples], steps, start, done, inside)
      done = inside
      first = min(first_sample(step, done[layer]) for layer, step in steps.items())
      following = max(0, first // grid * grid)
      if following <= start:
        raise ValueError(f'pieces of {samples} samples are too short for these layers')
      held, size, start = [whole[following - start :]], size - (following - start), following
  if size:
    whole = np.concatenate(held)
    yield piece(
      whole, steps, start, done, {k: receptive_field.output_length(start + size, table) for k, table in tables.items()}
    )


def piece(pcm, steps, start, done, end):
  """The Piece that starts at sample `start` and whose steps `done` to `end`, counted in the whole, are kept."""
  before = {layer: start // step.stride for layer, step in steps.items()}
  return Piece(pcm, start, {layer: (done[layer] - before[layer], end[layer] - before[layer]) for layer in steps})


def first_sample(step, number):
  """First sample of the receptive field of step `number`; negative in the padding."""
  return round(step.first_center - (step.size - 1) / 2) + number * step.stride


def steps_inside(step, samples):
  """Number of steps, from the first one on, whose receptive field ends within the first `samples`."""
  return max(0, (samples - step.size - first_sample(step, 0)) // step.stride + 1)


def repeated(chunks, shortest):
  """Repeats sound of less than `shortest` samples a whole number of times, as SoundNet's code does.

  Args:
    chunks: iterable of consecutive int16 [n].
    shortest: number of samples.

  Returns:
    (times, iterator of int16 [n]): the number of repetitions, 1 for sound that is long enough.

  Raises:
    UserError: there is no sound.
  """
  chunks, held, size = iter(chunks), [], 0
  for chunk in chunks:
    held.append(chunk)
    size += len(chunk)
    if size >= shortest:
      return 1, chained(held, chunks)
  if not size:
    raise UserError('no sound in it')
  times = -(-shortest // size)
  return times, iter([np.tile(np.concatenate(held), times)])


def padded(chunks, table, keep_remainder=True):
  """Appends the silence that sound needs to fill a step.

  Args:
    chunks: iterable of consecutive int16 [n].
    table: of sliding windows without padding.
    keep_remainder: whether a remainder after the last whole step is padded to a step of its own, as by YAMNet's
      `pad_waveform`.

  Yields:
    int16 [n].

  Raises:
    UserError: there is no sound.
  """
  step, size = receptive_field.receptive_field(table), 0
  for chunk in chunks:
    size += len(chunk)
    yield chunk
  if not size:
    raise UserError('no sound in it')
  steps_after_first = -(-max(0, size - step.size) // step.stride) if keep_remainder else 0
  yield np.zeros(max(0, step.size + steps_after_first * step.stride - size), np.int16)


def chained(held, chunks):
  """The items of a list, then those of an iterator."""
  while held:
    yield held.pop(0)
  yield from chunks
