"""The mel scale and the matrix of its filters, in NumPy.

Source: HTK's formula, as in YAMNet and VGGish (tensorflow/models research/audioset, mel_features.py).
"""

import numpy as np


def hertz_to_mel(hertz):
  """HTK's mel scale."""
  return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


def mel_matrix(bands, fft_samples, sample_rate_hz, lower_hz, upper_hz):
  """f64 [fft_samples / 2 + 1, bands]: triangles, linear in mel, of height 1; nothing of the DC bin.

  Source: mel_features.py of VGGish.
  """
  mels = hertz_to_mel(np.arange(fft_samples // 2 + 1) * sample_rate_hz / fft_samples)[:, None]
  edges = np.linspace(hertz_to_mel(lower_hz), hertz_to_mel(upper_hz), bands + 2)
  rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
  matrix = np.maximum(0, np.minimum(rising, falling))
  matrix[0] = 0
  return matrix
