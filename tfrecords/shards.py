"""From windows video by video to balanced shards in an order of their own, and the manifest.

The order is that of a 64-bit hash of (video id, window index): it depends on nothing else, so the shards are the same
bytes however many processes made the windows, and a window keeps its place among the others when videos are added.
"""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import re

import numpy as np

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import records, tfrecord_io

SHARD_BYTES = 128 << 20  # wanted; the order shuffles well enough from two shards up
LEAST_SHARDS = 2
SHARD_NAME = re.compile(r'records-[0-9a-f]{8}-\d{5}-of-\d{5}\.tfrecord(\.partial)?')


@dataclasses.dataclass(frozen=True)
class Windows:
  """Where the framed records of a video lie: window `first` + i is `lengths[i]` bytes at `offsets[i]` of `paths[i]`."""

  video_id: str
  digest: str
  first: int
  paths: list
  offsets: np.ndarray
  lengths: np.ndarray


def from_part(path, video_id, digest):
  """The Windows of a part file. UserError where it is damaged."""
  found = tfrecord_io.record_offsets(path)
  framed = _read(path, *found[0]) if len(found) else b''
  payload = framed[12:-4]  # between length and checksums
  if framed != tfrecord_io.framed(payload):
    raise UserError(f'{path}: damaged; build it again')
  example = tfrecord_io.example_class().FromString(payload)
  first = example.features.feature['window/index'].int64_list.value[0]
  return Windows(video_id, digest, first, [str(path)] * len(found), found[:, 0], found[:, 1])


def from_shards(folder, manifest):
  """dict of video id to Windows, from the shards of a manifest: their order is known, so no record is read.

  Raises:
    UserError: a shard is cut short or holds another number of records than the manifest says.
  """
  paths, places = [], []
  for shard in manifest['shards']:
    path = str(pathlib.Path(folder) / shard['name'])
    found = tfrecord_io.record_offsets(path)
    if len(found) != shard['windows']:
      raise UserError(f'{path}: {len(found)} records, expected {shard["windows"]}')
    paths += [path] * len(found)
    places.append(found)
  places = np.concatenate(places)
  videos = manifest['videos']
  order = hashed_order([(v['id'], v['first_window'], v['windows']) for v in videos])
  position = np.empty(len(order), np.int64)
  position[order] = np.arange(len(order))  # from (video, window) to the place in the shards
  ends = np.cumsum([v['windows'] for v in videos])
  result = {}
  for video, end in zip(videos, ends, strict=True):
    mine = position[end - video['windows'] : end]
    chosen = places[mine]
    result[video['id']] = Windows(
      video['id'], video['digest'], video['first_window'], [paths[i] for i in mine], chosen[:, 0], chosen[:, 1]
    )
  return result


def hashed_order(videos):
  """int64 [windows]: positions of the windows, counted video by video, in the order of the shards.

  Args:
    videos: list of (id, first window, number of windows), sorted by id: the order of equal hashes.
  """
  keys = [np.zeros(0, np.uint64)]
  for video_id, first, count in videos:
    seed = np.frombuffer(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), '<u8')[0]
    keys.append(_mixed(seed + np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)))
  return np.argsort(np.concatenate(keys), kind='stable')


def _mixed(x):
  """The finaliser of SplitMix64: every bit of uint64 `x` changes about half the bits of the result."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def write(folder, videos, fields, shards, progress):
  """Writes shards and, last, the manifest; then removes shards that it does not name.

  Args:
    folder: of the records.
    videos: list of Windows, sorted by video id.
    fields: dict of further keys of the manifest.
    shards: number of shards; None for one from the size. Never more than there are windows.
    progress: called with the number of records written since the last call.

  Returns:
    The manifest, as a dict.
  """
  folder = pathlib.Path(folder)
  digest, shard_rows = _write_shards(folder, videos, shards, progress)
  manifest = {
    'schema_version': records.SCHEMA_VERSION,
    **fields,
    'windows': sum(row['windows'] for row in shard_rows),
    'digest': digest,
    'videos': [
      {'id': v.video_id, 'digest': v.digest, 'windows': len(v.paths), 'first_window': v.first} for v in videos
    ],
    'shards': shard_rows,
  }
  files.write_json(folder / records.MANIFEST_NAME, manifest, ensure_ascii=False)
  named = {row['name'] for row in shard_rows}
  for path in folder.iterdir():
    if SHARD_NAME.fullmatch(path.name) and path.name not in named:
      path.unlink()
  return manifest


def _write_shards(folder, videos, shards, progress):
  """(digest of all records in order, list of dicts `name`, `windows`, `bytes`).

  The names hold the digest: a build that ends before its manifest is written leaves the old records whole.
  """
  order = hashed_order([(v.video_id, v.first, len(v.paths)) for v in videos])
  paths = list(itertools.chain.from_iterable(v.paths for v in videos))
  offsets = np.concatenate([v.offsets for v in videos])
  lengths = np.concatenate([v.lengths for v in videos])
  wanted = shards or max(LEAST_SHARDS, -(-int(lengths.sum()) // SHARD_BYTES))
  runs = np.array_split(order, min(wanted, len(order)))
  partials = [folder / f'records-{0:08x}-{i:05d}-of-{len(runs):05d}.tfrecord.partial' for i in range(len(runs))]
  state = hashlib.blake2b(digest_size=16)
  try:
    for partial, run in zip(partials, runs, strict=True):
      with open(partial, 'wb') as file:
        for j in run:
          framed = _read(paths[j], offsets[j], lengths[j])
          state.update(framed)
          file.write(framed)
          progress(1)
        files.sync(file)
    digest, rows = state.hexdigest(), []
    for i, (partial, run) in enumerate(zip(partials, runs, strict=True)):
      name = f'records-{digest[:8]}-{i:05d}-of-{len(runs):05d}.tfrecord'
      os.replace(partial, folder / name)
      rows.append({'name': name, 'windows': len(run), 'bytes': int(lengths[run].sum())})
    return digest, rows
  finally:
    for partial in partials:
      partial.unlink(missing_ok=True)


def _read(path, offset, length):
  with open(path, 'rb', buffering=0) as file:
    file.seek(int(offset))
    return file.read(int(length))
