"""The mel scale and its filter bank, in NumPy.

Source: HTK's formula, as in VGGish and YAMNet (tensorflow/models, research/audioset/vggish/mel_features.py).
"""

import numpy as np


def hertz_to_mel(hertz):
  """HTK's mel scale, 1127 ln(1 + f / 700): array of hertz to f64 of the same shape."""
  return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


def mel_matrix(bands, fft_samples, sample_rate_hz, lower_hz, upper_hz):
  """Filter bank that maps a spectrum to mel bands.

  Args:
    bands: number of mel bands.
    fft_samples: even length of the transform.
    sample_rate_hz: of the sound.
    lower_hz, upper_hz: edges of the lowest and the highest band.

  Returns:
    f64 [fft_samples / 2 + 1, bands]: triangles of height 1, linear in mel; the weights of the DC bin are zero.
  """
  mels = hertz_to_mel(np.arange(fft_samples // 2 + 1) * sample_rate_hz / fft_samples)[:, None]
  edges = np.linspace(hertz_to_mel(lower_hz), hertz_to_mel(upper_hz), bands + 2)
  rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
  matrix = np.maximum(0, np.minimum(rising, falling))
  matrix[0] = 0
  return matrix
