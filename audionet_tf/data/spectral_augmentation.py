"""Augmentations of a window's spectrum: room, noise, equalizer, band. They share one Fourier transform of the window.

Each is a function (spectrum complex64 [B, F], value, draws, Hertz) -> spectrum; `augmentation` has their table and what
an example draws. The window is a circle for them, as it is for `augmentation.shift`.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from audionet_tf.media.mel import hertz_to_mel

SEEDS = 'seeds'  # beside the draws: int64 [B, 2], for those that need more numbers (`numbers_of`)
# Names of their own random numbers; a new one goes to the end.
NUMBERS = ('reverb', 'noise', 'equalizer')
LONGEST_REVERB = 1.2  # seconds
EQUALIZER_POINTS = 8


def reverb(spectrum, value, draws, hertz):
  """With probability `value`, a room: noise that decays by 60 dB in 0.1 to 1.2 s, 12 dB below the sound to 6 above.

  Time is uniform in its logarithm, level in dB. Sources: Moorer 1979, "About this reverberation business" (decaying
  noise as a room's response); Ko et al. 2017, section 2 (simulated rooms to learn from).
  """
  samples = 2 * (len(hertz.bins) - 1)
  count = min(samples, int(LONGEST_REVERB * hertz.rate))

  def in_room(spectrum, draws):
    time = LONGEST_REVERB * 12 ** (draws['reverb_time'] - 1) * hertz.rate  # in samples
    decay = tf.exp(-math.log(1000) * tf.range(count, dtype=tf.float32) / time[:, None])
    tail = numbers_of(tf.random.stateless_normal, draws, 'reverb', count) * decay
    tail *= tf.math.rsqrt(tf.reduce_sum(tail**2, 1, keepdims=True))  # energy 1, as the sound's own
    tail *= decibels(18 * draws['reverb_level'] - 12)[:, None]
    return spectrum * (1 + tf.signal.rfft(tail, [samples]))

  return changed_where(draws['reverb'] < value, in_room, spectrum, draws)


def noise(spectrum, value, draws, hertz):
  """With probability `value`, noise 5 to 40 dB below the sound, from white to one that falls by 6 dB an octave.

  Both are uniform. Source: Salamon and Bello 2017, section II-B (background noise).
  """
  bins = hertz.bins

  def in_noise(spectrum, draws):
    # Sums of so many uniform numbers are normal: each sample is one.
    parts = numbers_of(tf.random.stateless_uniform, draws, 'noise', 2 * len(bins)) - 0.5
    own = tf.complex(parts[:, : len(bins)], parts[:, len(bins) :])
    fall = tf.exp(-draws['noise_slope'][:, None] * np.log(np.maximum(bins, 20) / 20))
    own *= tf.cast(fall * (bins > 0), own.dtype)
    gain = decibels(-5 - 35 * draws['noise_ratio']) * tf.sqrt(energy(spectrum) / energy(own))
    return spectrum + own * tf.cast(gain[:, None], own.dtype)

  return changed_where(draws['noise'] < value, in_noise, spectrum, draws)


def equalizer(spectrum, value, draws, hertz):
  """Eight points, evenly apart on the mel scale, are raised or lowered by up to `value` dB; linear between them.

  Source: Nam, Kim, Park 2022 (FilterAugment), section 2, its linear type.
  """
  mels = hertz_to_mel(hertz.bins)
  knots = np.linspace(0, mels[-1], EQUALIZER_POINTS)
  shares = np.maximum(0, 1 - abs(mels - knots[:, None]) / knots[1]).astype(np.float32)  # [points, bins]
  points = (2 * numbers_of(tf.random.stateless_uniform, draws, 'equalizer', EQUALIZER_POINTS) - 1) * value
  return spectrum * tf.cast(decibels(points @ shares), spectrum.dtype)


def band(spectrum, value, draws, hertz):
  """With probability `value` a channel that is narrower than the sound: a low-pass, a high-pass, or both.

  Of these, nine of ten have a low-pass of 1.5 to 10.5 kHz, uniform in octaves, and half a high-pass of 50 to 350 Hz.
  The slope is that of a Butterworth filter of order 3 to 24. Random low-passes as in Ko et al. 2017 are those of
  telephones; their range is our own.
  """
  octaves = np.log(np.maximum(hertz.bins, 1)).astype(np.float32)

  def passed(edge, sign):
    def filtered(spectrum, draws):
      slope = sign * 2 * 3 * 8 ** draws['band_order']
      power = tf.sigmoid(slope[:, None] * (tf.math.log(edge(draws))[:, None] - octaves))
      return spectrum * tf.cast(tf.sqrt(power), spectrum.dtype)

    return filtered

  chosen = draws['band'] < value
  low_pass = passed(lambda draws: 1500 * 7 ** draws['low_pass_hz'], 1)
  high_pass = passed(lambda draws: 50 * 7 ** draws['high_pass_hz'], -1)
  spectrum = changed_where(chosen & (draws['low_pass'] < 0.9), low_pass, spectrum, draws)
  return changed_where(chosen & (draws['high_pass'] < 0.5), high_pass, spectrum, draws)


def changed_where(chosen, change, spectrum, draws):
  """The spectrum with the examples of `chosen`, bool [B], changed by (spectrum, draws) -> spectrum, and no others."""
  rows = tf.where(chosen)
  own = {name: tf.gather_nd(x, rows) for name, x in draws.items()}
  return tf.tensor_scatter_nd_update(spectrum, rows, change(tf.gather_nd(spectrum, rows), own))


@dataclasses.dataclass(frozen=True)
class Hertz:
  """Of the transform of 2 (F - 1) samples: sampling rate, and f64 [F] (NumPy), the frequency of every bin."""

  rate: int
  bins: np.ndarray


def energy(spectrum):
  """f32 [B]: sum of squares, all bins alike."""
  return tf.reduce_sum(tf.abs(spectrum) ** 2, 1)


def decibels(x):
  """The factor of an amplitude that is x dB."""
  return tf.exp(x * (math.log(10) / 20))


def numbers_of(distribution, draws, name, count):
  """f32 [B, count] of a stateless distribution, an example's own."""

  def numbers(seed):
    return distribution([count], tf.random.experimental.stateless_fold_in(seed, NUMBERS.index(name)))

  found = tf.map_fn(numbers, draws[SEEDS], fn_output_signature=tf.float32)
  return tf.reshape(found, [-1, count])  # also of no example


def transformed(batch, rows, draws, sample_rate_hz):
  """The batch with its spectrum changed by `rows`, a list of (apply, value). The last sample of an odd window stays."""
  samples = batch['audio'].shape[1] // 2 * 2
  hertz = Hertz(sample_rate_hz, np.fft.rfftfreq(samples, 1 / sample_rate_hz))
  spectrum = tf.signal.rfft(batch['audio'][:, :samples])
  for apply, value in rows:
    spectrum = apply(spectrum, value, draws, hertz)
  changed = tf.signal.irfft(spectrum, [samples])
  return batch | {'audio': tf.concat([changed, batch['audio'][:, samples:]], 1)}
