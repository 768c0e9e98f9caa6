"""A log-mel spectrogram in NumPy and SciPy, which the front end is held against."""

import numpy as np
import scipy.signal


def reference(waveform, sample_rate_hz, window_seconds, hop_seconds, bands, lower_hz, upper_hz, offset):
  """Frame by frame and band by band, in float64."""
  window, hop = round(window_seconds * sample_rate_hz), round(hop_seconds * sample_rate_hz)
  size = 2 ** int(np.ceil(np.log2(window)))
  taper = scipy.signal.get_window('hann', window, fftbins=True)
  edges = np.linspace(*(1127 * np.log(1 + hz / 700) for hz in (lower_hz, upper_hz)), bands + 2)
  mels = 1127 * np.log(1 + np.fft.rfftfreq(size, 1 / sample_rate_hz) / 700)
  rows = []
  for start in range(0, len(waveform) - window + 1, hop):
    magnitude = np.abs(np.fft.rfft(waveform[start : start + window].astype(np.float64) * taper, size))
    magnitude[0] = 0
    energy = [np.interp(mels, edges[i : i + 3], [0, 1, 0], 0, 0) @ magnitude for i in range(bands)]
    rows.append(np.log(np.array(energy) + offset))
  return np.array(rows)
