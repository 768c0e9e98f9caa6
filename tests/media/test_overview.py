"""The log-mel picture of a sound of any length."""

import numpy as np
import pytest
from scipy import signal

from audionet_tf.media import mel, overview

RATE_HZ = 16000


def watched(pcm, piece=RATE_HZ, start=0, rate_hz=RATE_HZ, bands=64):
  mel = overview.MelPicture(rate_hz, bands)
  chunks = [(start + i, pcm[i : i + piece]) for i in range(0, len(pcm), piece)]
  passed = list(mel.watch(iter(chunks)))
  assert [first for first, _ in passed] == [first for first, _ in chunks]
  return mel


def expected(pcm, bands=64):
  """Decibels by SciPy's spectrogram, frame by frame."""
  power = signal.spectrogram(
    pcm / 32768.0, window=signal.get_window('hann', 400), noverlap=240, nfft=512, detrend=False, mode='magnitude'
  )[2]  # scaled by the sum of the window, which decibels below the loudest do not show
  matrix = mel.mel_matrix(bands, 512, RATE_HZ, overview.LOWEST_HZ, RATE_HZ / 2)
  mels = (power**2).T @ matrix  # [frames, bands]
  return 10 * np.log10(mels / mels.max())


@pytest.mark.parametrize('piece', [123, RATE_HZ])
def test_columns_of_short_sound_are_those_of_scipy(piece):
  pcm = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
  found = watched(pcm, piece).picture()
  np.testing.assert_allclose(found['decibels'][:48], expected(pcm), atol=0.01)
  assert len(found['edges_seconds']) == len(found['decibels']) + 1


def test_long_sound_has_columns_of_mean_power(monkeypatch):
  monkeypatch.setattr(overview, 'MOST_COLUMNS', 16)
  pcm = np.random.default_rng(0).normal(0, 3000, 400 + 160 * 99).astype(np.int16)  # 100 frames
  mel = watched(pcm, 777)
  found = mel.picture()
  assert mel.frames_per_column == 8 and len(found['decibels']) == 13
  power = 10 ** (expected(pcm) / 10)
  means = np.array([power[i : i + 8].mean(0) for i in range(0, 100, 8)])
  np.testing.assert_allclose(found['decibels'], 10 * np.log10(means / means.max()), atol=0.01)
  np.testing.assert_allclose(np.diff(found['edges_seconds'])[:-1], 0.08)


def test_a_tone_lies_in_its_band_and_late_sound_at_its_time():
  tone = (9000 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
  found = watched(tone, start=8000).picture()
  band = found['decibels'].mean(0).argmax()
  assert found['edges_hz'][band] <= 1000 <= found['edges_hz'][band + 1]
  np.testing.assert_allclose(found['edges_seconds'][[0, -1]], [0.5, 1.5])
  assert found['edges_hz'][0] >= overview.LOWEST_HZ and found['edges_hz'][-1] <= RATE_HZ / 2


@pytest.mark.parametrize('samples', [1, 399, 400, 401])
def test_a_moment_and_silence_are_pictures_too(samples):
  found = watched(np.zeros(samples, np.int16)).picture()
  assert np.isfinite(found['decibels']).all() and (np.diff(found['edges_seconds']) > 0).all()
