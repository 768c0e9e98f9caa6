"""Predictions of a student with steps in time over a whole sound: a row is a step of its logits, with its own time."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from audionet_tf.core import prefetch
from audionet_tf.core.errors import UserError
from audionet_tf.inference import chunking
from audionet_tf.media import waveforms
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import receptive_field, registry

SIGNATURE = 'layers'  # of the export, see saved_model/signatures.py


@dataclasses.dataclass(frozen=True)
class StepPredictor:
  """A student, ready to predict a sound step by step.

  Attributes:
    blocks: function of a sound that yields blocks of rows, as `predict.blocks` does.
    hop_seconds: from row to row.
  """

  blocks: Callable
  hop_seconds: float


def step_predictor(served, top, to_the_end, head, predict=None):
  """Makes the StepPredictor of one head of an export with the signature `layers`.

  A row lasts from half a hop before the centre of its step to half a hop after it, but not beyond the sound;
  `extend_ends` stretches the first and the last row. Its embedding is the mean of the steps of the last hidden layer
  whose centres lie within half a hop of its own, or the nearest step. Repeated sound gives one row of the length of the
  sound, the mean of all steps.

  Args:
    served: loader.LoadedExport.
    top: number of classes in a row of CSV.
    to_the_end: whether a student that pads short sound also pads the remainder after the last step; networks may do so
      anyway (YAMNet).
    head: str.
    predict: None, or a function as of `step_function`, in the place of the signature.

  Raises:
    UserError: an export without the signature.
  """
  settings = served.settings
  if SIGNATURE not in served.signatures and predict is None:
    raise UserError(
      f'{served.path}: an export that lacks the signature {SIGNATURE}, which gives the steps of '
      f'{settings.student}; export the student again, or predict windows with --window_ms'
    )
  network = registry.network(settings.student)
  layers = network.layer_windows
  hidden, last = list(layers)[-2:]
  logits = f'{last}_{head}'
  tables = {hidden: layers[hidden], logits: layers[last]}
  keep_remainder = None if network.short_input == 'repeat' else to_the_end or network.pads_last_patch
  predict = predict or step_function(served, hidden, logits, head)

  def blocks(sound):
    chunks = waveforms.chunks(sound, settings.sample_rate_hz, settings.mono)
    yield from extend_ends(step_blocks(chunks, predict, tables, settings.sample_rate_hz, top, keep_remainder))

  step = receptive_field.receptive_field(tables[logits])
  return StepPredictor(blocks, step.stride / settings.sample_rate_hz)


def step_function(served, hidden, logits, head):
  """The function `predict` of `step_blocks`. `hidden`, `logits`: names of the outputs of the signature."""
  settings, signature = served.settings, served.signatures[SIGNATURE]

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int16)], autograph=False)
  def predict(pcm):
    outputs = signature(waveform=tf.cast(pcm, tf.float32) / PCM_SCALE)
    # The graph computes only these two.
    return outputs[hidden][0], settings.probabilities(head, outputs[logits][0])

  return predict


def step_blocks(sound, predict, tables, sample_rate_hz, top, keep_remainder=None):
  """Yields blocks of rows, each also with `field_seconds`: start and end of the receptive fields of its steps.

  Args:
    sound: (start_sample, int16 [n]) chunks.
    predict: function int16 [1, samples] -> (hidden layer f32 [T, width], probabilities f32 [S, classes]).
    tables: dict of the two layers, in this order, to their tables of sliding windows.
    sample_rate_hz: of the sound.
    top: number of classes in a row of CSV.
    keep_remainder: as for `chunking.padded`; None repeats sound that is too short instead of padding it.
  """
  first, consumed, samples = 0, 0, 0

  def watched():
    nonlocal first, samples
    for number, (start, pcm) in enumerate(sound):
      first = start if number == 0 else first
      samples += len(pcm)
      yield pcm

  last = list(tables.values())[-1]
  if keep_remainder is None:
    repeats, chunks = chunking.repeated(watched(), receptive_field.minimum_input_length(last))
  else:
    repeats, chunks = 1, chunking.padded(watched(), last, keep_remainder)
  (hidden, coarse), (fine, step) = tables, map(receptive_field.receptive_field, tables.values())
  waiting, waiting_from, rows = np.zeros([0, 0], np.float32), 0, 0
  for piece in prefetch.ahead(chunking.pieces(chunks, tables)):
    consumed = min(piece.start + len(piece.pcm), samples * repeats)  # without the appended silence
    hidden_steps, probabilities = (np.asarray(values) for values in predict(piece.pcm[None]))
    kept = hidden_steps[slice(*piece.keep[hidden])]
    waiting = np.concatenate([waiting, kept]) if waiting.size else kept
    probabilities = probabilities[slice(*piece.keep[coarse])]
    if not len(probabilities):
      continue
    centers = step.first_center + step.stride * (rows + np.arange(len(probabilities)))
    rows += len(probabilities)
    begins, ends = (np.clip(centers + side * step.stride / 2, 0, consumed) for side in (-1, 1))
    if repeats > 1:
      probabilities = probabilities.mean(0, keepdims=True)
      begins, ends = np.zeros(1), np.full(1, float(consumed))
    numbers = waiting_from + np.arange(len(waiting))
    embedding = means(waiting, fine.first_center + fine.stride * numbers, begins, ends)
    best = np.argsort(-probabilities, axis=1, kind='stable')[:, :top]
    yield {
      'start_seconds': (first + begins / repeats) / sample_rate_hz,
      'end_seconds': (first + ends / repeats) / sample_rate_hz,
      'field_seconds': (first + centers[[0, -1]] + np.array([-0.5, 0.5]) * step.size) / sample_rate_hz,
      'probabilities': probabilities,
      'sum': probabilities.sum(0),
      'embedding': embedding,
      'top': best.astype(np.int32),
      'top_probabilities': np.take_along_axis(probabilities, best, 1),
      'repeats': repeats,
      'sound_seconds': (first / sample_rate_hz, (first + consumed / repeats) / sample_rate_hz),
    }
    drop = max(0, int((ends[-1] - fine.first_center) // fine.stride) - 1)
    drop = min(max(0, drop - waiting_from), len(waiting))
    waiting, waiting_from = waiting[drop:], waiting_from + drop


def extend_ends(blocks):
  """Yields the blocks of `step_blocks`, with the first row starting and the last one ending with its receptive field.

  Between steps, time is divided at the midpoints of their centres. Before the first and after the last step there is no
  other one, so that these stand for all of the sound in their receptive fields.
  """
  held = None
  for block in blocks:
    if held is None:
      start = max(block['sound_seconds'][0], block['field_seconds'][0])
      block['start_seconds'][0] = min(block['start_seconds'][0], start)
    else:
      yield held
    held = block
  if held is not None:
    held['end_seconds'][-1] = max(held['end_seconds'][-1], min(held['sound_seconds'][1], held['field_seconds'][1]))
    yield held


def means(values, centers, begins, ends):
  """f32 [n, width]: the mean of the values whose centres lie in each interval, or the nearest value."""
  rows = []
  for begin, end in zip(begins, ends, strict=True):
    inside = values[(centers >= begin) & (centers < end)]
    nearest = np.abs(centers - (begin + end) / 2).argmin()
    rows.append(inside.mean(0) if len(inside) else values[nearest])
  return np.stack(rows)
