"""The windows of a file, in batches: how its sound is framing, padded, repeated and timed."""

import itertools

import numpy as np

from audionet_tf.core import durations, prefetch
from audionet_tf.core.errors import UserError
from audionet_tf.data.params import Framing
from audionet_tf.media import timeline, waveforms

MIN_REMAINDER = 0.1  # of a window: some milliseconds of codec padding are no reason for one more window


def default_min_remainder(short_input, window_seconds, hop_seconds=None):
  """Default of `min_remainder`: MIN_REMAINDER for students that repeat short sound, with default windows; else None.

  `short_input`: of the student's registry.Architecture.
  """
  default_windows = window_seconds is None and hop_seconds is None
  return MIN_REMAINDER if default_windows and short_input == 'repeat' else None


def windows(chunks, framing, repeat=False, min_remainder=None):
  """Cuts the sound of a file into windows, at least one.

  Args:
    chunks: (start_sample, int16 [n]) from `decoding.decode_audio`.
    framing: params.Framing.
    repeat: whether sound shorter than a window is repeated; else it is padded with zeros at its end.
    min_remainder: part of a window; if more than this is left after the last window, one more ends with the sound.
      None: the remainder is dropped.

  Yields:
    (index, int16 [window_samples]): the window starts at index x hop; a float for a window off the grid.

  Raises:
    UserError: there is no sound.
  """
  begin, held, index, end = 0, [], None, 0
  tail = np.zeros(0, np.int16)

  def watched():
    nonlocal begin, tail, end
    missing = framing.window_samples
    for start, pcm in chunks:
      end = start + len(pcm)
      tail = np.concatenate([tail, pcm])[-framing.window_samples :] if min_remainder is not None else tail
      begin = begin if held else start
      if missing > 0:
        held.append(pcm[:missing])
        missing -= len(pcm)
      yield start, pcm

  for index, pcm in timeline.cut_windows(
    watched(), framing.window_seconds, framing.hop_seconds, framing.sample_rate_hz
  ):
    yield index, pcm
  remainder = 0 if index is None else end - framing.start_sample(index) - framing.window_samples
  if min_remainder is not None and remainder > min_remainder * framing.window_samples:
    yield (end - framing.window_samples) / framing.sample_rate_hz / framing.hop_seconds, tail
  if index is None:
    if not held:
      raise UserError('no sound in it')
    pcm = np.concatenate(held)
    padding = {'mode': 'wrap'} if repeat else {}
    yield (
      begin / framing.sample_rate_hz / framing.hop_seconds,
      np.pad(pcm, [0, framing.window_samples - len(pcm)], **padding),
    )


def of_files(paths, settings, most, short_input):
  """Windows of sound files, of the length and as short sound is filled up in training.

  Args:
    paths: files, which may be compressed as .gz.
    settings: student_settings.StudentConfig.
    most: number of windows; every file gives an equal share of them, from its start on.
    short_input: of the student's registry.Architecture.

  Returns:
    list of int16 [window_samples].

  Raises:
    MediaError: a file is unreadable, damaged or without sound.
  """
  framing = Framing(settings.window_seconds, settings.window_seconds, settings.sample_rate_hz, settings.mono)
  repeat, share, found = short_input == 'repeat', -(-most // len(paths)), []
  for path in paths:
    with waveforms.unpacked(path) as sound:
      pairs = windows(waveforms.chunks(sound, settings.sample_rate_hz, settings.mono), framing, repeat)
      found += [pcm for _, pcm in itertools.islice(pairs, share)]
  return found[:most]


def batches(pairs, batch_size, window_samples):
  """Groups (index, pcm) pairs as (f64 [n], int16 [batch_size, window_samples]); n = batch_size except in the last."""
  indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  for index, samples in pairs:
    pcm[len(indices)] = samples
    indices.append(index)
    if len(indices) == batch_size:
      yield np.array(indices, np.float64), pcm
      indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  if indices:
    yield np.array(indices, np.float64), pcm


def times(indices, framing):
  """(start, end) f64 [n] seconds of windows, without the rounding errors of sums: 0.32, not 0.32000000000000006."""
  hop, window = durations.exact(framing.hop_seconds), durations.exact(framing.window_seconds)
  denominator = hop.denominator * window.denominator
  starts = indices * (hop.numerator * window.denominator)
  return starts / denominator, (starts + window.numerator * hop.denominator) / denominator


def window_blocks(predictor, sound):
  """Yields a block, as `predict.blocks` does, for every batch of windows of a sound, which a thread reads ahead."""
  framing = predictor.framing
  return chunk_blocks(predictor, waveforms.chunks(sound, framing.sample_rate_hz, framing.mono), prefetch.ahead)


def chunk_blocks(predictor, chunks, ahead=iter):
  """Yields a block, as `predict.blocks` does, for every batch of windows.

  Args:
    predictor: predict.FilePredictor.
    chunks: (start_sample, int16 [n]), contiguous.
    ahead: what reads the batches: `iter` as they come, `prefetch.ahead` in a thread.
  """
  framing, begin, end = predictor.framing, None, 0

  def watched():
    nonlocal begin, end
    for start, pcm in chunks:
      begin, end = start if begin is None else begin, start + len(pcm)
      yield start, pcm

  pairs = windows(watched(), framing, predictor.repeat, predictor.min_remainder)
  for indices, pcm in ahead(batches(pairs, predictor.batch_size, framing.window_samples)):
    n = len(indices)
    block = {key: value[:n] if key != 'sum' else value for key, value in predictor.predict(pcm, n).items()}
    block['start_seconds'], block['end_seconds'] = times(indices, framing)
    sound_seconds = begin / framing.sample_rate_hz, end / framing.sample_rate_hz
    repeats = predictor.repeats
    if predictor.repeat:
      repeats *= repetitions(end - begin, framing)
      block['end_seconds'] = np.minimum(block['end_seconds'], sound_seconds[1])
    yield block | {'repeats': repeats, 'sound_seconds': sound_seconds}


def repetitions(samples, framing):
  """Number of repetitions of so many samples in a window, the last perhaps incomplete; 1 if they fill the window."""
  return -(-framing.window_samples // min(samples, framing.window_samples))
