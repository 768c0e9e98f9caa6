"""A sound heard as a whole by a student that has steps in time: a row is a step of its logits, with its own time."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from audionet_tf.core import prefetch
from audionet_tf.inference import chunking
from audionet_tf.media import waveforms
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import receptive_field, registry

SIGNATURE = 'layers'  # of the export: serving.py


@dataclasses.dataclass(frozen=True)
class StepPredictor:
  """How steps are heard.

  Attributes:
    blocks: sound -> blocks of rows (`predict.blocks`).
    hop_seconds: from row to row.
  """

  blocks: Callable
  hop_seconds: float


def step_predictor(served, top, to_the_end, head):
  """The StepListener of a loader.LoadedExport whose export has the signature `layers`, for one of its heads.

  A row lasts from half a hop before its step's centre to half a hop behind it, and not beyond the sound's ends; the
  outermost as far as `outermost` says. Its embedding is the mean of the last hidden layer's steps whose centres lie
  within half a hop of its own, or the nearest one. Sound that is repeated is one row, as long as the sound is: the mean
  of steps that all hear it more than once over. Sound of a student that pads is filled up with silence to one step, and
  to the last one that it begins where `to_the_end` or the network says so.
  """
  settings = served.settings
  network = registry.network(settings.student)
  layers = network.layer_windows
  hidden, last = list(layers)[-2:]
  logits = f'{last}_{head}'
  tables = {hidden: layers[hidden], logits: layers[last]}
  rest = None if network.short_input == 'repeat' else to_the_end or network.pads_last_patch
  signature = served.signatures[SIGNATURE]

  @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int16)])
  def heard(pcm):
    outputs = signature(waveform=tf.cast(pcm, tf.float32) / PCM_SCALE)
    # What nobody asks for is not computed.
    return outputs[hidden][0], settings.probabilities(head, outputs[logits][0])

  def blocks(sound):
    chunks = waveforms.chunks(sound, settings.sample_rate_hz, settings.mono)
    yield from outermost(step_blocks(chunks, heard, tables, settings.sample_rate_hz, top, rest))

  step = receptive_field.receptive_field(tables[logits])
  return StepPredictor(blocks, step.stride / settings.sample_rate_hz)


def step_blocks(sound, heard, tables, sample_rate_hz, top, rest=None):
  """Yields blocks of rows, each with `heard_seconds`, where begins what its first step hears and ends what its last one
  does.

  Args:
    sound: (start_sample, int16 [n]) chunks.
    heard: int16 [1, samples] -> (hidden layer f32 [T, width], probabilities f32 [S, classes]).
    tables: dict of the two layers, in this order, to their tables of sliding windows.
    sample_rate_hz: of the sound.
    top: classes in a row of CSV.
    rest: None repeats sound that is too short; else as of `chunking.filled`.
  """
  first, consumed, samples = 0, 0, 0

  def watched():
    nonlocal first, samples
    for number, (start, pcm) in enumerate(sound):
      first = start if number == 0 else first
      samples += len(pcm)
      yield pcm

  last = list(tables.values())[-1]
  if rest is None:
    repeats, chunks = chunking.repeated(watched(), receptive_field.minimum_input_length(last))
  else:
    repeats, chunks = 1, chunking.filled(watched(), last, rest)
  (hidden, coarse), (fine, step) = tables, map(receptive_field.receptive_field, tables.values())
  waiting, waiting_from, rows = np.zeros([0, 0], np.float32), 0, 0
  for piece in prefetch.ahead(chunking.pieces(chunks, tables)):
    consumed = min(piece.start + len(piece.pcm), samples * repeats)  # without the silence
    hidden_steps, probabilities = (np.asarray(values) for values in heard(piece.pcm[None]))
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
      'heard_seconds': (first + centers[[0, -1]] + np.array([-0.5, 0.5]) * step.size) / sample_rate_hz,
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


def outermost(blocks):
  """The blocks of `step_blocks`, their first row beginning and their last one ending where what it hears does.

  Steps share the time by their middles. Beyond the outermost there is none to share it with: they stand for all that
  they heard of the sound.
  """
  held = None
  for block in blocks:
    if held is None:
      start = max(block['sound_seconds'][0], block['heard_seconds'][0])
      block['start_seconds'][0] = min(block['start_seconds'][0], start)
    else:
      yield held
    held = block
  if held is not None:
    held['end_seconds'][-1] = max(held['end_seconds'][-1], min(held['sound_seconds'][1], held['heard_seconds'][1]))
    yield held


def means(values, centers, begins, ends):
  """f32 [n, width]: for each stretch the mean of the values whose centres lie in it, or the nearest one."""
  found = []
  for begin, end in zip(begins, ends, strict=True):
    inside = values[(centers >= begin) & (centers < end)]
    nearest = np.abs(centers - (begin + end) / 2).argmin()
    found.append(inside.mean(0) if len(inside) else values[nearest])
  return np.stack(found)
