"""The build as one function: find the videos, keep existing records, decode what is missing, write the shards."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from audionet_tf.core import digests, files, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.data import records
from tfrecords import pool, shards, videos, worker

PARTS = '.parts'
FAILURES_NAME = 'failures.json'
VIDEO_KEYS = {'id', 'digest', 'windows', 'first_window'}
SHARD_KEYS = {'name', 'windows', 'bytes'}
REFRESH_SECONDS = 0.5
DEFAULTS = {'short_videos': 'skip'}  # of parameters that older manifests lack


@dataclasses.dataclass(frozen=True)
class Summary:
  """The result of a build.

  Attributes:
    videos: number of videos in the records.
    windows: number of windows in the records.
    built: number of videos decoded by this build.
    kept: number of videos that the records held already.
    shards: number of shards.
    bytes: size of all shards.
    seconds: duration of the build.
    failures: dict of video id to the reason why it was skipped.
  """

  videos: int
  windows: int
  built: int
  kept: int
  shards: int
  bytes: int
  seconds: float
  failures: dict


def build(arguments, output, params, shard_count=None, workers=1, timeout_seconds=120, memory_bytes=4 << 30):
  """Builds the records of videos in a folder, or what is missing of them.

  Args:
    arguments: list of files, globs and folders of videos.
    output: folder for the records; created if missing.
    params: RecordParams.
    shard_count: number of shards; None to choose it by size.
    workers: number of videos decoded in parallel. The records do not depend on it.
    timeout_seconds: a video that finishes no window for this long is skipped.
    memory_bytes: address space of a decoding process.

  Returns:
    Summary. If nothing could be built, its `windows` is 0, and no manifest is written.

  Raises:
    UserError: no videos, existing records that were built with other arguments, or another build in the folder.
    OSError: the folder cannot be written, or the disk is full.
  """
  start, output = time.monotonic(), pathlib.Path(output)
  candidates = videos.find(arguments)
  fields = {
    'params': dataclasses.asdict(params),
    'sources': [os.path.abspath(argument) for argument in arguments],
    'shards_asked': shard_count,
  }
  output.mkdir(parents=True, exist_ok=True)
  with _locked(output):
    manifest = _old_manifest(output, fields)
    digest_of, failures = _digests(candidates, workers)
    kept = _kept(output, manifest, digest_of)
    missing = [video for video in candidates if video.id in digest_of and video.id not in kept]
    parts = _part_paths(output / PARTS, missing, digest_of, fields['params'])
    jobs = [worker.Job(v.id, v.path, parts[v.id], params, memory_bytes) for v in missing]
    made = _finished(jobs, digest_of)
    decoded = [job for job in jobs if job.video_id not in made]
    failures |= _decode(decoded, workers, timeout_seconds)
    made |= {
      job.video_id: shards.from_part(job.part, job.video_id, digest_of[job.video_id])
      for job in decoded
      if job.video_id not in failures
    }
    files.write_json(output / FAILURES_NAME, dict(sorted(failures.items())), ensure_ascii=False)
    done = [windows for _, windows in sorted((kept | made).items())]
    if done and (made or len(kept) != len(manifest['videos'])):
      with _bar(sum(len(v.paths) for v in done), 'shards', 'window') as bar:
        manifest = shards.write(output, done, fields, shard_count, bar.update)
    shutil.rmtree(output / PARTS)
  shard_rows = manifest['shards'] if done else []
  return Summary(
    videos=len(done),
    windows=sum(row['windows'] for row in shard_rows),
    built=len(made),
    kept=len(kept),
    shards=len(shard_rows),
    bytes=sum(row['bytes'] for row in shard_rows),
    seconds=time.monotonic() - start,
    failures=failures,
  )


@contextlib.contextmanager
def _locked(folder):
  """Locks the folder against a second build. The lock ends with the process, however it ends."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(folder, wait=False))
    except BlockingIOError:
      raise UserError(f'{folder}: another build is running there; wait for it or choose another --output') from None
    yield


def _old_manifest(folder, fields):
  """The manifest in the folder, or None. UserError if it was built with other arguments."""
  path = folder / records.MANIFEST_NAME
  if not path.exists():
    return None
  try:
    old = json.loads(path.read_text(encoding='utf-8'))
    params = DEFAULTS | old['params']
    version, previous = old['schema_version'], {**params, **{k: old[k] for k in ('sources', 'shards_asked')}}
    complete = all(v.keys() >= VIDEO_KEYS for v in old['videos']) and all(s.keys() >= SHARD_KEYS for s in old['shards'])
  except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
    complete = False
  if not complete:
    raise UserError(f'{path}: not a manifest of this program; choose another --output')
  current = {**fields['params'], **{k: fields[k] for k in ('sources', 'shards_asked')}}
  if version != records.SCHEMA_VERSION:
    raise UserError(
      f'{path}: schema version {version}, but this program writes {records.SCHEMA_VERSION}; choose another --output'
    )
  changes = [f'{k} was {previous.get(k)!r} and is now {current[k]!r}' for k in current if previous.get(k) != current[k]]
  if changes:
    raise UserError(
      f'{folder}: holds records built with other arguments ({"; ".join(changes)}); choose another --output'
    )
  return old


def _kept(folder, old, digest_of):
  """dict of id to shards.Windows of the videos that the shards hold unchanged; empty if a shard is damaged."""
  if not old:
    return {}
  try:
    present = shards.from_shards(folder, old)
  except (UserError, FileNotFoundError) as error:
    print(f'building all videos again: {error}', file=sys.stderr)
    return {}
  return {key: windows for key, windows in present.items() if digest_of.get(key) == windows.digest}


def _digests(candidates, workers):
  """Reads every video once: (dict of id to digest, dict of id to the reason why it cannot be read)."""
  digest_of, failures = {}, {}

  def attempt(video):
    try:
      return videos.digest(video), None
    except MediaError as error:
      return None, error.reason

  with ThreadPoolExecutor(workers) as threads, _bar(len(candidates), 'reading', 'video', delay=2) as bar:
    for video, (digest, reason) in zip(candidates, threads.map(attempt, candidates), strict=True):
      bar.update()
      if reason is None:
        digest_of[video.id] = digest
      else:
        failures[video.id] = reason
        _report(bar, video.id, reason)
  return digest_of, failures


def _part_paths(folder, missing, digest_of, params):
  """dict of video id to the path of its part file; removes the partial files of an interrupted build.

  The name is a digest of what a part holds, so that complete parts of an interrupted build are used again.
  """
  folder.mkdir(exist_ok=True)
  for path in folder.iterdir():
    if path.suffix != '.tfrecord':
      path.unlink()
  paths = {}
  for video in missing:
    key = json.dumps([records.SCHEMA_VERSION, video.id, digest_of[video.id], params], sort_keys=True)
    paths[video.id] = str(folder / f'{digests.blake2b(key.encode())}.tfrecord')
  return paths


def _finished(jobs, digest_of):
  """dict of id to shards.Windows of the parts that an interrupted build completed; removes damaged ones."""
  finished = {}
  for job in jobs:
    try:
      finished[job.video_id] = shards.from_part(job.part, job.video_id, digest_of[job.video_id])
    except FileNotFoundError:
      continue
    except UserError:
      os.remove(job.part)
  return finished


def _decode(jobs, workers, timeout_seconds):
  """Runs the jobs with a progress bar; returns a dict of id to the reason for those that failed."""
  jobs = sorted(jobs, key=lambda job: -os.path.getsize(job.path))  # largest first, to keep all cores busy to the end
  failures, windows, finished, start, drawn = {}, {}, 0, time.monotonic(), 0.0
  running = contextlib.closing(pool.run(jobs, workers, timeout_seconds))
  with _bar(len(jobs), 'videos', 'video') as bar, running as events:
    for job, event in events:
      if isinstance(event, worker.Outcome):
        if event.errno is not None:
          raise OSError(event.errno, os.strerror(event.errno), os.path.dirname(os.path.dirname(job.part)))
        windows.pop(job.video_id, None)
        finished += event.windows
        if event.reason is not None:
          failures[job.video_id] = event.reason
          _report(bar, job.video_id, event.reason)
        bar.update()
      else:
        windows[job.video_id] = event
      count = finished + sum(windows.values())
      now = time.monotonic()
      bar.set_postfix_str(f'{count} windows, {count / max(now - start, 1e-3):.0f} windows/s', refresh=False)
      if now - drawn > REFRESH_SECONDS:
        bar.refresh()
        drawn = now
  return failures


def _bar(total, description, unit, delay=0):
  """A progress bar on stderr."""
  return tqdm(total=total, desc=description, unit=unit, delay=delay, file=sys.stderr, disable=not total, leave=False)


def _report(bar, video_id, reason):
  """Prints above the progress bar why a video is skipped."""
  bar.write(text.printable(f'skipped {video_id}: {reason}'), file=sys.stderr)
