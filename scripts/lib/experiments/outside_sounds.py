"""Sounds of no category: noise, hum, sweeps, music of plucked strings, babble of vowels, their mixtures, silence.

KINDS: a function (numpy Generator, samples) -> f64 [samples] each, at RATE_HZ; `sounds` gives some of every kind.
"""

import numpy as np
from scipy import signal

RATE_HZ = 22050
# First three formants of vowels in Hz: Peterson and Barney 1952, table II (men).
VOWELS = (
  (270, 2290, 3010),
  (530, 1840, 2480),
  (660, 1720, 2410),
  (730, 1090, 2440),
  (570, 840, 2410),
  (300, 870, 2240),
)


def coloured(rng, samples, slope):
  """Noise whose power falls by `slope` times 3 dB an octave."""
  hertz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
  spectrum = np.fft.rfft(rng.normal(size=samples)) * np.maximum(hertz, 20) ** (-slope / 2)
  return np.fft.irfft(spectrum, samples)


def gusts(rng, samples):
  """Coloured noise whose level wanders slowly."""
  points = rng.uniform(-30, 0, 8)
  level = np.interp(np.linspace(0, 7, samples), np.arange(8), points)
  return coloured(rng, samples, rng.uniform(0, 2)) * 10 ** (level / 20)


def hum(rng, samples):
  """A mains' or a machine's harmonics, steady."""
  time, base = np.arange(samples) / RATE_HZ, rng.choice([50, 60, rng.uniform(80, 400)])
  return sum(rng.uniform(0, 1) / k * np.sin(2 * np.pi * k * base * time + rng.uniform(0, 7)) for k in range(1, 13))


def sweeps(rng, samples):
  """A tone that glides up and down, as of a synthesizer."""
  points = rng.uniform(np.log(150), np.log(6000), 6)
  hertz = np.exp(np.interp(np.linspace(0, 5, samples), np.arange(6), points))
  return signal.sawtooth(2 * np.pi * np.cumsum(hertz) / RATE_HZ, rng.uniform(0.1, 0.9))


def music(rng, samples):
  """Chords of plucked strings (Karplus and Strong 1983), in one key."""
  found, beat = np.zeros(samples), int(RATE_HZ * rng.uniform(0.2, 0.5))
  key, scale = rng.uniform(100, 220), np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 19])
  for start in range(0, samples, beat):
    for step in rng.choice(scale, rng.integers(1, 4), replace=False):
      period = int(RATE_HZ / (key * 2 ** (step / 12)))
      count = min(samples - start, 2 * RATE_HZ)
      burst = np.zeros(count)
      burst[:period] = rng.uniform(-1, 1, min(period, count))
      loop = np.zeros(period + 2)
      loop[[0, period, period + 1]] = 1, -0.498, -0.498
      found[start : start + count] += signal.lfilter([1], loop, burst)
  return found


def babble(rng, samples):
  """Syllables: a buzz of a speaking voice's pitch, or a hiss before it, through the formants of vowels."""
  found, start, pitch = np.zeros(samples), 0, rng.uniform(85, 230)
  tract = rng.uniform(1, 1.2)  # a shorter one has higher formants
  while start < samples:
    count = min(int(RATE_HZ * rng.uniform(0.12, 0.3)), samples - start)
    hertz = pitch * 2 ** (np.linspace(rng.uniform(-0.2, 0.3), rng.uniform(-0.4, 0.1), count))
    buzz = np.diff(np.floor(np.cumsum(hertz) / RATE_HZ), prepend=0.0) + 0.02 * rng.normal(size=count)
    for formant in VOWELS[rng.integers(len(VOWELS))]:
      centre, radius = 2 * np.pi * formant * tract / RATE_HZ, np.exp(-np.pi * 90 / RATE_HZ)
      buzz = signal.lfilter([1 - radius], [1, -2 * radius * np.cos(centre), radius**2], buzz)
    found[start : start + count] = buzz / (np.abs(buzz).max() + 1e-9) * np.hanning(count)
    if rng.uniform() < 0.4:
      hiss = min(count // 2, 1500)
      found[start : start + hiss] += 0.1 * np.diff(rng.normal(size=hiss), prepend=0.0) * np.hanning(hiss)
    start += count + int(RATE_HZ * (rng.uniform(0.2, 0.6) if rng.uniform() < 0.2 else 0.02))
  return found


def mixture(rng, samples):
  """Two of the others, at levels up to 10 dB apart."""
  kinds = [make for name, make in KINDS.items() if name not in ('mixture', 'silence')]
  first, second = (normalised(kinds[number](rng, samples)) for number in rng.choice(len(kinds), 2, replace=False))
  return first + second * 10 ** (rng.uniform(-10, 0) / 20)


KINDS = {
  'noise': lambda rng, samples: coloured(rng, samples, rng.uniform(0, 2)),
  'gusts': gusts,
  'hum': hum,
  'sweeps': sweeps,
  'music': music,
  'babble': babble,
  'mixture': mixture,
  'silence': lambda rng, samples: np.zeros(samples),
}


def normalised(sound):
  """Its root mean square 1; silence stays silence."""
  return sound / max(np.sqrt(np.mean(sound**2)), 1e-9)


def sounds(each, seconds=5.0, seed=0):
  """dict of kind to f32 [each, samples], of root mean squares of 0.003 to 0.1, silence apart."""
  found = {}
  for number, (kind, make) in enumerate(KINDS.items()):
    rng = np.random.default_rng([seed, number])
    rows = [normalised(make(rng, int(seconds * RATE_HZ))) * 10 ** rng.uniform(-2.5, -1) for _ in range(each)]
    found[kind] = np.clip(rows, -1, 1).astype(np.float32)
  return found
