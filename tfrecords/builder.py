"""The build as one function: find the videos, keep existing records, decode what is missing, write the shards."""

import contextlib
import dataclasses
import itertools
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
from audionet_tf.core.stores import object_store
from audionet_tf.data import record_manifest
from tfrecords import inspection, pool, shards, videos
from tfrecords.jobs import Job, Outcome, size_of

PARTS = '.parts'
FAILURES_NAME = 'failures.json'
BUILD_KEYS = ('sources', 'shards_asked')  # of a manifest, needed to go on with its build
REFRESH_SECONDS = 0.5
READ_AT_ONCE = 1000  # files that wait for their digest; each costs memory


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
    failures: dict of video id to the reason why it was skipped. What the records hold of it stays.
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
  """Builds the records of videos in a folder, or what is missing or damaged of them.

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
    OSError: the folder cannot be written.
    DiskFullError: no space for the records; parts that are complete are used again.
  """
  start, output = time.monotonic(), pathlib.Path(output)
  candidates = videos.find(arguments)
  fields = {
    'params': params,
    'sources': [a if object_store.is_address(a) else os.path.abspath(a) for a in arguments],
    'shards_asked': shard_count,
  }
  with files.space_in(output):
    output.mkdir(parents=True, exist_ok=True)
  with locked(output):
    manifest = _old_manifest(output, fields)
    digest_of, failures = _digests(candidates, workers)
    kept, faults = _kept(output, manifest, digest_of, failures)
    if staying := sorted(failures.keys() & kept.keys()):
      print(f'what the records hold of them stays: {text.first_of(staying)}', file=sys.stderr)
    missing = [video for video in candidates if video.id in digest_of and video.id not in kept]
    made, failed = _make(output, missing, digest_of, params, workers, timeout_seconds, memory_bytes)
    failures |= failed
    files.write_json(output / FAILURES_NAME, dict(sorted(failures.items())), ensure_ascii=False)
    done = [stored for _, stored in sorted((kept | made).items())]
    leaving = sorted({video['id'] for video in manifest['videos']} - kept.keys() - made.keys()) if manifest else []
    if done and leaving:
      why = 'as the files are gone or cannot be used any more'
      print(f'their windows leave the records, {why}: {text.first_of(leaving)}', file=sys.stderr)
    if done and (made or faults or len(kept) != len(manifest['videos'])):
      manifest = _write(output, done, fields, manifest)
    elif done:
      record_manifest.renew(output, manifest)
      shards.remove_unlisted(output, manifest)
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


def rebuild(folder, manifest, kept, workers, timeout_seconds, memory_bytes, from_store=False):
  """Decodes the videos of records that are damaged, and writes the shards anew. The folder must be locked.

  Nothing is written unless all of these videos are still as they were: no record gets lost.

  Args:
    folder: pathlib.Path of the records.
    manifest: from `record_manifest.read`.
    kept: dict of id to shards.Stored of the videos that are whole.
    workers, timeout_seconds, memory_bytes: as for `build`.
    from_store: whether to look for videos in the stores that the manifest names, with the user's credentials.

  Returns:
    dict of video id to the reason why it cannot be built again; empty if the records are whole now.
  """
  failures = {video['id']: 'the manifest has no digest of it' for video in manifest['videos'] if 'digest' not in video}
  if failures:
    return failures
  wanted = {video['id']: video['digest'] for video in manifest['videos'] if video['id'] not in kept}
  sources, absent = manifest.get('sources', []), 'not found where the records were built from'
  if not from_store:
    stores = [source for source in sources if object_store.is_address(source)]
    sources = [source for source in sources if source not in stores]
    named = text.first_of(stores, 3, ', ')
    absent = f'not found on this machine; --from_store looks in {named}, as the manifest says' if stores else absent
  found = _find(sources)
  digest_of, failures = _digests([found[key] for key in sorted(wanted) if key in found], workers)
  failures |= {key: absent for key in wanted if key not in found}
  failures |= {key: 'the file has changed since' for key, digest in digest_of.items() if digest != wanted[key]}
  if failures:
    return failures
  missing = [found[key] for key in sorted(wanted)]
  made, failures = _make(folder, missing, digest_of, manifest['params'], workers, timeout_seconds, memory_bytes)
  if failures:
    return failures
  fields = {key: manifest.get(key) for key in ('params', *BUILD_KEYS)}
  _write(folder, [stored for _, stored in sorted((kept | made).items())], fields, manifest)
  shutil.rmtree(folder / PARTS)
  return {}


def remove_leftovers(folder, manifest):
  """Removes what a killed build or repair of whole records left, but for finished parts of videos that they lack.

  Args:
    folder: pathlib.Path of the records, which must be locked.
    manifest: from `record_manifest.read`.
  """
  shards.remove_unlisted(folder, manifest)
  files.partial_path(folder / FAILURES_NAME).unlink(missing_ok=True)
  parts, params = folder / PARTS, dataclasses.asdict(manifest['params'])
  held = {_part_name(video['id'], video.get('digest'), params) for video in manifest['videos']}
  for path in parts.iterdir() if parts.is_dir() else ():
    if path.name in held or path.suffix != '.tfrecord':
      _remove(path)
  with contextlib.suppress(OSError):  # none, or not empty
    parts.rmdir()


def _find(sources):
  """dict of id to videos.Video of all that is left of a build's arguments."""
  found = {}
  for source in sources:
    if object_store.is_address(source):
      print(f'looking for videos in {text.printable(source)}, as the manifest says ...', file=sys.stderr)
    try:
      found |= {video.id: video for video in videos.find([source]) if video.id not in found}
    except UserError:  # moved or deleted
      continue
  return found


def _make(folder, missing, digest_of, params, workers, timeout_seconds, memory_bytes):
  """Decodes videos: (dict of id to shards.Stored in part files, dict of id to the reason why it is skipped)."""
  parts = _part_paths(folder / PARTS, missing, digest_of, dataclasses.asdict(params))
  jobs = [Job(v.id, v.path, parts[v.id], params, memory_bytes, v.stored) for v in missing]
  made = _finished(jobs, digest_of)
  decoded = [job for job in jobs if job.video_id not in made]
  windows, failures = _decode(decoded, workers, timeout_seconds)
  made |= {
    job.video_id: shards.from_new_part(job.part, job.video_id, digest_of[job.video_id], windows[job.video_id])
    for job in decoded
    if job.video_id not in failures
  }
  return made, failures


def decode_one(folder, video, params, timeout_seconds, memory_bytes):
  """Decodes one video into a part file, unless a finished one is there, as a build that runs elsewhere does.

  Args:
    folder: pathlib.Path of the part files.
    video: videos.Video.
    params, timeout_seconds, memory_bytes: as for `build`.

  Returns:
    (shards.Stored, None), or (None, the reason why it is skipped).
  """
  try:
    digest_of = {video.id: videos.digest(video)}
  except MediaError as error:
    return None, error.reason
  part = folder / _part_name(video.id, digest_of[video.id], dataclasses.asdict(params))
  job = Job(video.id, video.path, str(part), params, memory_bytes, video.stored)
  finished = _finished([job], digest_of)
  if not finished:
    *_, (_, outcome) = pool.run([job], 1, timeout_seconds)
    if outcome.errno is not None:
      raise OSError(outcome.errno, os.strerror(outcome.errno), str(folder))
    if outcome.reason is not None:
      return None, outcome.reason
    finished = _finished([job], digest_of)
  return finished[video.id], None


def _write(folder, done, fields, old):
  """Writes shards and manifest of a list of shards.Stored; returns the manifest. `old`: as for `shards.write`."""
  windows = sum(video.windows for video in done)
  with _bar(windows, 'ordering', 'window', delay=2) as reading, _bar(windows, 'shards', 'window', delay=2) as bar:
    return shards.write(folder, done, fields, fields['shards_asked'], bar.update, old, reading.update)


@contextlib.contextmanager
def locked(folder):
  """Locks the folder against a second build. The lock ends with the process, however it ends.

  Raises:
    UserError: another build holds the lock.
    DiskFullError: in the block, the disk is full.
  """
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(folder, wait=False))
    except BlockingIOError:
      raise UserError(f'{folder}: another build is running there; wait for it or choose another --output') from None
    stack.enter_context(files.space_in(folder))
    yield


def _old_manifest(folder, fields):
  """The manifest in the folder, or None. UserError if it is damaged, or was built with other arguments."""
  if not (folder / record_manifest.MANIFEST_NAME).exists():
    return None
  old = record_manifest.read(folder)
  if not old.keys() >= set(BUILD_KEYS) or not all(isinstance(video.get('digest'), str) for video in old['videos']):
    raise UserError(
      f'{folder}/{record_manifest.MANIFEST_NAME}: not a manifest of this program; choose another --output'
    )
  previous, current = (
    {**dataclasses.asdict(m['params']), **{key: m[key] for key in BUILD_KEYS}} for m in (old, fields)
  )
  changes = [f'{k} was {previous[k]!r} and is now {current[k]!r}' for k in current if previous[k] != current[k]]
  if changes:
    raise UserError(
      f'{folder}: holds records built with other arguments ({"; ".join(changes)}); choose another --output'
    )
  return old


def _kept(folder, old, digest_of, unreadable):
  """(dict of id to shards.Stored of the videos that the shards hold unchanged, list of what is damaged).

  Videos that cannot be read at the moment count as unchanged: windows and labels of an hour's outage would be lost.
  """
  if not old:
    return {}, []
  with _bar(old['windows'], 'checking', 'window', delay=2) as bar:
    present = inspection.inspect(folder, old, bar.update)
  if present.faults:
    print(f'building damaged records again: {text.first_of(present.faults, 3, "; ")}', file=sys.stderr)
  whole = present.whole().items()
  kept = {key: stored for key, stored in whole if key in unreadable or digest_of.get(key) == stored.digest}
  return kept, present.faults


def _digests(candidates, workers):
  """Reads every video once: (dict of id to digest, dict of id to the reason why it cannot be read)."""
  digest_of, failures = {}, {}

  def attempt(video):
    try:
      return videos.digest(video), None
    except MediaError as error:
      return None, error.reason

  with ThreadPoolExecutor(workers) as threads, _bar(len(candidates), 'reading', 'video', delay=2) as bar:
    parts = (candidates[start : start + READ_AT_ONCE] for start in range(0, len(candidates), READ_AT_ONCE))
    outcomes = itertools.chain.from_iterable(threads.map(attempt, part) for part in parts)
    for video, (digest, reason) in zip(candidates, outcomes, strict=True):
      bar.update()
      if reason is None:
        digest_of[video.id] = digest
      else:
        failures[video.id] = reason
        _report(bar, video.id, reason)
  return digest_of, failures


def _part_paths(folder, missing, digest_of, params):
  """dict of video id to the path of its part file; removes the partial files of an interrupted build."""
  folder.mkdir(exist_ok=True)
  for path in folder.iterdir():
    if path.suffix != '.tfrecord':
      _remove(path)
  return {video.id: str(folder / _part_name(video.id, digest_of[video.id], params)) for video in missing}


def _remove(path):
  """Removes a partial file, or the folder of a video's copy."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink()


def _part_name(video_id, digest, params):
  """A digest of what a part holds, so that complete parts of an interrupted build are used again."""
  key = json.dumps([record_manifest.SCHEMA_VERSION, video_id, digest, params], sort_keys=True)
  return f'{digests.blake2b(key.encode())}.tfrecord'


def _finished(jobs, digest_of):
  """dict of id to shards.Stored of the parts that an interrupted build completed; removes damaged ones."""
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
  """Runs the jobs with a progress bar: (dict of id to number of windows, dict of id to the reason why it failed)."""
  jobs = sorted(jobs, key=lambda job: -size_of(job))  # largest first, to keep all cores busy to the end
  built, failures, windows, finished, start, drawn = {}, {}, {}, 0, time.monotonic(), 0.0
  running = contextlib.closing(pool.run(jobs, workers, timeout_seconds))
  with _bar(len(jobs), 'videos', 'video') as bar, running as events:
    for job, event in events:
      if isinstance(event, Outcome):
        if event.errno is not None:
          raise OSError(event.errno, os.strerror(event.errno), os.path.dirname(os.path.dirname(job.part)))
        windows.pop(job.video_id, None)
        built[job.video_id] = event.windows
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
  return built, failures


def _bar(total, description, unit, delay=0):
  """A progress bar on stderr."""
  return tqdm(total=total, desc=description, unit=unit, delay=delay, file=sys.stderr, disable=not total, leave=False)


def _report(bar, video_id, reason):
  """Prints above the progress bar why a video is skipped."""
  bar.write(text.printable(f'skipped {video_id}: {reason}'), file=sys.stderr)
