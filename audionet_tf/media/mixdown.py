"""Mixes decoded frames of sound, of any sample format and number of channels, down to one channel."""

import math

import numpy as np

from audionet_tf.core.errors import UserError

SAMPLE_TYPES = {'u8': np.uint8, 's16': np.int16, 's32': np.int32, 'flt': np.float32, 'dbl': np.float64}
HELD_SAMPLES, HELD_FRAMES = 1 << 16, 256  # samples of all channels, and frames, that are mixed at once


def mono_blocks(frames, zero, mono):
  """Mixes decoded frames down to one channel.

  Args:
    frames: iterable of the av.AudioFrame of one stream.
    zero: Fraction, the presentation time in seconds that counts as zero.
    mono: 'mean' of all channels, or the 'first' channel.

  Yields:
    (start, rate, f32 [n] in [-1, 1]) per frame: `start` in samples of `rate` from `zero`, None where unknown.

  Raises:
    UserError: the sample format is not in SAMPLE_TYPES.
  """
  for sample_format, channels, rate, group in group_frames(frames):
    # Exact integers: a Fraction per frame would cost more than decoding it.
    scale, offset = group[0].time_base * rate, zero * rate
    whole = math.lcm(scale.denominator, offset.denominator)
    factor, shift = int(scale * whole), int(offset * whole)
    mixed, end = mixed_down(group, sample_format, channels, mono), 0
    for frame in group:
      begin, end = end, end + frame.samples
      start = None if frame.pts is None else nearest(frame.pts * factor - shift, whole)
      yield start, rate, mixed[begin:end]


def group_frames(frames):
  """Groups successive frames of one format, as every call of NumPy has a fixed cost.

  Yields:
    (sample format, channels, rate, list of av.AudioFrame); empty frames are dropped.
  """
  group, group_format, held = [], None, 0
  for frame in frames:
    if not frame.samples:
      continue
    frame_format = frame.format.name, frame.layout.nb_channels, frame.sample_rate
    if group and frame_format != group_format:
      yield *group_format, group
      group, held = [], 0
    group.append(frame)
    group_format = frame_format
    held += frame.samples * frame.layout.nb_channels
    if held >= HELD_SAMPLES or len(group) >= HELD_FRAMES:
      yield *group_format, group
      group, held = [], 0
  if group:
    yield *group_format, group


def mixed_down(frames, sample_format, channels, mono):
  """Successive frames of one format as f32 [n] in [-1, 1]. UserError where the sample format is not supported."""
  dtype = SAMPLE_TYPES.get(sample_format.removesuffix('p'))
  if dtype is None:
    raise UserError(f'sound in the sample format {sample_format} is not supported')
  used = 1 if mono == 'first' else channels
  if sample_format.endswith('p'):
    planes = zip(*(first_planes(frame, frame.samples, used, dtype) for frame in frames), strict=True)
    sound = [np.concatenate(plane) for plane in planes]
  else:
    whole = np.concatenate([first_planes(frame, frame.samples * channels, 1, dtype)[0] for frame in frames])
    sound = whole.reshape(-1, channels).T[:used]
  if dtype is np.uint8:
    sound = [(channel.astype(np.float32) - 128) / 128 for channel in sound]
  elif dtype in (np.int16, np.int32):
    sound = [channel.astype(np.float32) / -float(np.iinfo(dtype).min) for channel in sound]
  return mean(sound).astype(np.float32, copy=False)


def mean(sound):
  """The mean [n] of a list of channels [n]; a single channel is returned as it is."""
  return sound[0] if len(sound) == 1 else sum(sound[1:], sound[0]) / np.float32(len(sound))


def first_planes(frame, samples, planes, dtype):
  """The first `planes` planes of a frame: a list of [samples] arrays."""
  return [np.frombuffer(plane, dtype, samples) for plane in frame.planes[:planes]]


def nearest(numerator, denominator):
  """The quotient of two integers, rounded as `round` does, ties to even."""
  whole, remainder = divmod(numerator, denominator)
  return whole + (2 * remainder + (whole & 1) > denominator)
