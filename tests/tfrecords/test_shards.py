"""The order of windows in the shards."""

import hashlib

from tfrecords import shards


def plain_hash(video_id, index):
  """SplitMix64 as printed by Steele, Lea and Flood, seeded with the video id."""
  seed = int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), 'little')
  z = (seed + index * 0x9E3779B97F4A7C15) % 2**64
  z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
  z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
  return z ^ (z >> 31)


def test_order_is_a_hash_and_is_kept_when_videos_are_added():
  videos = [('a', 0, 40), ('b', 3, 30)]
  more = [('a', 0, 40), ('aa', 0, 99), ('b', 3, 30)]

  def windows(rows):
    return [(video, first + i) for video, first, count in rows for i in range(count)]

  few = [windows(videos)[i] for i in shards.hashed_order(videos)]
  many = [windows(more)[i] for i in shards.hashed_order(more)]
  assert [row for row in many if row[0] != 'aa'] == few
  assert sorted(few) == windows(videos)
  assert few == sorted(windows(videos), key=lambda row: plain_hash(*row))
