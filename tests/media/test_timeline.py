"""Blocks of sound on one timeline: gaps, overlaps, jitter, windows."""

import collections

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.media import timeline


def test_full_scale_is_that_of_int16():
  assert -np.iinfo(np.int16).min == timeline.PCM_SCALE


def chunked(samples, sizes, start=0):
  """Yields (start, piece) of `samples`, in pieces whose sizes repeat `sizes`."""
  position, i = 0, 0
  while position < len(samples):
    piece = samples[position : position + sizes[i % len(sizes)]]
    yield start + position, piece
    position, i = position + len(piece), i + 1


def windows(*args):
  return [(index, list(pcm)) for index, pcm in timeline.cut_windows(*args)]


@pytest.mark.parametrize('sizes', [[1], [7], [100], [3, 50, 1]])
@pytest.mark.parametrize(
  'window_seconds, hop_seconds, starts',
  [
    (0.01, 0.01, range(0, 91, 10)),
    (0.03, 0.01, range(0, 71, 10)),
    (0.01, 0.04, (0, 40, 80)),
    (0.01, 0.0125, (0, 12, 25, 38, 50, 62, 75, 88)),  # nearest sample, ties to even, no drift
  ],
)
def test_windows_are_slices(sizes, window_seconds, hop_seconds, starts):
  samples = np.arange(100, dtype=np.int16)
  size = round(window_seconds * 1000)
  expected = [(k, list(range(start, start + size))) for k, start in enumerate(starts)]
  assert windows(chunked(samples, sizes), window_seconds, hop_seconds, 1000) == expected


@pytest.mark.parametrize('start', [0, 19, 20, 21, 39, 40])
def test_the_first_window_is_the_first_that_begins_with_the_sound_or_after_it(start):
  cut = windows(chunked(np.arange(start, 100, dtype=np.int16), [30], start=start), 0.02, 0.02, 1000)
  assert [k for k, _ in cut] == [k for k in range(5) if 20 * k >= start]
  assert all(pcm == list(range(20 * k, 20 * k + 20)) for k, pcm in cut)


def test_late_sound_starts_with_its_first_complete_window():
  cut = windows(chunked(np.arange(35, 100, dtype=np.int16), [9], start=35), 0.02, 0.02, 1000)
  assert [k for k, _ in cut] == [2, 3, 4]
  assert cut[0][1] == list(range(40, 60))


def test_windows_of_an_hour_do_not_drift():
  chunks = ((i * 16000, np.full(16000, i % 30000, np.int16)) for i in range(3600))
  ((index, pcm),) = collections.deque(timeline.cut_windows(chunks, 0.04, 0.04, 16000), maxlen=1)
  assert index == 89_999
  assert pcm[0] == 3599


def blocks(*starts_and_values, rate=1000):
  return [(start, rate, np.array(values, np.float32)) for start, values in starts_and_values]


def values_by_position(pieces):
  """dict of position to sample value; asserts that the pieces are contiguous."""
  result, expected = {}, None
  for start, _, samples in pieces:
    assert expected in (None, start)
    expected = start + len(samples)
    result.update(zip(range(start, expected), samples.tolist(), strict=True))
  return result


def test_a_gap_becomes_silence_and_an_overlap_is_dropped():
  samples = values_by_position(timeline.fill_gaps(blocks((0, [1] * 10), (20, [2] * 10), (20, [3] * 20), (None, [4]))))
  assert list(samples.values()) == [1] * 10 + [0] * 10 + [2] * 10 + [3] * 10 + [4]


def test_overlaps_of_more_than_half_a_second_are_told():
  told = []
  pieces = blocks((0, [1] * 1000), *[(0, [2] * 100)] * 5, (1000, [3] * 10))
  samples = values_by_position(timeline.fill_gaps(pieces, told.append))
  assert list(samples.values()) == [1] * 1000 + [3] * 10 and not told
  pieces = blocks((0, [1] * 1000), *[(0, [2] * 100)] * 7, (1000, [3] * 10))
  assert list(values_by_position(timeline.fill_gaps(pieces, told.append)).values()) == [1] * 1000 + [3] * 10
  assert told == ['0.70 s of its sound are left out: their time stamps are those of sound before them']


def test_jitter_of_time_stamps_is_ignored():
  samples = values_by_position(timeline.fill_gaps(blocks((0, [1] * 10), (12, [2] * 10), (19, [3] * 10))))
  assert list(samples.values()) == [1] * 10 + [2] * 10 + [3] * 10


def test_time_stamps_five_milliseconds_off_are_jitter_and_six_are_not():
  for off, silent in ((5, 0), (6, 6)):
    samples = values_by_position(timeline.fill_gaps(blocks((0, [1] * 10), (10 + off, [2] * 10))))
    assert list(samples.values()) == [1] * 10 + [0] * silent + [2] * 10
  for off, dropped in ((5, 0), (6, 6)):
    samples = values_by_position(timeline.fill_gaps(blocks((0, [1] * 10), (10 - off, [2] * 10))))
    assert list(samples.values()) == [1] * 10 + [2] * (10 - dropped)


def test_a_block_without_a_time_follows_the_one_before():
  """At a low rate no deviation is jitter, so that nothing else hides a shift."""
  samples = values_by_position(timeline.fill_gaps(blocks((0, [1] * 3), (None, [2] * 3), (None, [3] * 3), rate=100)))
  assert list(samples.values()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_positions_after_a_change_of_the_rate_are_whole_numbers():
  pieces = blocks((0, [1] * 10)) + blocks((None, [2] * 5), rate=333)
  assert [start for start, _, _ in timeline.fill_gaps(pieces)] == [0, 3]


def test_a_change_of_the_rate_makes_later_starts_unknown():
  """FFmpeg counts them in another rate from there on."""
  pieces = blocks((0, [1]), (1, [2])) + blocks((5, [3]), rate=2000) + blocks((9, [4]))
  starts = [(start, rate) for start, rate, _ in timeline.without_starts_after_a_change(pieces)]
  assert starts == [(0, 1000), (1, 1000), (None, 2000), (None, 1000)]


def test_limits_are_allowed_themselves():
  assert len(list(timeline.fill_gaps(blocks((0, [1]), rate=768_000)))) == 1
  with pytest.raises(UserError, match='sample rate is 768001 Hz'):
    list(timeline.fill_gaps(blocks((0, [1]), rate=768_001)))
  hour = blocks((0, [1]), (3601, [2]), rate=1)
  assert sum(samples.size for _, _, samples in timeline.fill_gaps(hour)) == 3602
  with pytest.raises(UserError, match='more than 3600 s'):
    list(timeline.fill_gaps(blocks((0, [1]), (3602, [2]), rate=1)))


@pytest.mark.parametrize('start, expected', [(0, 0), (1, 0), (3, 0), (25, 0), (30, 0), (31, 31), (-8, -8)])
def test_slightly_late_sound_starts_at_zero(start, expected):
  samples = values_by_position(timeline.fill_gaps(blocks((start, [1] * 10))))
  assert min(samples) == expected
  assert [samples[start + i] for i in range(10)] == [1] * 10
  assert sum(samples.values()) == 10


def test_a_rate_that_changes_goes_on_at_the_same_instant():
  pieces = blocks((0, [1] * 10), (10, [2] * 10)) + blocks((40, [3] * 20), (None, [4] * 20), rate=2000)
  pieces += blocks((40, [5] * 10))
  assert [(start, rate, len(samples)) for start, rate, samples in timeline.fill_gaps(pieces)] == [
    (0, 1000, 10),
    (10, 1000, 10),
    (40, 2000, 20),
    (60, 2000, 20),
    (40, 1000, 10),
  ]
  pieces = blocks((0, [1] * 11), rate=3000) + blocks((None, [2] * 5), rate=2000)
  (_, _, first), (start, rate, _) = timeline.fill_gaps(pieces)
  assert len(first) / 3000 - 1 / rate < start / rate <= len(first) / 3000
  with pytest.raises(UserError, match='at most 768000'):
    list(timeline.fill_gaps(blocks((0, [1]), rate=2**31)))
  with pytest.raises(UserError, match='sample rate is 0 Hz'):
    list(timeline.fill_gaps(blocks((0, [1])) + blocks((1, [1]), rate=0)))


def test_a_pause_in_which_the_clock_ran_on_is_silence():
  pieces = list(timeline.fill_gaps(blocks((0, [1] * 10), (120_010, [2] * 10))))
  assert max(len(samples) for _, _, samples in pieces) <= 1000  # memory does not grow with the pause
  samples = values_by_position(pieces)
  assert [position for position, value in samples.items() if value] == [*range(10), *range(120_010, 120_020)]


def test_filled_silence_is_limited():
  jumps = blocks(*((i * 50_000, [1] * 10) for i in range(100)))
  pieces = timeline.fill_gaps(iter(jumps))
  filled = 0
  with pytest.raises(UserError, match='gaps in the sound, by its time stamps, add up to more than 3600 s'):
    for _, _, samples in pieces:
      filled += np.count_nonzero(samples == 0)
  assert 3_550_000 < filled <= 3_600_000
  with pytest.raises(UserError, match='more than 3600 s'):
    list(timeline.fill_gaps(blocks((0, [1]), (10**12, [1]))))
  late = blocks((5_000_000, [1] * 10), (5_030_000, [1] * 10))  # a late start is no gap
  assert sum(samples.size for _, _, samples in timeline.fill_gaps(late)) == 30_010


@pytest.mark.parametrize(('size', 'sizes'), [(50, [100, 100]), (33, [132, 132]), (49, [147, 49])])
def test_coalesced_blocks_are_the_shortest_of_at_least_a_second(size, sizes):
  pieces = [(i * size, 100, np.zeros(size, np.float32)) for i in range(sum(sizes) // size)]
  assert [len(samples) for _, _, samples in timeline.coalesce(iter(pieces))] == sizes
  later = [(0, 90, np.zeros(30, np.float32)), *pieces]  # after a block of another rate
  assert [len(samples) for _, _, samples in timeline.coalesce(iter(later))] == [30, *sizes]


def test_coalesce_keeps_every_sample():
  pieces = [(i * 30, 100, np.arange(i * 30, i * 30 + 30, dtype=np.float32)) for i in range(11)]
  joined = list(timeline.coalesce(iter(pieces)))
  assert [len(samples) for _, _, samples in joined] == [120, 120, 90]
  assert list(values_by_position(joined).values()) == list(range(330))
  joined = list(timeline.coalesce(iter([*pieces, (660, 200, np.zeros(5, np.float32))])))
  assert [(rate, len(samples)) for _, rate, samples in joined] == [(100, 120), (100, 120), (100, 90), (200, 5)]
