"""Overview of a whole file: log-mel spectrogram and waveform envelope, in constant memory."""

import numpy as np

from audionet_tf.media import mel
from audionet_tf.media.timeline import PCM_SCALE

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
LOWEST_HZ = 50
MOST_COLUMNS = 2048


class MelPicture:
  """Mean power of mel bands in successive equal intervals.

  A column starts as one frame. Whenever MOST_COLUMNS are full, neighbours are merged, so that a column holds twice as
  many frames.

  Args:
    sample_rate_hz: of the sound.
    bands: number of mel bands between LOWEST_HZ and half the sample rate.

  Attributes:
    sample_rate_hz: of the sound.
    edges_hz: f64 [bands + 1], frequencies where neighbouring bands meet.
    hop: samples from one frame to the next.
    frames_per_column: int, at present.
  """

  def __init__(self, sample_rate_hz, bands=64):
    self.sample_rate_hz, self.bands = sample_rate_hz, bands
    self.hop = max(1, round(HOP_SECONDS * sample_rate_hz))
    size = max(2, round(WINDOW_SECONDS * sample_rate_hz))
    self.hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    self.fft_samples = 1 << (size - 1).bit_length()
    self.matrix = mel.mel_matrix(bands, self.fft_samples, sample_rate_hz, LOWEST_HZ, sample_rate_hz / 2)
    mels = np.linspace(*mel.hertz_to_mel([LOWEST_HZ, sample_rate_hz / 2]), 2 * bands + 3)[1:-1:2]
    self.edges_hz = 700 * np.expm1(mels / 1127)
    self.samples = np.zeros(0, np.float32)  # still needed by a frame that is not complete
    self.frames = np.zeros([0, bands])  # not yet in a column
    self.columns = np.zeros([0, bands])
    self.frames_per_column, self.start_sample, self.end_sample = 1, None, 0

  def watch(self, chunks):
    """Yields (start_sample, int16 [n]) chunks of `decoding.decode_audio` unchanged, and adds them to the picture."""
    for start, pcm in chunks:
      self.start_sample = start if self.start_sample is None else self.start_sample
      self.end_sample = start + len(pcm)
      self.samples = np.concatenate([self.samples, pcm.astype(np.float32) / PCM_SCALE])
      self.add(self.samples)
      yield start, pcm

  def add(self, samples):
    """Turns f32 [n] samples into frames, and frames into columns; keeps the remainder of both."""
    count = max(0, 1 + (len(samples) - len(self.hann)) // self.hop)
    if count:
      views = np.lib.stride_tricks.sliding_window_view(samples, len(self.hann))[:: self.hop]
      power = np.abs(np.fft.rfft(views * self.hann, self.fft_samples)) ** 2  # [count, fft_samples / 2 + 1]
      self.frames = np.concatenate([self.frames, power @ self.matrix])
      self.samples = samples[count * self.hop :]
    while whole := min(len(self.frames) // self.frames_per_column, MOST_COLUMNS - len(self.columns)):
      used = whole * self.frames_per_column
      means = self.frames[:used].reshape(whole, self.frames_per_column, self.bands).mean(1)
      self.columns, self.frames = np.concatenate([self.columns, means]), self.frames[used:]
      if len(self.columns) == MOST_COLUMNS:
        self.columns = self.columns.reshape(-1, 2, self.bands).mean(1)
        self.frames_per_column *= 2

  def picture(self):
    """The spectrogram of the sound so far, relative to its loudest value.

    Returns:
      dict: `edges_seconds` f64 [columns + 1], `edges_hz` f64 [bands + 1], `decibels` f32 [columns, bands], maximum 0.
    """
    columns = self.columns
    if len(self.frames):
      columns = np.concatenate([columns, self.frames.mean(0)[None]])
    if not len(columns):  # shorter than one frame
      padded = np.pad(self.samples, [0, len(self.hann) - len(self.samples)])
      columns = (np.abs(np.fft.rfft(padded * self.hann, self.fft_samples)) ** 2 @ self.matrix)[None]
    edges = (self.start_sample or 0) + np.arange(len(columns) + 1) * self.frames_per_column * self.hop
    edges[-1] = max(self.end_sample, edges[-2] + 1)
    decibels = 10 * np.log10(np.maximum(columns / max(columns.max(), 1e-10), 1e-10))
    return {
      'edges_seconds': edges / self.sample_rate_hz,
      'edges_hz': self.edges_hz,
      'decibels': decibels.astype(np.float32),
    }


def envelope(chunks, limit=4096):
  """Lowest and highest sample of successive equal blocks, in one pass and constant memory.

  A block starts as one sample. Whenever `limit` blocks are full, neighbours are merged: short sound keeps every sample.

  Args:
    chunks: iterable of (start_sample, int16 [n]), contiguous, from `decoding.decode_audio`.
    limit: even int, the largest number of full blocks.

  Returns:
    dict: `low`, `high` f32 [blocks] in [-1, 1); ints `start_sample` of the first block, `block_samples`, and `samples`,
    their total.
  """
  low, high, pending = (np.zeros(0, np.int16) for _ in range(3))
  block, first, total = 1, None, 0
  for start, pcm in chunks:
    first = start if first is None else first
    total += len(pcm)
    pending = np.concatenate([pending, pcm])
    while count := min(len(pending) // block, limit - len(low)):
      blocks = pending[: count * block].reshape(count, block)
      pending = pending[count * block :]
      low, high = np.concatenate([low, blocks.min(1)]), np.concatenate([high, blocks.max(1)])
      if len(low) == limit:
        low, high, block = low.reshape(-1, 2).min(1), high.reshape(-1, 2).max(1), 2 * block
  if len(pending):
    low, high = np.append(low, pending.min()), np.append(high, pending.max())
  scaled = {name: values.astype(np.float32) / PCM_SCALE for name, values in (('low', low), ('high', high))}
  return scaled | {'start_sample': first or 0, 'block_samples': block, 'samples': total}
