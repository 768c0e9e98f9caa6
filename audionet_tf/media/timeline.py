"""Sound on the grid of presentation time: fills gaps, joins short blocks, cuts windows."""

from fractions import Fraction

import numpy as np

from audionet_tf.core import durations
from audionet_tf.core.errors import UserError

# Muxers round and codecs have a delay (AAC 23 ms, MP3 25 ms): a stream that starts up to this late starts at zero.
LATE_SECONDS = Fraction(30, 1000)
# Smaller deviations of time stamps are jitter (a tick is 1 ms in Matroska and FLV); larger ones a gap or an overlap.
JITTER_SECONDS = Fraction(5, 1000)
# In all gaps of a file, as recorders whose clock runs on in a pause leave them: a few bytes of time stamps must not
# become hours of silence.
MAX_FILLED_SECONDS = 3600
SPARE_OVERLAP_SECONDS = 0.5  # per file; dropping more of it is reported
MAX_RATE_HZ = 768_000  # of a source: a header may claim anything, and a second of sound is held in memory


def fill_gaps(blocks, warn=None):
  """Fills gaps with zeros and drops overlaps.

  Args:
    blocks: iterable of (start, rate, f32 [n]); `start` in samples of `rate` from time zero, None for a block that
      follows the one before. The rate may change.
    warn: None, or a function that is called at the end with a line about overlaps of more than SPARE_OVERLAP_SECONDS.

  Yields:
    (start, rate, f32 [n]), 0 < n, each starting where the one before ends, or less than a sample before that where the
    rate changes; of silence at most a second each.

  Raises:
    UserError: a rate is above MAX_RATE_HZ, or the gaps add up to more than MAX_FILLED_SECONDS.
  """
  expected, known_rate, filled_seconds, dropped_seconds = None, None, 0, 0
  for start, rate, samples in blocks:
    if rate != known_rate:
      if not 0 < rate <= MAX_RATE_HZ:
        raise UserError(f'sample rate is {rate} Hz, at most {MAX_RATE_HZ} is allowed')
      expected = None if expected is None else expected * rate // known_rate
      known_rate, known_jitter = rate, int(JITTER_SECONDS * rate)
    jitter = known_jitter
    if expected is None:
      start = start or 0
      expected = 0 if 0 < start <= LATE_SECONDS * rate else start
      jitter = 0
    gap = 0 if start is None else start - expected
    if gap > jitter:
      filled_seconds += gap / rate
      if filled_seconds > MAX_FILLED_SECONDS:
        raise UserError(
          f'gaps in the sound, by its time stamps, add up to more than {MAX_FILLED_SECONDS} s; cut the file there'
        )
      for begin in range(0, gap, rate):
        zeros = np.zeros(min(rate, gap - begin), np.float32)
        yield expected + begin, rate, zeros
      expected += gap
    elif gap < -jitter:
      dropped_seconds += min(-gap, samples.size) / rate
      samples = samples[-gap:]
    if samples.size:
      yield expected, rate, samples
      expected += samples.size
  if warn and dropped_seconds > SPARE_OVERLAP_SECONDS:
    warn(f'{dropped_seconds:.2f} s of its sound are left out: their time stamps are those of sound before them')


def without_starts_after_a_change(blocks):
  """Yields blocks as for `fill_gaps`, without starts from the first change of the rate on."""
  first_rate, changed = None, False
  for start, rate, samples in blocks:
    first_rate = first_rate or rate
    changed = changed or rate != first_rate
    yield None if changed else start, rate, samples


def coalesce(blocks, seconds=1):
  """Joins contiguous (start, rate, f32 [n]) of one rate to `seconds` each, or more: calls of a resampler cost."""
  held, held_start, held_rate, count = [], 0, None, 0
  for start, rate, samples in blocks:
    if held and rate != held_rate:
      yield held_start, held_rate, np.concatenate(held)
      held, count = [], 0
    held_start = held_start if held else start
    held_rate = rate
    held.append(samples)
    count += samples.size
    if count >= seconds * rate:
      yield held_start, rate, np.concatenate(held)
      held, count = [], 0
  if held:
    yield held_start, held_rate, np.concatenate(held)


def cut_windows(chunks, window_seconds, hop_seconds, sample_rate_hz):
  """Cuts contiguous sound into windows, in constant memory.

  Window k starts at the sample nearest to k * hop_seconds, so that windows do not drift.

  Args:
    chunks: iterable of (start_sample, int16 [n]), contiguous, from `decoding.decode_audio`.
    window_seconds, hop_seconds: floats taken as their decimal notation: 0.04 is exactly 1/25.
    sample_rate_hz: of the chunks.

  Yields:
    (index, int16 [window_samples]) of each window that the chunks cover completely, in order.
  """
  hop = durations.exact(hop_seconds) * sample_rate_hz
  hop = int(hop) if hop.denominator == 1 else hop  # whole numbers are much faster
  size = round(durations.exact(window_seconds) * sample_rate_hz)
  index, held, held_start, end = None, [], 0, 0
  for start, samples in chunks:
    if index is None:
      index = max(0, int(start / hop) - 1)
      while round(index * hop) < start:
        index += 1
      held_start = start
    held.append(samples)
    end = start + len(samples)
    if round(index * hop) + size > end:
      continue
    whole = held[0] if len(held) == 1 else np.concatenate(held)
    while (begin := round(index * hop)) + size <= end:
      yield index, whole[begin - held_start : begin - held_start + size]
      index += 1
    drop = min(max(0, begin - held_start), len(whole))
    held, held_start = [whole[drop:]], held_start + drop


PCM_SCALE = 32768.0  # int16 full scale: stored sample / PCM_SCALE lies in [-1, 1)
