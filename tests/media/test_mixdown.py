"""Frames of every sample format, mixed in groups, against each frame mixed alone in NumPy."""

from fractions import Fraction

import av
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.media import mixdown

SCALES = {'u8': (128, 128), 's16': (0, 32768), 's32': (0, 2**31), 'flt': (0, 1), 'dbl': (0, 1)}  # zero, full scale


def frame_of(kind, channels, samples, rate_hz, pts, seed, tick=Fraction(1, 1000)):
  """(av.AudioFrame, f64 [channels, samples] in [-1, 1]) of noise."""
  sound = np.random.default_rng(seed).uniform(-1, 1, [channels, samples])
  dtype = mixdown.SAMPLE_TYPES[kind.removesuffix('p')]
  zero, scale = SCALES[kind.removesuffix('p')]
  array = np.clip(sound * scale + zero, 0 if dtype is np.uint8 else -scale, scale * 2 - 1).astype(dtype)
  packed = array if kind.endswith('p') else np.ascontiguousarray(array.T).reshape(1, -1)
  layout = {1: 'mono', 2: 'stereo', 6: '5.1'}[channels]
  if dtype is np.float64 or kind in ('s32', 'u8p'):  # `from_ndarray` does not accept these in every version
    frame = av.AudioFrame(format=kind, layout=layout, samples=samples)
    for plane, values in zip(frame.planes, packed, strict=True):
      plane.update(values.tobytes().ljust(plane.buffer_size, b'\0'))
  else:
    frame = av.AudioFrame.from_ndarray(packed, format=kind, layout=layout)
  frame.sample_rate, frame.time_base, frame.pts = rate_hz, tick, pts
  return frame, (array.astype(np.float64) - zero) / scale


@pytest.mark.parametrize('kind', ['u8', 's16', 's16p', 's32', 's32p', 'flt', 'fltp', 'dbl', 'dblp', 'u8p'])
@pytest.mark.parametrize('channels', [1, 2, 6])
def test_every_sample_format(kind, channels):
  pairs = [frame_of(kind, channels, n, 44100, 10 * i, i) for i, n in enumerate((100, 1, 30))]
  for mono in ('mean', 'first'):
    blocks = list(mixdown.mono_blocks([frame for frame, _ in pairs], Fraction(1, 100), mono))
    assert [(start, rate) for start, rate, _ in blocks] == [(-441, 44100), (0, 44100), (441, 44100)]
    for (_, _, mixed), (_, sound) in zip(blocks, pairs, strict=True):
      assert mixed.dtype == np.float32
      np.testing.assert_allclose(mixed, sound.mean(0) if mono == 'mean' else sound[0], atol=1e-6)


def test_no_frame_is_lost_where_the_format_changes(monkeypatch):
  monkeypatch.setattr(mixdown, 'HELD_SAMPLES', 250)
  kinds = [('s16', 1, 44100)] * 7 + [('s16', 2, 44100)] * 3 + [('fltp', 2, 44100)] + [('fltp', 2, 48000)] * 2
  pairs = [frame_of(kind, n, 50, rate, None, i) for i, (kind, n, rate) in enumerate(kinds)]
  groups = [len(group) for *_, group in mixdown.group_frames(frame for frame, _ in pairs)]
  assert groups == [5, 2, 3, 1, 2]
  empty = av.AudioFrame(format='fltp', layout='mono', samples=0)
  blocks = list(mixdown.mono_blocks([empty, *(frame for frame, _ in pairs), empty], 0, 'mean'))
  assert [(start, rate) for start, rate, _ in blocks] == [(None, rate) for *_, rate in kinds]
  np.testing.assert_allclose([mixed for *_, mixed in blocks], [sound.mean(0) for _, sound in pairs], atol=1e-6)
  monkeypatch.setattr(mixdown, 'HELD_FRAMES', 2)
  assert [len(group) for *_, group in mixdown.group_frames(frame for frame, _ in pairs)][:4] == [2, 2, 2, 1]


def test_nearest_rounds_as_fraction_does():
  for numerator in range(-40, 40):
    for denominator in range(1, 9):
      assert mixdown.nearest(numerator, denominator) == round(Fraction(numerator, denominator))


def test_error_names_an_unsupported_format():
  frame = av.AudioFrame(format='s64', layout='mono', samples=10)
  frame.sample_rate, frame.time_base = 8000, Fraction(1, 8000)
  with pytest.raises(UserError, match='s64 is not supported'):
    list(mixdown.mono_blocks([frame], 0, 'mean'))
