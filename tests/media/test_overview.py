"""Log-mel pictures of sounds of any length, against SciPy."""

import numpy as np
import pytest
from scipy import signal

from audionet_tf.media import mel, overview

RATE_HZ = 16000


def mel_picture(pcm, piece=RATE_HZ, start=0, rate_hz=RATE_HZ, bands=64):
  """The MelPicture of a sound that arrives in pieces."""
  picture = overview.MelPicture(rate_hz, bands)
  chunks = [(start + i, pcm[i : i + piece]) for i in range(0, len(pcm), piece)]
  forwarded = list(picture.watch(iter(chunks)))
  assert [first for first, _ in forwarded] == [first for first, _ in chunks]
  return picture


def expected(pcm, bands=64):
  """Decibels from SciPy's spectrogram, one row per frame."""
  power = signal.spectrogram(
    pcm / 32768.0, window=signal.get_window('hann', 400), noverlap=240, nfft=512, detrend=False, mode='magnitude'
  )[2]  # scaled by the sum of the window, which cancels in decibels relative to the maximum
  matrix = mel.mel_matrix(bands, 512, RATE_HZ, overview.LOWEST_HZ, RATE_HZ / 2)
  mels = (power**2).T @ matrix  # [frames, bands]
  return 10 * np.log10(mels / mels.max())


@pytest.mark.parametrize('piece', [123, RATE_HZ])
def test_columns_of_short_sound_equal_scipys(piece):
  pcm = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
  picture = mel_picture(pcm, piece).picture()
  np.testing.assert_allclose(picture['decibels'][:48], expected(pcm), atol=0.01)
  assert len(picture['edges_seconds']) == len(picture['decibels']) + 1


def test_columns_of_long_sound_are_mean_powers(monkeypatch):
  monkeypatch.setattr(overview, 'MOST_COLUMNS', 16)
  pcm = np.random.default_rng(0).normal(0, 3000, 400 + 160 * 99).astype(np.int16)  # 100 frames
  accumulator = mel_picture(pcm, 777)
  picture = accumulator.picture()
  assert accumulator.frames_per_column == 8 and len(picture['decibels']) == 13
  power = 10 ** (expected(pcm) / 10)
  means = np.array([power[i : i + 8].mean(0) for i in range(0, 100, 8)])
  np.testing.assert_allclose(picture['decibels'], 10 * np.log10(means / means.max()), atol=0.01)
  np.testing.assert_allclose(np.diff(picture['edges_seconds'])[:-1], 0.08)


def test_tone_is_in_its_band_and_late_sound_at_its_time():
  tone = (9000 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
  picture = mel_picture(tone, start=8000).picture()
  band = picture['decibels'].mean(0).argmax()
  assert picture['edges_hz'][band] <= 1000 <= picture['edges_hz'][band + 1]
  np.testing.assert_allclose(picture['edges_seconds'][[0, -1]], [0.5, 1.5])
  assert picture['edges_hz'][0] >= overview.LOWEST_HZ and picture['edges_hz'][-1] <= RATE_HZ / 2


@pytest.mark.parametrize('samples', [1, 399, 400, 401])
def test_very_short_silence_gives_a_finite_picture(samples):
  picture = mel_picture(np.zeros(samples, np.int16)).picture()
  assert np.isfinite(picture['decibels']).all() and (np.diff(picture['edges_seconds']) > 0).all()
