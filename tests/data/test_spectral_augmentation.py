"""Augmentations of channel, noise, room and level: against NumPy and SciPy, by the numbers that an example draws."""

import numpy as np
import pytest
import tensorflow as tf
from augmented_batches import augmented, batch_of
from scipy import interpolate, signal

from audionet_tf.data import augmentation, spectral_augmentation

RATE, SAMPLES, COUNT = 8000, 4000, 40
HERTZ = np.fft.rfftfreq(SAMPLES, 1 / RATE)


def sounds(kind):
  batch = batch_of(COUNT, samples=SAMPLES)
  if kind == 'impulse':
    batch['audio'] = np.zeros([COUNT, SAMPLES], np.float32)
    batch['audio'][:, 0] = 1
  elif kind == 'ramp':
    batch['audio'] = np.tile(np.arange(1, SAMPLES + 1, dtype=np.float32), [COUNT, 1])
  return batch


def draws_of(batch, seed=(0, 0)):
  """dict of name to f64 [B]: what the examples draw, by TensorFlow's generator alone."""
  fold_in = tf.random.experimental.stateless_fold_in
  rows = []
  for video, index in zip(batch['video_id'], batch['index'], strict=True):
    own = fold_in(fold_in(tf.constant(seed, tf.int64), video), index)
    rows.append(tf.random.stateless_uniform([len(augmentation.DRAWS)], own).numpy())
  return dict(zip(augmentation.DRAWS, np.array(rows, np.float64).T, strict=True))


def changed(batch, values, seed=(0, 0)):
  augment = augmentation.augmenter(values, RATE)
  return augment({name: tf.constant(x) for name, x in batch.items()}, tf.constant(seed, tf.int64))['audio'].numpy()


def response(values):
  """f64 [B, F]: amplitude of an impulse's spectrum behind augmentations."""
  return np.abs(np.fft.rfft(changed(sounds('impulse'), values)))


@pytest.mark.parametrize('odd', [0, 1])
def test_a_channel_that_changes_nothing_changes_nothing(odd):
  batch = {name: x[:, : SAMPLES - odd] if name == 'audio' else x for name, x in sounds('noise').items()}
  np.testing.assert_allclose(changed(batch, {'band': 1e-9}), batch['audio'], atol=1e-5)


def test_bands_are_butterworths():
  found, draws = response({'band': 0.7}), draws_of(sounds('impulse'))
  for row in range(COUNT):
    order, expected = 3 * 8 ** draws['band_order'][row], np.ones(len(HERTZ))
    if draws['band'][row] < 0.7:
      if draws['low_pass'][row] < 0.9:
        expected /= np.sqrt(1 + (HERTZ / (1500 * 7 ** draws['low_pass_hz'][row])) ** (2 * order))
      if draws['high_pass'][row] < 0.5:
        with np.errstate(divide='ignore'):
          expected /= np.sqrt(1 + (50 * 7 ** draws['high_pass_hz'][row] / HERTZ) ** (2 * order))
    np.testing.assert_allclose(found[row, 1:], expected[1:], atol=2e-4)
  narrowed = (abs(found - 1) > 1e-3).any(1)
  assert 0.25 < narrowed.mean() < 0.7


def test_a_band_of_a_whole_order_is_scipys():
  order, edge = 4, 2000.0
  poles = signal.butter(order, edge, fs=RATE * 64, output='sos')  # of so high a rate that the bilinear map is none
  expected = np.abs(signal.sosfreqz(poles, HERTZ, fs=RATE * 64)[1])
  draws = {name: np.zeros(1, np.float32) for name in augmentation.DRAWS} | {'high_pass': np.ones(1, np.float32)}
  draws |= {'band_order': np.float32(np.log([order / 3]) / np.log(8))}
  draws |= {'low_pass_hz': np.float32(np.log([edge / 1500]) / np.log(7))}
  spectrum = tf.ones([1, len(HERTZ)], tf.complex64)
  found = spectral_augmentation.band(spectrum, 1, draws, spectral_augmentation.Hertz(RATE, HERTZ))
  np.testing.assert_allclose(np.abs(found[0])[1:], expected[1:], atol=2e-3)


def test_equalizer_is_linear_in_decibels_between_points_of_the_mel_scale():
  found = 20 * np.log10(response({'equalizer': 12}))
  mels = 1127 * np.log(1 + HERTZ / 700)
  knots = np.linspace(0, mels[-1], 8)
  at_knots = [np.abs(mels - knot).argmin() for knot in knots]
  for row in found:
    # The bins do not lie on the points: extended from the two next bins on each side of a stretch.
    inner = interpolate.interp1d(mels, row)(np.clip(knots, mels[0], mels[-1]))
    np.testing.assert_allclose(row, np.interp(mels, knots, inner), atol=0.4)
  values = found[:, at_knots]
  assert abs(found).max() <= 12.01 and values.min() < -11 and values.max() > 11 and abs(values.mean()) < 1.5
  assert len(np.unique(values.round(3))) > 7 * COUNT


def test_noise_is_as_far_below_as_drawn():
  batch = sounds('noise')
  added, draws = changed(batch, {'noise': 0.5}) - batch['audio'], draws_of(batch)
  power = (batch['audio'].astype(np.float64) ** 2).mean(1)
  noisy = draws['noise'] < 0.5
  np.testing.assert_allclose(added[~noisy], 0, atol=1e-5)
  ratio = 10 * np.log10(power[noisy] / (added[noisy].astype(np.float64) ** 2).mean(1))
  np.testing.assert_allclose(ratio, 5 + 35 * draws['noise_ratio'][noisy], atol=0.1)
  for row, slope in zip(added[noisy], draws['noise_slope'][noisy], strict=True):
    spectrum = np.abs(np.fft.rfft(row)) ** 2
    low, high = ((edge < HERTZ) & (2 * edge > HERTZ) for edge in (400, 1600))
    octaves = 10 * np.log10(spectrum[low].mean() / spectrum[high].mean()) / 2
    assert octaves == pytest.approx(6.02 * slope, abs=1)


def test_reverberation_decays_as_drawn():
  batch = sounds('impulse')
  found, draws = changed(batch, {'reverb': 0.6}), draws_of(batch)
  rooms = draws['reverb'] < 0.6
  np.testing.assert_allclose(found[~rooms], batch['audio'][~rooms], atol=1e-6)
  for row, time, level in zip(found[rooms], *(draws[f'reverb_{x}'][rooms] for x in ('time', 'level')), strict=True):
    tail = row.astype(np.float64) - batch['audio'][0]
    assert 10 * np.log10((tail**2).sum()) == pytest.approx(18 * level - 12, abs=0.05)
    # A window's end cuts the tail: what lies before a tenth of the time has the energy of an exponential's.
    part = int(0.1 * 0.1 * 12**time * RATE)
    share = (1 - 10 ** (-6 * 0.1)) / (1 - 10 ** (-6 * min(1, SAMPLES / (0.1 * 12**time * RATE))))
    assert (tail[:part] ** 2).sum() / (tail**2).sum() == pytest.approx(share, abs=0.15)


def test_reverberation_and_filters_are_circular_convolutions_of_the_window():
  impulse, noise = sounds('impulse'), sounds('noise')
  values = {'reverb': 1, 'equalizer': 6, 'band': 1}
  responses, found = changed(impulse, values), changed(noise, values)
  for row in range(4):
    twice = np.tile(noise['audio'][row].astype(np.float64), 2)
    expected = signal.fftconvolve(twice, responses[row].astype(np.float64))[SAMPLES : 2 * SAMPLES]
    np.testing.assert_allclose(found[row], expected, atol=1e-3)


def test_crops_are_repeated_or_followed_by_silence():
  batch = sounds('ramp')
  found, draws = changed(batch, {'crop': 0.7}), draws_of(batch)
  shares = []
  for row in range(COUNT):
    if draws['crop'][row] >= 0.7:
      np.testing.assert_array_equal(found[row], batch['audio'][row])
      continue
    begin = int(found[row, 0]) - 1
    sounding = found[row] > 0
    repeats = draws['crop_repeats'][row] >= 0.5
    falls = np.flatnonzero(np.diff(found[row]) != 1)
    count = falls[0] + 1 if len(falls) else SAMPLES
    part = np.arange(begin + 1, begin + count + 1)
    expected = np.resize(part, SAMPLES) if repeats else np.pad(part, [0, SAMPLES - count])
    np.testing.assert_array_equal(found[row], expected)
    assert sounding.all() or not repeats
    shares.append(count / SAMPLES)
  assert 0.2 <= min(shares) < 0.35 and 0.85 < max(shares) <= 1 and len(shares) > COUNT / 2


def test_level_is_a_gain_of_the_mixture():
  batch = sounds('noise')
  mixed = augmented(batch, {'mix': 1})['audio']
  found, draws = changed(batch, {'mix': 1, 'level': 30}), draws_of(batch)
  np.testing.assert_allclose(found, mixed * 10 ** ((2 * draws['level'] - 1) * 1.5)[:, None], rtol=1e-4, atol=1e-6)


def test_new_augmentations_depend_on_the_window_alone_and_not_on_each_other():
  """Other neighbours change nothing, nor do further augmentations change an earlier one's numbers."""
  batch, values = sounds('noise'), {'crop': 0.5, 'reverb': 0.5, 'noise': 0.5, 'equalizer': 6, 'band': 0.7, 'level': 30}
  whole = changed(batch, values, (5, 3))
  some = augmented({name: x[[7, 2]] for name, x in batch.items()}, values, (5, 3), mapped=True)['audio']
  np.testing.assert_allclose(
    changed({n: x[[7, 2]] for n, x in batch.items()}, values, (5, 3)), whole[[7, 2]], atol=1e-5
  )
  assert some.shape == (2, SAMPLES)
  again = changed(batch, values, (5, 3))
  np.testing.assert_array_equal(again, whole)
  for seed in ((5, 4), (6, 3)):
    assert not np.isclose(changed(batch, values, seed), whole).all(1).any()
  room, filtered = (changed(sounds('impulse'), {name: 0.7}) for name in ('reverb', 'band'))
  both = changed(sounds('impulse'), {'reverb': 0.7, 'band': 0.7})
  product = np.fft.rfft(room) * np.fft.rfft(filtered)
  np.testing.assert_allclose(np.fft.rfft(both), product, atol=1e-3)


def test_background_is_another_window_far_below():
  batch = sounds('noise')
  batch['audio'] *= np.linspace(0.1, 1, COUNT, dtype=np.float32)[:, None]
  batch['mask'][:5] = 0
  result, draws = augmented(batch, {'background': 0.6}), draws_of(batch)
  others = set()
  for row, (before, after) in enumerate(zip(batch['audio'], result['audio'], strict=True)):
    if draws['background'][row] >= 0.6 or not batch['mask'][row]:
      np.testing.assert_array_equal(after, before)
      continue
    gains = (batch['audio'] @ (after - before)) / (batch['audio'] ** 2).sum(1)
    left = [np.linalg.norm(after - before - gain * other) for gain, other in zip(gains, batch['audio'], strict=True)]
    other = int(np.argmin(left))
    assert left[other] < 1e-4 * np.linalg.norm(before) and other != row and batch['mask'][other]
    below = 20 * np.log10(np.linalg.norm(before) / np.linalg.norm(after - before))
    np.testing.assert_allclose(below, 10 + 30 * draws['background_level'][row], atol=0.01)
    others.add(other)
  assert len(others) > 5
  for name in ('teacher/a', 'teacher/b'):
    np.testing.assert_array_equal(result[name], batch[name])
