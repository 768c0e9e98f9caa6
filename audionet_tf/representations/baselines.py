"""Baseline features without a network: statistics over time of a clip's spectrum.

Source: Piczak 2015, "ESC: Dataset for Environmental Sound Classification": mean and standard deviation of MFCC 1 to 12
and of the zero-crossing rate.
"""

import numpy as np
import tensorflow as tf

from audionet_tf.layers import log_mel
from audionet_tf.media.timeline import PCM_SCALE

SAMPLE_RATE_HZ, MONO = 22050, 'mean'
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
BANDS, LOWEST_HZ, OFFSET = 64, 20, 1e-3
COEFFICIENTS = slice(1, 13)  # coefficient 0 is the loudness


def log_mels(pcm):
  """Log-mel spectrogram: int16 [samples] to f32 [frames, BANDS], at least one frame."""
  minimum = round(WINDOW_SECONDS * SAMPLE_RATE_HZ)
  sound = np.pad(pcm, [0, max(0, minimum - len(pcm))]).astype(np.float32) / PCM_SCALE
  bands = (BANDS, LOWEST_HZ, SAMPLE_RATE_HZ / 2)
  return log_mel.LogMel(SAMPLE_RATE_HZ, WINDOW_SECONDS, HOP_SECONDS, *bands, OFFSET)(sound[None])[0].numpy()


def zero_crossings(pcm):
  """Zero-crossing rate: int16 [samples] to f32 [frames, 1], the share of neighbouring samples of different sign."""
  size, hop = (round(seconds * SAMPLE_RATE_HZ) for seconds in (WINDOW_SECONDS, HOP_SECONDS))
  changes = np.diff(np.pad(pcm, [0, max(0, size + 1 - len(pcm))]) >= 0)
  frames = np.lib.stride_tricks.sliding_window_view(changes, size - 1)[::hop]
  return frames.mean(1, keepdims=True, dtype=np.float32)


def statistics(frames):
  """Mean and standard deviation over time: f32 [frames, width] to f32 [1, 2 width]."""
  return np.concatenate([frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)])[None].astype(np.float32)


def logmel(pcm):
  """Statistics of the log-mel spectrogram: int16 [samples] to f32 [1, 2 BANDS]."""
  return statistics(log_mels(pcm))


def mfcc(pcm):
  """Statistics of MFCC 1 to 12 and of the zero-crossing rate: int16 [samples] to f32 [1, 26]."""
  coefficients = tf.signal.mfccs_from_log_mel_spectrograms(log_mels(pcm)).numpy()[:, COEFFICIENTS]
  return np.concatenate([statistics(coefficients), statistics(zero_crossings(pcm))], 1)


BASELINES = {'mfcc': mfcc, 'logmel': logmel}
