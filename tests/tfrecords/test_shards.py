"""The order of windows in the shards."""

import hashlib
import pathlib

import built_records
import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from tfrecords import hashed_order, jobs, pool, shards, shuffle, worker


def plain_hash(video_id, index):
  """SplitMix64 as printed by Steele, Lea and Flood, seeded with the video id."""
  seed = int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), 'little')
  z = (seed + index * 0x9E3779B97F4A7C15) % 2**64
  z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
  z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
  return z ^ (z >> 31)


def windows_of(rows):
  return [(video, first + i) for video, first, count in rows for i in range(count)]


def in_order(rows, take):
  """The windows of (id, first, count) rows in hashed order, `take` at a time."""
  videos = [{'id': video, 'first_window': first, 'windows': count} for video, first, count in rows]
  order, total = hashed_order.Windows(videos), sum(count for _, _, count in rows)
  parts = [order.take(min(take, total - start)) for start in range(0, total, take)]
  return [(videos[row]['id'], index) for row, index in np.concatenate(parts).tolist()]


@pytest.mark.parametrize(('chunk', 'block', 'take'), [(1 << 17, 1 << 16, 169), (8, 16, 5), (40, 7, 64), (1, 3, 1)])
def test_order_is_a_hash_and_is_kept_when_videos_are_added(monkeypatch, chunk, block, take):
  monkeypatch.setattr(hashed_order, 'CHUNK_WINDOWS', chunk)
  monkeypatch.setattr(hashed_order, 'BLOCK_WINDOWS', block)
  videos = [('a', 0, 40), ('b', 3, 30)]
  more = [('a', 0, 40), ('aa', 0, 99), ('b', 3, 30)]
  few, many = in_order(videos, take), in_order(more, take)
  assert [row for row in many if row[0] != 'aa'] == few
  assert few == sorted(windows_of(videos), key=lambda row: plain_hash(*row))
  assert many == sorted(windows_of(more), key=lambda row: plain_hash(*row))


def test_equal_hashes_come_in_the_order_of_ids_and_numbers(monkeypatch):
  monkeypatch.setattr(hashed_order, 'hashes', lambda seeds, indices: np.zeros(len(indices), np.uint64))
  videos = [('a', 2, 3), ('b', 0, 4)]
  assert in_order(videos, 7) == windows_of(videos)


@pytest.mark.parametrize('memory', [1, 100, 5_000, 10**9])
def test_a_shuffle_through_files_is_a_sort(tmp_path, monkeypatch, memory):
  monkeypatch.setattr(shuffle, 'MEMORY_BYTES', memory)
  monkeypatch.setattr(shuffle, 'MOST_BITS', 2)
  rng = np.random.default_rng(0)
  hashes = [*rng.integers(0, 2**64, 200, np.uint64).tolist(), *([7] * 5), *([2**64 - 1] * 3), 0]
  records = [
    ((key, number % 3, number), bytes(rng.integers(0, 256, number % 90, np.uint8))) for number, key in enumerate(hashes)
  ]
  total = sum(len(content) for _, content in records)
  found = list(shuffle.ordered(iter(records), total, tmp_path))
  assert found == [content for _, content in sorted(records)]
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ('windows', 'size', 'asked', 'expected'),
  [(10, 0, 3, [4, 3, 3]), (2, 0, 5, [1, 1]), (7, 1, None, [4, 3]), (5, 3 * 128 * 2**20 - 1, None, [2, 2, 1])],
)
def test_shards_are_of_equal_length(windows, size, asked, expected):
  assert (
    shards.split(windows, size, asked) == expected == [len(x) for x in np.array_split(range(windows), len(expected))]
  )


def test_a_build_through_files_has_the_bytes_of_one_in_memory(tmp_path, monkeypatch):
  videos = built_records.three(tmp_path / 'videos')
  built_records.build(videos, tmp_path / 'memory')
  monkeypatch.setattr(shuffle, 'MEMORY_BYTES', 3000)
  built_records.build(videos, tmp_path / 'files')
  assert built_records.shard_bytes(tmp_path / 'files') == built_records.shard_bytes(tmp_path / 'memory')
  media_clips.write(videos / 'd.mkv', seconds=0.4)
  built_records.build(videos, tmp_path / 'files')  # kept records come from shards, in their order
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(tmp_path / 'files') == built_records.shard_bytes(tmp_path / 'fresh')


def test_a_new_part_is_where_the_whole_of_it_would_say(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', sound_start=0.3)
  job = jobs.Job('a', str(path), str(tmp_path / 'part'), built_records.PNG, 1 << 32)
  windows = worker.write_part(job, lambda count: None)
  stored = shards.from_new_part(job.part, 'a', 'digest', windows)
  assert stored == shards.from_part(job.part, 'a', 'digest') and stored.first > 0


@pytest.mark.parametrize('place', [20, -20])  # in the first record, in the last
def test_a_new_part_that_is_damaged_goes_into_no_shard(tmp_path, monkeypatch, place):
  def damaging(asked, *args):
    for job, event in run(asked, *args):
      if isinstance(event, jobs.Outcome):
        part = bytearray(pathlib.Path(job.part).read_bytes())
        part[place] ^= 1
        pathlib.Path(job.part).write_bytes(part)
      yield job, event

  run, out = pool.run, tmp_path / 'out'
  monkeypatch.setattr(pool, 'run', damaging)
  with pytest.raises(UserError, match='build (it )?again'):
    built_records.build(media_clips.write(tmp_path / 'a.mkv'), out)
  assert not (out / 'manifest.json').exists() and not list(out.glob('*.tfrecord'))
  monkeypatch.setattr(pool, 'run', run)
  assert built_records.build(tmp_path / 'a.mkv', out).built == 1
