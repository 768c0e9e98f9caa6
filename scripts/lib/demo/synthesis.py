"""Ten sounds for the demo, each made of sines and noise: a function (voice, seconds) -> f64 [n] in [-1, 1].

They differ in spectrum, because AudioNet uses little else: it averages its filters over a window.
"""

import dataclasses

import numpy as np

RATE_HZ = 22050


@dataclasses.dataclass(frozen=True)
class Voice:
  """The sound of one clip among those of its thing.

  Attributes:
    pitch: factor on all frequencies, near 1.
    tempo: factor on all speeds, near 1.
    loudness: peak of the sound, 0 to 1.
    noise: level of the background noise, against the peak.
    rng: numpy.random.Generator for all other variation.
  """

  pitch: float
  tempo: float
  loudness: float
  noise: float
  rng: np.random.Generator


def times(seconds):
  return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def tone(frequency_hz):
  """A sine whose frequency may change: f64 [n] of hertz, one per sample."""
  return np.sin(2 * np.pi * np.cumsum(frequency_hz) / RATE_HZ)


def harmonics(frequency_hz, amplitudes):
  """Sines at 1, 2, 3, ... times a frequency; those above half the rate are left out."""
  audible = [(k, a) for k, a in enumerate(amplitudes, 1) if np.max(frequency_hz) * k < RATE_HZ / 2]
  return sum(a * tone(frequency_hz * k) for k, a in audible)


def filtered_noise(voice, count, gain):
  """White noise, its spectrum multiplied by `gain`(frequencies in hertz)."""
  spectrum = np.fft.rfft(voice.rng.standard_normal(count))
  shaped = np.fft.irfft(spectrum * gain(np.fft.rfftfreq(count, 1 / RATE_HZ)), count)
  return shaped / np.abs(shaped).max()


def band(low_hz, high_hz):
  """A gain for `filtered_noise`: 1 inside the band, falling off over an octave or so outside."""
  return lambda f: 1 / (1 + (low_hz / np.maximum(f, 1)) ** 6 + (f / high_hz) ** 6)


def strokes(voice, seconds, every_seconds, sound):
  """Repeats `sound` (f64 [n]) about every `every_seconds`, with small variations of time and loudness."""
  out = np.zeros(round(seconds * RATE_HZ) + len(sound))
  start = voice.rng.uniform(0, 0.1) * every_seconds
  while start < seconds:
    first = round(start * RATE_HZ)
    out[first : first + len(sound)] += sound * voice.rng.uniform(0.8, 1)
    start += every_seconds * voice.rng.uniform(0.93, 1.07)
  return out[: round(seconds * RATE_HZ)]


def decay(seconds, time_constant_s):
  return np.exp(-times(seconds) / time_constant_s)


def bell(voice, seconds):
  partials = np.array([1, 2.0, 2.76, 4.07, 5.4]) * 620 * voice.pitch
  ring = sum(tone(np.full(len(times(2)), f)) * decay(2, 1.2 / i) for i, f in enumerate(partials, 1))
  return strokes(voice, seconds, 0.9 / voice.tempo, ring)


def siren(voice, seconds):
  sweep = np.sin(2 * np.pi * 0.8 * voice.tempo * times(seconds))
  return harmonics((900 + 250 * sweep) * voice.pitch, [1, 0, 0.35])


def engine(voice, seconds):
  rate = 75 * voice.pitch * (1 + 0.06 * np.sin(2 * np.pi * 0.5 * voice.tempo * times(seconds)))
  return harmonics(rate, [1, 0.9, 0.7, 0.45, 0.25, 0.15]) + filtered_noise(voice, len(rate), band(40, 200))


def bird(voice, seconds):
  t = times(0.16)
  chirp = tone((4000 + 1300 * np.sin(2 * np.pi * 18 * t)) * voice.pitch) * np.hanning(len(t))
  return strokes(voice, seconds, 0.2 / voice.tempo, chirp)


def rain(voice, seconds):
  return filtered_noise(voice, len(times(seconds)), band(1500 * voice.pitch, 10000))


def drum(voice, seconds):
  t = times(0.4)
  skin = tone((70 + 60 * np.exp(-t / 0.03)) * voice.pitch) * decay(0.4, 0.15)
  stick = filtered_noise(voice, len(t), band(100, 900)) * decay(0.4, 0.05)
  return strokes(voice, seconds, 0.3 / voice.tempo, skin + stick)


def clock(voice, seconds):
  tick = filtered_noise(voice, len(times(0.06)), band(2200 * voice.pitch, 3400)) * decay(0.06, 0.015)
  return strokes(voice, seconds, 0.24 / voice.tempo, tick)


def violin(voice, seconds):
  t = times(seconds)
  notes = voice.rng.choice([1, 9 / 8, 5 / 4, 4 / 3, 3 / 2], 1 + int(3 * voice.tempo * seconds))
  vibrato = 1 + 0.012 * np.sin(2 * np.pi * 6 * t)
  return harmonics(330 * voice.pitch * notes[(3 * voice.tempo * t).astype(int)] * vibrato, 1 / np.arange(1, 13))


def kettle(voice, seconds):
  t = times(seconds)
  whistle = tone(2200 * voice.pitch * (1 + 0.02 * np.sin(2 * np.pi * 1.2 * voice.tempo * t)))
  return whistle + 0.25 * filtered_noise(voice, len(t), band(1800, 5000))


def waves(voice, seconds):
  t = times(seconds)
  swell = 0.75 + 0.25 * np.sin(2 * np.pi * 0.4 * voice.tempo * t + voice.rng.uniform(0, 6))
  return filtered_noise(voice, len(t), band(200, 600 * voice.pitch)) * swell


def sound(make, voice, seconds):
  """The sound of a clip, f32 [n]: that of `make`, scaled to the voice's loudness, with a little noise."""
  clean = make(voice, seconds)
  clean = clean / np.abs(clean).max()
  background = filtered_noise(voice, len(clean), lambda f: 1 / np.sqrt(np.maximum(f, 50)))
  return (voice.loudness * (clean + voice.noise * background) / (1 + voice.noise)).astype(np.float32)
