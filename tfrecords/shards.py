"""Writes the windows of all videos to balanced shards in hashed order, and the manifest, in memory of constant size."""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import re

import numpy as np

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import record_manifest
from audionet_tf.data.shards import tfrecord_io
from tfrecords import hashed_order, shuffle

SHARD_BYTES = 128 << 20  # target size
LEAST_SHARDS = 2  # enough to shuffle well
SHARD_NAME = re.compile(r'records-[0-9a-f]{8}-\d{5}-of-\d{5}\.tfrecord(\.partial(\.[0-9a-f]{32})?)?')


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
  """Where the framed records of a video are stored.

  Attributes:
    video_id: str.
    digest: of the video file.
    first: number of the first window.
    windows: number of windows.
    bytes: of their records.
    part: path of the file that holds them, in order, and nothing else; None: they are in the shards of the folder.
  """

  video_id: str
  digest: str
  first: int
  windows: int
  bytes: int
  part: str | None = None


def from_part(path, video_id, digest):
  """The Stored of a part file. UserError if it is damaged or empty."""
  first, count, size = None, 0, 0
  for offset, framed, fault in tfrecord_io.checked_records(path):
    if fault:
      raise UserError(f'{path}: record at byte {offset}: {fault}; build it again')
    if first is None:
      _, first = place_of(framed)
    count, size = count + 1, size + len(framed)
  if not count:
    raise UserError(f'{path}: empty; build it again')
  return Stored(video_id, digest, first, count, size, str(path))


def from_new_part(path, video_id, digest, windows):
  """As `from_part`, of a part that was just written with so many windows: all but the first are read with `write`."""
  _, framed, fault = next(tfrecord_io.checked_records(path))
  if fault:
    raise UserError(f'{path}: {fault}; build it again')
  return Stored(video_id, digest, place_of(framed)[1], windows, os.path.getsize(path), str(path))


def place_of(framed):
  """(id of the video as bytes, number of the window) of a framed record."""
  features = tfrecord_io.example_class().FromString(framed[12:-4]).features.feature  # between length and checksums
  return features['video/id'].bytes_list.value[0], features['window/index'].int64_list.value[0]


def write(folder, videos, fields, shards, progress, old=None, read=lambda count: None):
  """Writes the shards and then the manifest, and removes shards that it does not list.

  Args:
    folder: of the records.
    videos: list of Stored, sorted by video id.
    fields: dict of further keys of the manifest, `params` as RecordParams.
    shards: number of shards, at most one per window; None to choose it by size.
    progress: function that is called with the number of records written since the last call.
    old: the manifest of the shards in the folder, where videos without a part are; None if all have one.
    read: as `progress`, of the records read, all of which come before those that are written.

  Returns:
    The manifest, as `record_manifest.read` returns it.

  Raises:
    UserError: a record was damaged after it had been checked.
  """
  folder = pathlib.Path(folder)
  digest, shard_rows = _write_shards(folder, videos, shards, progress, _records(folder, videos, old, read))
  return write_manifest(folder, videos, fields, digest, shard_rows)


def write_manifest(folder, videos, fields, digest, shard_rows):
  """Writes the manifest of finished shards, and removes shards that it does not list; returns it.

  Args:
    folder, videos, fields: as for `write`.
    digest: of all framed records in order.
    shard_rows: list of dicts `name`, `windows`, `bytes`.
  """
  manifest = {
    'schema_version': record_manifest.SCHEMA_VERSION,
    **fields,
    'windows': sum(row['windows'] for row in shard_rows),
    'digest': digest,
    'videos': [{'id': v.video_id, 'digest': v.digest, 'windows': v.windows, 'first_window': v.first} for v in videos],
    'shards': shard_rows,
  }
  manifest = record_manifest.write(folder, manifest)
  remove_unlisted(folder, manifest)
  return manifest


def remove_unlisted(folder, manifest):
  """Removes shards that a manifest does not list, partial ones too, and what a killed process left of its files."""
  current = {row['name'] for row in manifest['shards']}
  for path in folder.iterdir():
    if SHARD_NAME.fullmatch(path.name) and path.name not in current:
      path.unlink()
  record_manifest.remove_unlisted(folder, manifest)


def split(windows, total_bytes, shards):
  """Numbers of windows of the shards, int list. `shards`: as for `write`."""
  count = min(shards or max(LEAST_SHARDS, -(-total_bytes // SHARD_BYTES)), windows)
  return [windows // count + (number < windows % count) for number in range(count)]


def _write_shards(folder, videos, shards, progress, records):
  """Writes the shards; returns (digest of all records in order, list of dicts `name`, `windows`, `bytes`).

  The names contain the digest: a build that is interrupted before it writes its manifest leaves the old records intact.
  """
  total_bytes = sum(video.bytes for video in videos)
  counts = split(sum(video.windows for video in videos), total_bytes, shards)
  partials = partial_paths(folder, len(counts))
  state, sizes, ordered = hashlib.blake2b(digest_size=16), [], shuffle.ordered(records, total_bytes, folder)
  try:
    for partial, count in zip(partials, counts, strict=True):
      with open(partial, 'wb', buffering=tfrecord_io.BUFFER_BYTES) as file:
        for framed in itertools.islice(ordered, count):
          state.update(framed)
          file.write(framed)
          progress(1)
        sizes.append(file.tell())
        files.sync(file)
    return state.hexdigest(), named(partials, counts, sizes, state.hexdigest())
  finally:
    ordered.close()
    for partial in partials:
      partial.unlink(missing_ok=True)


def partial_paths(folder, count):
  """Paths of the shards until they are named by the digest of all."""
  return [folder / f'records-{0:08x}-{number:05d}-of-{count:05d}.tfrecord.partial' for number in range(count)]


def named(partials, counts, sizes, digest):
  """Gives finished shards their names; returns a list of dicts `name`, `windows`, `bytes`."""
  rows = []
  for number, (partial, count, size) in enumerate(zip(partials, counts, sizes, strict=True)):
    name = f'records-{digest[:8]}-{number:05d}-of-{len(counts):05d}.tfrecord'
    os.replace(partial, partial.with_name(name))
    rows.append({'name': name, 'windows': count, 'bytes': size})
  return rows


def _records(folder, videos, old, read):
  """Yields (key of the order, framed record) of all videos.

  Raises:
    UserError: a checksum is wrong, or records are missing: damage must not be copied.
  """
  count = 0
  for record in itertools.chain(_of_parts(videos), _of_shards(folder, videos, old)):
    count += 1
    read(1)
    yield record
  if count != sum(video.windows for video in videos):
    raise UserError(f'{folder}: records were damaged while they were read; build again')


def _of_parts(videos):
  """Yields (key, framed record) of the videos that have a part."""
  for row, video in enumerate(videos):
    if video.part is not None:
      yield from of_part(video, row)


def of_part(video, row):
  """Yields (key, framed record) of a Stored with a part. `row`: its position in the order of ids.

  Raises:
    UserError: the part is not as it was when it was checked.
  """
  numbers = np.arange(video.first, video.first + video.windows)
  keys = hashed_order.hashes(hashed_order.seed(video.video_id), numbers).tolist()
  for count, (offset, framed, fault) in enumerate(tfrecord_io.checked_records(video.part)):
    if fault or count >= video.windows:
      raise UserError(f'{video.part}: record at byte {offset}: damaged while it was read; build again')
    yield (keys[count], row, video.first + count), framed


def _of_shards(folder, videos, old):
  """Yields (key, framed record) of the videos without a part, from the shards of the folder.

  Damaged records are passed over: they belong to videos that are built again, or else are missed in the end.
  """
  kept = {
    video.video_id.encode(): (row, hashed_order.seed(video.video_id))
    for row, video in enumerate(videos)
    if video.part is None
  }
  for shard in old['shards'] if kept else ():
    path = folder / shard['name']
    listed = itertools.islice(tfrecord_io.checked_records(path), shard['windows']) if path.is_file() else ()
    for _, framed, fault in listed:
      video_id, index = place_of(framed) if not fault else (None, None)
      if video_id in kept:
        row, seed = kept[video_id]
        (key,) = hashed_order.hashes(seed, np.array([index])).tolist()
        yield (key, row, index), framed
