"""Sound as other channels, levels and rooms bring it, to judge students by.

Written with SciPy and apart from `augmentation`, so that no student is judged by the code that it was trained with.
PERTURBATIONS is the table. Each row is a function of (sound f64 [n] in [-1, 1], its rate in Hz, numpy Generator).
"""

import functools
import hashlib

import numpy as np

FULL_SCALE = 1 << 15


def filtered(sound, rate_hz, rng, kind, hertz, order=10):
  """Behind a Butterworth filter; `hertz` is an edge or two. An edge at or above half the rate changes nothing."""
  from scipy import signal

  del rng
  if np.max(hertz) >= rate_hz / 2:
    return sound
  return signal.sosfilt(signal.butter(order, hertz, kind, fs=rate_hz, output='sos'), sound)


def louder(sound, rate_hz, rng, decibels):
  """By so many dB, below 0 softer; what leaves [-1, 1] is clipped when it is rounded."""
  del rate_hz, rng
  return sound * 10 ** (decibels / 20)


def noisy(sound, rate_hz, rng, ratio):
  """White noise, `ratio` dB below the sound's mean power."""
  del rate_hz
  noise = rng.normal(size=len(sound))
  return sound + noise * np.sqrt(np.mean(sound**2) / 10 ** (ratio / 10))


def reverberant(sound, rate_hz, rng, seconds):
  """In a room whose sound falls by 60 dB in `seconds`, its energy that of the direct sound; as loud as before."""
  from scipy import signal

  time = np.arange(int(seconds * rate_hz)) / rate_hz
  response = rng.normal(size=len(time)) * 10 ** (-3 * time / seconds)
  response /= np.linalg.norm(response)
  response[0] += 1
  found = signal.fftconvolve(sound, response)[: len(sound)]
  power = np.mean(found**2)
  return found * np.sqrt(np.mean(sound**2) / power) if power else found


def middle(sound, rate_hz, rng, seconds):
  """Only so much of it."""
  del rng
  begin = max(0, (len(sound) - int(seconds * rate_hz)) // 2)
  return sound[begin : len(sound) - begin]


PERTURBATIONS = {
  'low_pass_8khz': functools.partial(filtered, kind='lowpass', hertz=8000),
  'low_pass_4khz': functools.partial(filtered, kind='lowpass', hertz=4000),
  'telephone': functools.partial(filtered, kind='bandpass', hertz=(300, 3400), order=6),
  'softer_20db': functools.partial(louder, decibels=-20),
  'softer_40db': functools.partial(louder, decibels=-40),
  'louder_12db': functools.partial(louder, decibels=12),
  'noise_20db': functools.partial(noisy, ratio=20),
  'noise_10db': functools.partial(noisy, ratio=10),
  'reverb_500ms': functools.partial(reverberant, seconds=0.5),
  'middle_2s': functools.partial(middle, seconds=2),
}


def perturbed(chunks, name, rate_hz, key):
  """The sound of chunks, changed.

  Args:
    chunks: iterable of (start_sample, int16 [n]), one behind the other.
    name: key of PERTURBATIONS.
    rate_hz: of the sound.
    key: str, as a file's name: noise is a function of it and of `name`.

  Returns:
    List of one chunk (0, int16 [n]); empty where there is no sound.
  """
  parts = [pcm for _, pcm in chunks]
  if not parts:
    return []
  sound = np.concatenate(parts) / FULL_SCALE
  digest = hashlib.blake2b(f'{name}/{key}'.encode(), digest_size=8).digest()
  sound = PERTURBATIONS[name](sound, rate_hz, np.random.default_rng(int.from_bytes(digest, 'big')))
  return [(0, np.clip(np.rint(sound * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))]
