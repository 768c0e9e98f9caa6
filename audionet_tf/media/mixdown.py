"""Decoded frames of sound, in any format and any number of channels, as blocks of one channel."""

import math

import numpy as np

from audionet_tf.core.errors import UserError

SAMPLE_TYPES = {'u8': np.uint8, 's16': np.int16, 's32': np.int32, 'flt': np.float32, 'dbl': np.float64}
HELD_SAMPLES, HELD_FRAMES = 1 << 16, 256  # of all channels, mixed in one go


def mono_blocks(frames, zero, mono):
  """The sound of decoded frames, mixed down.

  Args:
    frames: iterable of the av.AudioFrame of one stream.
    zero: Fraction, the presentation time that counts as zero, seconds.
    mono: 'mean' of all channels, or the 'first'.

  Yields:
    (start, rate, f32 [n] in [-1, 1]) of each frame, `start` in samples of the source from `zero`; None where unknown.

  Raises:
    UserError: a sample format that is not of SAMPLE_TYPES.
  """
  for sample_format, channels, rate, group in grouped(frames):
    # Exact integers: a Fraction a frame would cost more than decoding it.
    scale, offset = group[0].time_base * rate, zero * rate
    whole = math.lcm(scale.denominator, offset.denominator)
    factor, shift = int(scale * whole), int(offset * whole)
    mixed, end = mixed_down(group, sample_format, channels, mono), 0
    for frame in group:
      begin, end = end, end + frame.samples
      start = None if frame.pts is None else nearest(frame.pts * factor - shift, whole)
      yield start, rate, mixed[begin:end]


def grouped(frames):
  """(sample format, channels, rate, successive frames that have these): every call of NumPy has its price."""
  group, known, held = [], None, 0
  for frame in frames:
    if not frame.samples:
      continue
    own = frame.format.name, frame.layout.nb_channels, frame.sample_rate
    if group and own != known:
      yield *known, group
      group, held = [], 0
    group.append(frame)
    known = own
    held += frame.samples * own[1]
    if held >= HELD_SAMPLES or len(group) >= HELD_FRAMES:
      yield *known, group
      group, held = [], 0
  if group:
    yield *known, group


def mixed_down(frames, sample_format, channels, mono):
  """f32 [n] in [-1, 1] of successive frames."""
  dtype = SAMPLE_TYPES.get(sample_format.removesuffix('p'))
  if dtype is None:
    raise UserError(f'sound in the sample format {sample_format} is not supported')
  wanted = 1 if mono == 'first' else channels
  if sample_format.endswith('p'):
    planes = zip(*(first_planes(frame, frame.samples, wanted, dtype) for frame in frames), strict=True)
    sound = [np.concatenate(plane) for plane in planes]
  else:
    whole = np.concatenate([first_planes(frame, frame.samples * channels, 1, dtype)[0] for frame in frames])
    sound = whole.reshape(-1, channels).T[:wanted]
  if dtype is np.uint8:
    sound = [(channel.astype(np.float32) - 128) / 128 for channel in sound]
  elif dtype in (np.int16, np.int32):
    sound = [channel.astype(np.float32) / -float(np.iinfo(dtype).min) for channel in sound]
  return mean(sound).astype(np.float32, copy=False)


def mean(sound):
  """The mean [n] of a list of channels [n]; a single one as it is."""
  return sound[0] if len(sound) == 1 else sum(sound[1:], sound[0]) / np.float32(len(sound))


def first_planes(frame, count, wanted, dtype):
  """The first `wanted` planes of a frame, [count] each."""
  return [np.frombuffer(plane, dtype, count) for plane in frame.planes[:wanted]]


def nearest(numerator, denominator):
  """Integers: the quotient, rounded as `round` does, ties to even."""
  whole, rest = divmod(numerator, denominator)
  return whole + (2 * rest + (whole & 1) > denominator)
