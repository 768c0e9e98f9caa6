"""Writes the windows of all videos to balanced shards in hashed order, and the manifest.

Windows are ordered by a 64-bit hash of (video id, window index) and nothing else: the shards do not depend on the
number of processes, byte for byte, and windows keep their relative order when videos are added.
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
from audionet_tf.data import record_manifest, tfrecord_io

SHARD_BYTES = 128 << 20  # target size
LEAST_SHARDS = 2  # enough to shuffle well
SHARD_NAME = re.compile(r'records-[0-9a-f]{8}-\d{5}-of-\d{5}\.tfrecord(\.partial)?')


@dataclasses.dataclass(frozen=True)
class Windows:
  """Where the framed records of a video are stored.

  Attributes:
    video_id: str.
    digest: of the video file.
    first: number of the first window.
    paths: list of str, the file of each window.
    offsets: int64 [windows], bytes before the record in its file.
    lengths: int64 [windows], bytes of the record.
  """

  video_id: str
  digest: str
  first: int
  paths: list
  offsets: np.ndarray
  lengths: np.ndarray


def from_part(path, video_id, digest):
  """The Windows of a part file. UserError if it is damaged or empty."""
  spans, first = [], None
  for offset, framed, fault in tfrecord_io.checked_records(path):
    if fault:
      raise UserError(f'{path}: record at byte {offset}: {fault}; build it again')
    if first is None:
      example = tfrecord_io.example_class().FromString(framed[12:-4])  # between length and checksums
      first = example.features.feature['window/index'].int64_list.value[0]
    spans.append((offset, len(framed)))
  if not spans:
    raise UserError(f'{path}: empty; build it again')
  offsets, lengths = np.array(spans, np.int64).T
  return Windows(video_id, digest, first, [str(path)] * len(spans), offsets, lengths)


def hashed_order(videos):
  """The order of windows in the shards.

  Args:
    videos: list of (id, first window, number of windows), sorted by id, which is the order of equal hashes.

  Returns:
    int64 [windows]: positions of the windows, counted video by video.
  """
  keys = [np.zeros(0, np.uint64)]
  for video_id, first, count in videos:
    seed = np.frombuffer(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), '<u8')[0]
    keys.append(_mixed(seed + np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)))
  return np.argsort(np.concatenate(keys), kind='stable')


def _mixed(x):
  """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit of uint64 `x` flips half the output bits."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def write(folder, videos, fields, shards, progress):
  """Writes the shards and then the manifest, and removes shards that it does not list.

  Args:
    folder: of the records.
    videos: list of Windows, sorted by video id.
    fields: dict of further keys of the manifest, `params` as RecordParams.
    shards: number of shards, at most one per window; None to choose it by size.
    progress: function that is called with the number of records written since the last call.

  Returns:
    The manifest, as `record_manifest.read` returns it.

  Raises:
    UserError: a record was damaged after it had been checked.
  """
  folder = pathlib.Path(folder)
  digest, shard_rows = _write_shards(folder, videos, shards, progress)
  manifest = {
    'schema_version': record_manifest.SCHEMA_VERSION,
    **fields,
    'windows': sum(row['windows'] for row in shard_rows),
    'digest': digest,
    'videos': [
      {'id': v.video_id, 'digest': v.digest, 'windows': len(v.paths), 'first_window': v.first} for v in videos
    ],
    'shards': shard_rows,
  }
  record_manifest.write(folder, manifest)
  remove_unlisted(folder, manifest)
  return manifest


def remove_unlisted(folder, manifest):
  """Removes shards that a manifest does not list, partial ones too, and what a killed process left of its files."""
  current = {row['name'] for row in manifest['shards']}
  for path in folder.iterdir():
    if SHARD_NAME.fullmatch(path.name) and path.name not in current:
      path.unlink()
  for name in (record_manifest.MANIFEST_NAME, record_manifest.BACKUP_NAME):
    files.partial_path(folder / name).unlink(missing_ok=True)


def _write_shards(folder, videos, shards, progress):
  """Writes the shards; returns (digest of all records in order, list of dicts `name`, `windows`, `bytes`).

  The names contain the digest: a build that is interrupted before it writes its manifest leaves the old records intact.
  """
  order = hashed_order([(v.video_id, v.first, len(v.paths)) for v in videos])
  paths = list(itertools.chain.from_iterable(v.paths for v in videos))
  offsets = np.concatenate([v.offsets for v in videos])
  lengths = np.concatenate([v.lengths for v in videos])
  count = shards or max(LEAST_SHARDS, -(-int(lengths.sum()) // SHARD_BYTES))
  runs = np.array_split(order, min(count, len(order)))
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
  """The framed record of `length` bytes at `offset`. UserError if a checksum is wrong: damage must not be copied."""
  with open(path, 'rb', buffering=0) as file:
    file.seek(int(offset))
    framed = file.read(int(length))
  if tfrecord_io.framed(framed[12:-4]) != framed:
    raise UserError(f'{path}: record at byte {offset}: damaged while it was read; build again')
  return framed
