"""Codecs: what they do to sound, and that it happens when it happened before."""

import numpy as np
import pytest
from scipy import signal

from audionet_tf.core.errors import UserError
from audionet_tf.media import codecs

ONSETS = (0.31, 0.74, 1.18)  # seconds


def syllables(rate_hz):
  """int16 of 1.6 s: gliding tones of 0.2 s with the onsets above, silence between them."""
  time = np.arange(round(0.2 * rate_hz)) / rate_hz
  glide = signal.chirp(time, 450, 0.2, 1700) * np.minimum(1, 50 * (0.2 - time))
  sound = np.zeros(round(1.6 * rate_hz))
  for onset in ONSETS:
    begin = round(onset * rate_hz)
    sound[begin : begin + len(glide)] = 0.4 * glide
  return (sound * 32767).astype(np.int16)


def level(pcm, rate_hz, begin, end):
  """RMS from `begin` to `end`, in seconds."""
  return np.sqrt(np.mean(pcm[round(begin * rate_hz) : round(end * rate_hz)].astype(float) ** 2))


@pytest.mark.parametrize('rate_hz', [8000, 16000, 22050, 44100])
@pytest.mark.parametrize('name', codecs.CODECS)
def test_sound_begins_when_it_began(name, rate_hz):
  pcm = syllables(rate_hz)
  coded = codecs.through(pcm, rate_hz, name)
  assert coded.dtype == np.int16 and coded.shape == pcm.shape
  for onset in ONSETS:
    after = level(coded, rate_hz, onset + 0.03, onset + 0.08)
    assert level(pcm, rate_hz, onset + 0.03, onset + 0.08) / 2 < after < 1.5 * 0.4 * 32767
    # A codec spreads a sudden onset over some milliseconds; the agreement below is exact to half of one.
    assert level(coded, rate_hz, onset - 0.03, onset - 0.006) < after / 4
    assert level(coded, rate_hz, onset + 0.008, onset + 0.014) > after / 4
  agreement = signal.correlate(coded.astype(float), pcm.astype(float), method='fft')
  assert abs(agreement.argmax() - (len(pcm) - 1)) <= 0.0005 * rate_hz


@pytest.mark.parametrize(('name', 'edge_hz'), [('g723_1', 4000), ('opus', 8000), ('mp3', 11025), ('mu_law', 4000)])
def test_nothing_is_left_above_half_the_rate_of_a_codec(name, edge_hz):
  noise = np.random.default_rng(0).normal(0, 3000, 44100).astype(np.int16)
  power = np.abs(np.fft.rfft(codecs.through(noise, 44100, name))) ** 2  # bins of 1 Hz
  assert power[edge_hz + 500 :].sum() < 0.01 * power.sum()
  assert power[edge_hz // 3 : edge_hz].sum() > 0.05 * power.sum()


def test_mu_law_is_that_of_g711():
  """Levels of the decoder, from the formula of G.711: at 8 kHz, with nothing resampled, each sample is one of them."""
  pcm = np.random.default_rng(1).integers(-30000, 30000, 4000).astype(np.int16)
  coded = codecs.through(pcm, 8000, 'mu_law')
  steps = [((2 * mantissa + 33) << exponent) - 33 for exponent in range(8) for mantissa in range(16)]
  levels = np.array([4 * step for step in steps])
  nearest = levels[np.abs(np.abs(pcm.astype(int))[:, None] - levels).argmin(1)] * np.where(pcm < 0, -1, 1)
  assert set(np.abs(coded.astype(int))) <= set(levels)
  assert np.abs(coded - nearest).max() <= 1024  # halfway between two levels either may be chosen
  assert np.mean(coded == nearest) > 0.99


@pytest.mark.parametrize('name', codecs.CODECS)
def test_a_window_is_coded_by_itself(name):
  """Nothing of an earlier window stays in a codec; and windows shorter than a frame have no start to be heard."""
  rng = np.random.default_rng(2)
  first, second = rng.normal(0, 3000, [2, 640]).astype(np.int16)
  alone = codecs.through(second, 16000, name)
  codecs.through(first, 16000, name)
  np.testing.assert_array_equal(codecs.through(second, 16000, name), alone)
  tone = np.rint(8000 * np.sin(2 * np.pi * 500 * np.arange(640) / 16000)).astype(np.int16)
  coded = codecs.through(tone, 16000, name).astype(float)
  quarters = np.sqrt(np.mean(coded.reshape(4, -1) ** 2, 1))
  assert quarters.min() > 0.7 * quarters.max() > 2000


def test_silence_stays_silent():
  for name in codecs.CODECS:
    assert np.abs(codecs.through(np.zeros(8000, np.int16), 16000, name)).max() <= 16, name


def test_an_ffmpeg_without_a_codec_is_one_line(monkeypatch):
  codecs.check()
  monkeypatch.setitem(codecs.CODECS, 'g723_1', codecs.Codec('no_such_encoder', 'g723_1', 8000))
  with pytest.raises(UserError, match='has no encoder no_such_encoder; install') as caught:
    codecs.check()
  assert '\n' not in str(caught.value)
