"""The windows of a sound, against slices of an array, and their times, against fractions."""

import fractions
import types

import numpy as np
import pytest
from scipy.io import wavfile

from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.inference import windows
from audionet_tf.models import registry

SIZE, HOP = 40, 30  # samples
FRAMING = params.Framing(sample_rate_hz=1000, mono='mean', window_seconds=SIZE / 1000, hop_seconds=HOP / 1000)


def chunked(pcm, size, start=0):
  return [(start + i, pcm[i : i + size]) for i in range(0, len(pcm), size)]


def ramp(samples):
  return np.arange(1, samples + 1, dtype=np.int16)


def cut(pcm, size=7, start=0, **options):
  return [
    (index, samples.tolist()) for index, samples in windows.windows(chunked(pcm, size, start), FRAMING, **options)
  ]


@pytest.mark.parametrize('size', [1, 7, 40, 1000])
@pytest.mark.parametrize('samples', [40, 69, 70, 71, 200])
def test_windows_are_slices_and_the_rest_is_dropped(samples, size):
  pcm = ramp(samples)
  expected = [(k, pcm[k * HOP : k * HOP + SIZE].tolist()) for k in range((samples - SIZE) // HOP + 1)]
  assert cut(pcm, size) == expected


@pytest.mark.parametrize('size', [1, 7, 1000])
@pytest.mark.parametrize(('samples', 'more'), [(40, 0), (44, 0), (45, 1), (69, 1), (70, 0), (73, 0), (75, 1)])
def test_a_remainder_of_more_than_a_share_of_a_window_gives_one_that_ends_with_the_sound(samples, more, size):
  """Of a tenth of a window: more than 4 samples behind the last window."""
  pcm = ramp(samples)
  grid, result = cut(pcm, size), cut(pcm, size, min_remainder=0.1)
  assert result[: len(grid)] == grid and len(result) == len(grid) + more
  if more:
    index, window = result[-1]
    assert window == pcm[-SIZE:].tolist()
    assert index * HOP == pytest.approx(samples - SIZE)


@pytest.mark.parametrize('size', [1, 7, 1000])
@pytest.mark.parametrize('samples', [1, 13, 39])
def test_sound_shorter_than_a_window_is_padded_or_repeated(samples, size):
  pcm = ramp(samples)
  for remainder in (None, 0.0):
    ((index, padded),) = cut(pcm, size, min_remainder=remainder)
    assert (index, padded) == (0, [*pcm.tolist(), *[0] * (SIZE - samples)])
    ((index, repeated),) = cut(pcm, size, repeat=True, min_remainder=remainder)
    assert (index, repeated) == (0, (pcm.tolist() * SIZE)[:SIZE])


def test_short_sound_that_begins_late_keeps_its_time():
  ((index, window),) = cut(ramp(12), 5, start=60)
  assert index * HOP == pytest.approx(60) and window[:12] == list(range(1, 13))
  # Long enough for a window, but not for one on the grid: it holds the first of the sound.
  ((index, window),) = cut(ramp(45), 7, start=10)
  assert index * HOP == pytest.approx(10) and window == list(range(1, 41))


@pytest.mark.parametrize('size', [13, 39])
def test_off_the_grid_the_last_sample_of_the_window_may_come_alone(size):
  """The pieces before it are one sample too short."""
  ((_, window),) = cut(ramp(45), size, start=10)
  assert window == list(range(1, 41))


def test_late_sound_with_a_remainder():
  pcm = ramp(80)  # samples 30 to 109: a window at 30 and one at 60, then 10 samples
  assert cut(pcm, 7, start=30) == [(1, pcm[:40].tolist()), (2, pcm[30:70].tolist())]
  *_, (index, window) = cut(pcm, 7, start=30, min_remainder=0.1)
  assert index * HOP == pytest.approx(70) and window == pcm[-40:].tolist()


def test_no_sound_is_an_error():
  for options in ({}, {'min_remainder': 0.0}):
    with pytest.raises(UserError, match='no sound in it'):
      cut(ramp(0), 7, **options)


@pytest.mark.parametrize(('count', 'sizes'), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_batches_hold_every_window_once(count, sizes):
  pairs = [(k / 2, np.full(3, k + 1, np.int16)) for k in range(count)]
  batches = list(windows.batches(iter(pairs), 4, 3))
  assert [len(indices) for indices, _ in batches] == sizes
  assert all(pcm.shape == (4, 3) and pcm.dtype == np.int16 for _, pcm in batches)
  rows = [(k, row.tolist()) for indices, pcm in batches for k, row in zip(indices, pcm, strict=False)]
  assert rows == [(k / 2, [k + 1] * 3) for k in range(count)]
  assert all((pcm[len(indices) :] == 0).all() for indices, pcm in batches)


def test_times_are_the_nearest_to_exact_fractions():
  framing = params.Framing(sample_rate_hz=16000, mono='mean', window_seconds=0.1, hop_seconds=0.04)
  starts, ends = windows.times(np.arange(50.0), framing)
  assert starts.tolist() == [float(fractions.Fraction(k, 25)) for k in range(50)]
  assert ends.tolist() == [float(fractions.Fraction(k, 25) + fractions.Fraction(1, 10)) for k in range(50)]


def test_repetitions_in_a_window():
  counts = [windows.repetitions(samples, FRAMING) for samples in range(1, 100)]
  assert counts == [next(n for n in range(1, 41) if n * min(samples, SIZE) >= SIZE) for samples in range(1, 100)]


def test_the_remainder_counts_where_short_sound_is_repeated_and_windows_are_the_default():
  assert windows.default_min_remainder('repeat', None) == windows.MIN_REMAINDER == 0.1
  assert windows.default_min_remainder('pad', None) is None
  assert windows.default_min_remainder('repeat', 5.0) is None
  assert windows.default_min_remainder('repeat', None, 5.0) is None


def blocks_of(monkeypatch, samples, start, repeat, min_remainder=None):
  """`windows.window_blocks` of a ramp in one piece, with a predictor that returns the first sample of each window."""
  asked = []

  def chunks(*arguments):
    asked.append(arguments)
    return iter(chunked(ramp(samples), 1000, start))

  def predict(pcm, count):
    return {'first': pcm[:, 0].copy(), 'sum': np.array([pcm[:count].sum()] * 3)}

  monkeypatch.setattr(windows.waveforms, 'chunks', chunks)
  predictor = types.SimpleNamespace(
    framing=FRAMING, repeat=repeat, min_remainder=min_remainder, batch_size=4, repeats=3, predict=predict
  )
  found = list(windows.window_blocks(predictor, 'a sound'))
  assert asked == [('a sound', 1000, 'mean')]
  return found


@pytest.mark.parametrize('start', [0, 60])
def test_blocks_hold_what_is_predicted_for_each_window_and_its_times(monkeypatch, start):
  first, second = blocks_of(monkeypatch, 200, start, repeat=False)
  assert first['first'].tolist() == [1, 31, 61, 91] and second['first'].tolist() == [121, 151]
  assert second['sum'].tolist() == [sum(range(121, 161)) + sum(range(151, 191))] * 3  # over windows, not one for each
  for block, numbers in ((first, range(4)), (second, range(4, 6))):
    starts = [(start + k * HOP) / 1000 for k in numbers]
    np.testing.assert_allclose(block['start_seconds'], starts, rtol=1e-12)
    np.testing.assert_allclose(block['end_seconds'], np.add(starts, SIZE / 1000), rtol=1e-12)
    assert block['sound_seconds'] == (start / 1000, (start + 200) / 1000) and block['repeats'] == 3


@pytest.mark.parametrize('start', [0, 60])
def test_a_block_of_repeated_sound_ends_with_it_and_counts_the_repetitions(monkeypatch, start):
  (block,) = blocks_of(monkeypatch, 13, start, repeat=True)
  assert block['first'].tolist() == [1] and block['repeats'] == 3 * 4  # of 13 samples in a window of 40
  np.testing.assert_allclose(block['end_seconds'], [(start + 13) / 1000], rtol=1e-12)
  assert block['sound_seconds'] == (start / 1000, (start + 13) / 1000)


@pytest.mark.parametrize(
  ('most', 'counts'), [(2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (7, (3, 1, 2)), (99, (6, 1, 2))]
)
@pytest.mark.parametrize(('student', 'repeats'), [('audionet', False), ('logmel_cnn', True)])
def test_files_give_equal_shares_of_windows(tmp_path, student, repeats, most, counts):
  """Of 6 windows, less than one, and 2."""
  assert (registry.network(student).short_input == 'repeat') == repeats
  sounds = [ramp(samples) + 100 * number for number, samples in enumerate((6 * SIZE + 7, 15, 2 * SIZE))]
  paths = [tmp_path / f'{number}.wav' for number in range(3)]
  for path, sound in zip(paths, sounds, strict=True):
    wavfile.write(path, 1000, sound)
  settings = types.SimpleNamespace(student=student, window_seconds=SIZE / 1000, sample_rate_hz=1000, mono='mean')
  short = np.resize(sounds[1], SIZE) if repeats else np.pad(sounds[1], (0, SIZE - 15))
  whole = [sounds[0][:-7].reshape(-1, SIZE), short[None], sounds[2].reshape(-1, SIZE)]
  expected = np.concatenate([part[:count] for part, count in zip(whole, counts, strict=True)])
  np.testing.assert_array_equal(
    windows.of_files(paths, settings, most, registry.network(student).short_input), expected
  )
