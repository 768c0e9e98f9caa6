"""Features without a network: statistics of a clip's spectrum over time, what a learned feature has to beat.

Source: Piczak 2015 (ESC): mean and deviation of MFCC 1 to 12 and of the zero-crossing rate.
"""

import numpy as np
import tensorflow as tf

from audionet_tf.layers import log_mel
from audionet_tf.media.timeline import PCM_SCALE

SAMPLE_RATE_HZ, MONO = 22050, 'mean'
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
BANDS, LOWEST_HZ, OFFSET = 64, 20, 1e-3
COEFFICIENTS = slice(1, 13)  # the one before is the loudness


def log_mels(pcm):
  """f32 [frames, BANDS] of int16 [samples], at least one frame."""
  least = round(WINDOW_SECONDS * SAMPLE_RATE_HZ)
  sound = np.pad(pcm, [0, max(0, least - len(pcm))]).astype(np.float32) / PCM_SCALE
  bands = (BANDS, LOWEST_HZ, SAMPLE_RATE_HZ / 2)
  return log_mel.LogMel(SAMPLE_RATE_HZ, WINDOW_SECONDS, HOP_SECONDS, *bands, OFFSET)(sound[None])[0].numpy()


def zero_crossings(pcm):
  """f32 [frames, 1]: the share of a frame's neighbouring samples of different sign."""
  size, hop = (round(seconds * SAMPLE_RATE_HZ) for seconds in (WINDOW_SECONDS, HOP_SECONDS))
  changes = np.diff(np.pad(pcm, [0, max(0, size + 1 - len(pcm))]) >= 0)
  frames = np.lib.stride_tricks.sliding_window_view(changes, size - 1)[::hop]
  return frames.mean(1, keepdims=True, dtype=np.float32)


def statistics(frames):
  """f32 [1, 2 x width]: mean and deviation over time of f32 [frames, width]."""
  return np.concatenate([frames.mean(0, dtype=np.float64), frames.std(0, dtype=np.float64)])[None].astype(np.float32)


def logmel(pcm):
  """f32 [1, 2 x BANDS]."""
  return statistics(log_mels(pcm))


def mfcc(pcm):
  """f32 [1, 26]."""
  coefficients = tf.signal.mfccs_from_log_mel_spectrograms(log_mels(pcm)).numpy()[:, COEFFICIENTS]
  return np.concatenate([statistics(coefficients), statistics(zero_crossings(pcm))], 1)


BASELINES = {'mfcc': mfcc, 'logmel': logmel}
