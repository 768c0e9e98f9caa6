"""The build as two Apache Beam pipelines: videos to part files, and part files to shards.

Workers share the output folder. Between the pipelines this process knows how many windows each video has, and so, by
arithmetic, the key at which every shard begins: records are grouped by the number of their shard, once, and each group
is one shard. Files have the names and the bytes that the local build gives them. A worker that dies is no loss: part
files and shards appear when they are complete, and a second try writes the same bytes.
"""

import bisect
import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import time
import uuid

import apache_beam as beam
from apache_beam.metrics import Metrics

from audionet_tf.core import beam_runner, files
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.core.stores import object_store
from audionet_tf.data import record_manifest
from tfrecords import builder, hashed_order, shards, videos

DECODED, WRITTEN = 'decoded.json', 'written.json'  # results of the pipelines, in the folder of parts
BLOCK_BYTES = 1 << 20


def build(arguments, output, params, shard_count=None, timeout_seconds=120, memory_bytes=4 << 30, options=()):
  """Builds the records of videos with Beam.

  Args:
    arguments, output, params, shard_count, timeout_seconds, memory_bytes: as for `builder.build`. The folder must be
      seen by all workers under the same absolute path, and so must the videos.
    options: list of str, Beam's pipeline options, such as --runner=...

  Returns:
    builder.Summary.

  Raises:
    UserError: no videos, the folder holds records already, or Beam cannot make the runner.
  """
  start, output = time.monotonic(), pathlib.Path(output).absolute()
  found = [v if v.stored else videos.Video(v.id, os.path.abspath(v.path)) for v in videos.find(arguments)]
  beam_runner.check(options)
  parts = output / builder.PARTS
  with files.space_in(output):
    parts.mkdir(parents=True, exist_ok=True)
  with builder.locked(output):
    if (output / record_manifest.MANIFEST_NAME).exists():
      raise UserError(f'{output}: holds records already; choose another --output, or go on with tfrecords.build')
    done, failures = decode(found, parts, params, timeout_seconds, memory_bytes, options)
    files.write_json(output / builder.FAILURES_NAME, failures, ensure_ascii=False)
    rows = []
    if done:
      digest, rows = order(done, output, shard_count, options)
      sources = [a if object_store.is_address(a) else os.path.abspath(a) for a in arguments]
      fields = {'params': params, 'sources': sources, 'shards_asked': shard_count}
      shards.write_manifest(output, done, fields, digest, rows)
    shutil.rmtree(parts)
  windows, size = (sum(row[key] for row in rows) for key in ('windows', 'bytes'))
  seconds = time.monotonic() - start
  return builder.Summary(len(done), windows, len(done), 0, len(rows), size, seconds, failures)


def decode(found, parts, params, timeout_seconds, memory_bytes, options):
  """Runs the first pipeline: (list of shards.Stored, sorted by id, dict of id to the reason why it is skipped)."""
  found, refused = named(found)
  if not found:
    return [], refused
  result = parts / DECODED
  how = (parts, params, timeout_seconds, memory_bytes)
  with beam_runner.pipeline(options, len(found)) as p:
    outcomes = (
      p
      | 'videos' >> beam.Create([(video.id, os.fsencode(video.path), video.stored) for video in found])
      | 'spread videos' >> beam.Reshuffle()
      | 'decode' >> beam.Map(decoded, *how)
    )
    stored = outcomes | 'stored' >> beam.Filter(lambda outcome: 'part' in outcome)
    skipped = outcomes | 'skipped' >> beam.Filter(lambda outcome: 'reason' in outcome)
    beam_runner.collect((stored, skipped) | beam.Flatten(), result)
  outcomes = sorted(json.loads(result.read_text()), key=lambda outcome: outcome['video_id'])
  failures = {outcome['video_id']: outcome['reason'] for outcome in outcomes if 'reason' in outcome}
  return [shards.Stored(**outcome) for outcome in outcomes if 'part' in outcome], refused | failures


def named(found):
  """(list of the Videos whose ids are UTF-8, as Beam's elements must be, dict of the other ids to the reason)."""
  good, refused = [], {}
  for video in found:
    try:
      videos.check_name(video)
      good.append(video)
    except MediaError as error:
      refused[video.id] = error.reason
  return good, refused


def order(done, output, shard_count, options):
  """Runs the second pipeline: (digest of all records in order, list of the manifest's rows about shards).

  Args:
    done: list of shards.Stored, sorted by id.
    output: pathlib.Path of the records.
    shard_count: as for `build`.
    options: of Beam.
  """
  result = output / builder.PARTS / WRITTEN
  counts = shards.split(sum(v.windows for v in done), sum(v.bytes for v in done), shard_count)
  partials, begins = shards.partial_paths(output, len(counts)), first_keys(done, counts)
  with beam_runner.pipeline(options, len(done)) as p:
    written = (
      p
      | 'parts' >> beam.Create([(row, dataclasses.astuple(video)) for row, video in enumerate(done)])
      | 'spread parts' >> beam.Reshuffle()
      | 'read' >> beam.FlatMap(keyed_records, begins)
      | 'by shard' >> beam.GroupByKey()
      | 'write' >> beam.Map(written_shard, list(map(str, partials)), counts)
    )
    beam_runner.collect(written, result)
  sizes = [size for _, size in sorted(json.loads(result.read_text()))]
  digest = hashlib.blake2b(digest_size=16)
  for partial in partials:
    with open(partial, 'rb') as file:
      while block := file.read(BLOCK_BYTES):
        digest.update(block)
  return digest.hexdigest(), shards.named(partials, counts, sizes, digest.hexdigest())


def decoded(video, parts, params, timeout_seconds, memory_bytes):
  """Decodes a video (id, bytes of the path, stored) into a part file.

  Returns:
    dict of a shards.Stored, or of `video_id` and `reason`.
  """
  video_id, path, in_store = video
  with may_have_children():
    video = videos.Video(video_id, os.fsdecode(path), in_store)
    stored, reason = builder.decode_one(parts, video, params, timeout_seconds, memory_bytes)
  count('videos' if stored else 'skipped', 1)
  if stored is None:
    return {'video_id': video_id, 'reason': reason}
  count('windows', stored.windows)
  count('bytes', stored.bytes)
  return dataclasses.asdict(stored)


def count(name, number):
  """Adds to a counter of the pipeline."""
  Metrics.counter('tfrecords', name).inc(number)


@contextlib.contextmanager
def may_have_children():
  """Context in which a process that multiprocessing calls a daemon, as Dask's workers are, may start processes.

  They end with it: their pipe breaks.
  """
  config = multiprocessing.current_process()._config
  daemon = config.pop('daemon', None)
  try:
    yield
  finally:
    if daemon is not None:
      config['daemon'] = daemon


def first_keys(done, counts):
  """The key of the first record of every shard but the first, a sorted list."""
  rows = [{'id': v.video_id, 'first_window': v.first, 'windows': v.windows} for v in done]
  ordered, keys = hashed_order.Windows(rows), []
  for windows in counts:
    places = ordered.take(windows)
    row, index = places[0].tolist()
    (key,) = hashed_order.hashes(ordered.seeds[row], places[:1, 1]).tolist()
    keys.append((key, row, index))
  return keys[1:]


def keyed_records(item, begins):
  """Yields (number of the shard, (key, framed record)) of a part. `item`: (row, tuple of a shards.Stored)."""
  row, stored = item
  for key, framed in shards.of_part(shards.Stored(*stored), row):
    yield bisect.bisect_right(begins, key), (key, framed)


def written_shard(item, partials, counts):
  """Writes a shard: [its number, its bytes]. `item`: (number, iterable of (key, framed record)).

  Raises:
    ValueError: records are missing, or twice there.
  """
  number, records = item
  records = sorted((tuple(key), framed) for key, framed in records)
  if len({key for key, _ in records}) != counts[number] or len(records) != counts[number]:
    raise ValueError(f'shard {number}: {len(records)} records, expected {counts[number]}')
  partial = pathlib.Path(partials[number])
  with files.atomic_write(partial, 'wb', partial.with_name(f'{partial.name}.{uuid.uuid4().hex}')) as file:
    for _, framed in records:
      file.write(framed)
    size = file.tell()
  count('shards', 1)
  return [number, size]
