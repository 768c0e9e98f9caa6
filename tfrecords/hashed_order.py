"""The order of windows in the shards: by a 64-bit hash of (video id, window index) and nothing else.

The shards do not depend on the number of processes, byte for byte, and windows keep their relative order when videos
are added. Windows of equal hashes come in the order of their ids and numbers.
"""

import hashlib

import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)
CHUNK_WINDOWS = 1 << 17  # of the order that are computed at a time
MOST_PASSES = 64  # over all windows, to compute the order: with more than MOST_PASSES x CHUNK_WINDOWS, chunks grow
BLOCK_WINDOWS = 1 << 16  # that are hashed at a time


def seed(video_id):
  """Of the hashes of a video, uint64."""
  return np.frombuffer(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), '<u8')[0]


def hashes(seeds, indices):
  """uint64 [n]: the hashes of windows int64 [n] of videos with seeds uint64 [n], or of one."""
  return _mixed(seeds + indices.astype(np.uint64) * STEP)


def _mixed(x):
  """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit of uint64 `x` flips half the output bits."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


class Windows:
  """The windows of all videos in hashed order, computed a chunk at a time: memory does not grow with their number.

  Args:
    videos: sequence of dicts `id`, `first_window`, `windows`, sorted by id.
  """

  def __init__(self, videos):
    self.firsts, counts = np.array([(v['first_window'], v['windows']) for v in videos], np.int64).reshape(-1, 2).T
    self.ends = np.cumsum(counts)
    self.starts = self.ends - counts
    self.seeds = np.array([seed(video['id']) for video in videos], np.uint64)
    self.chunks = self._chunks()
    self.left = np.zeros([0, 2], np.int64)

  def take(self, count):
    """The next `count` windows: int64 [count, 2], position of the video and number of the window."""
    parts, missing = [self.left], count - len(self.left)
    while missing > 0:
      parts.append(next(self.chunks))
      missing -= len(parts[-1])
    joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
    self.left = joined[count:]
    return joined[:count]

  def _chunks(self):
    """Yields the windows whose hashes begin with the same bits, in order."""
    total = int(self.ends[-1]) if len(self.ends) else 0
    passes = min(MOST_PASSES, -(-total // CHUNK_WINDOWS))
    bits = max(0, passes - 1).bit_length()
    for number in range(1 << bits):
      found = [
        self._block(begin, min(begin + BLOCK_WINDOWS, total), number, bits) for begin in range(0, total, BLOCK_WINDOWS)
      ]
      keys, positions = (np.concatenate(column) for column in zip(*found, strict=True))
      yield self.windows(positions[np.argsort(keys, kind='stable')])

  def _block(self, begin, end, number, bits):
    """(hashes, positions) of those windows from `begin` to `end`, counted video by video, that begin with `number`."""
    positions = np.arange(begin, end)
    rows, indices = self.windows(positions).T
    keys = hashes(self.seeds[rows], indices)
    chosen = slice(None) if not bits else keys >> np.uint64(64 - bits) == number
    return keys[chosen], positions[chosen]

  def windows(self, positions):
    """int64 [n, 2], position of the video and number of the window, of windows that are counted video by video."""
    rows = np.searchsorted(self.ends, positions, 'right')
    return np.stack([rows, positions - self.starts[rows] + self.firsts[rows]], 1)
