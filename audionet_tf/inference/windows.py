"""The windows of a file, in batches: how its sound is cut, padded, repeated and timed."""

import numpy as np

from audionet_tf.core import durations, prefetch
from audionet_tf.core.errors import UserError
from audionet_tf.media import timeline, waveforms
from audionet_tf.models import registry

LEAST_REST = 0.1  # of a window: a codec's padding, of some milliseconds, is no reason to hear a window twice


def least_rest_of(student, window_seconds, hop_seconds=None):
  """`least_rest` of `windows` where nobody asks: LEAST_REST of students that repeat short sound, on their own grid."""
  unasked = window_seconds is None and hop_seconds is None
  return LEAST_REST if unasked and registry.network(student).short_input == 'repeat' else None


def windows(chunks, cut, repeat=False, least_rest=None):
  """Windows of a file's sound, of at least one: sound too short for any is padded with zeros at its end, or repeated.

  Args:
    chunks: from `decoding.decode_audio`.
    cut: Framing.
    repeat: bool.
    least_rest: part of a window; where the grid leaves more than this, a last window ends with the sound. None: never.

  Yields:
    (index, int16 [window_samples]): the window starts at index x hop; a float where that is no window of the grid.
  """
  begin, held, count, end = 0, [], 0, 0
  tail = np.zeros(0, np.int16)

  def watched():
    nonlocal begin, tail, end
    missing = cut.window_samples
    for start, pcm in chunks:
      end = start + len(pcm)
      tail = np.concatenate([tail, pcm])[-cut.window_samples :] if least_rest is not None else tail
      begin = begin if held else start
      if missing > 0:
        held.append(pcm[:missing])
        missing -= len(pcm)
      yield start, pcm

  for index, pcm in timeline.cut_windows(watched(), cut.window_seconds, cut.hop_seconds, cut.sample_rate_hz):
    count += 1
    yield index, pcm
  rest = end - cut.start_sample(index) - cut.window_samples if count else 0
  if least_rest is not None and rest > least_rest * cut.window_samples:
    yield (end - cut.window_samples) / cut.sample_rate_hz / cut.hop_seconds, tail
  if not count:
    if not held:
      raise UserError('no sound in it')
    pcm = np.concatenate(held)
    missing = {'mode': 'wrap'} if repeat else {}
    yield begin / cut.sample_rate_hz / cut.hop_seconds, np.pad(pcm, [0, cut.window_samples - len(pcm)], **missing)


def batches(pairs, batch_size, window_samples):
  """Groups (index, pcm) pairs as (f64 [n], int16 [batch_size, window_samples]), n = batch_size but for the last."""
  indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  for index, samples in pairs:
    pcm[len(indices)] = samples
    indices.append(index)
    if len(indices) == batch_size:
      yield np.array(indices, np.float64), pcm
      indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  if indices:
    yield np.array(indices, np.float64), pcm


def times(indices, cut):
  """(start, end) f64 [n] seconds of windows, without the rounding of a sum: 0.32, not 0.32000000000000006."""
  hop, window = durations.exact(cut.hop_seconds), durations.exact(cut.window_seconds)
  whole = hop.denominator * window.denominator
  starts = indices * (hop.numerator * window.denominator)
  return starts / whole, (starts + window.numerator * hop.denominator) / whole


def window_blocks(listener, sound):
  """Yields a block (`blocks`) for every batch of windows of a sound."""
  cut, begin, end = listener.cut, None, 0

  def watched():
    nonlocal begin, end
    for start, pcm in waveforms.chunks(sound, cut.sample_rate_hz, cut.mono):
      begin, end = start if begin is None else begin, start + len(pcm)
      yield start, pcm

  pairs = windows(watched(), cut, listener.repeat, listener.least_rest)
  for indices, pcm in prefetch.ahead(batches(pairs, listener.batch_size, cut.window_samples)):
    n = len(indices)
    block = {key: value[:n] if key != 'sum' else value for key, value in listener.hear(pcm, n).items()}
    block['start_seconds'], block['end_seconds'] = times(indices, cut)
    sound_seconds = begin / cut.sample_rate_hz, end / cut.sample_rate_hz
    repeats = listener.repeats
    if listener.repeat:
      repeats *= fillings(end - begin, cut)
      block['end_seconds'] = np.minimum(block['end_seconds'], sound_seconds[1])
    yield block | {'repeats': repeats, 'sound_seconds': sound_seconds}


def fillings(samples, cut):
  """How often sound of so many samples is in a window that repeats it, begun ones counted; 1 where it fills one."""
  return -(-cut.window_samples // min(samples, cut.window_samples))
