"""Captioning jobs: an upload is decoded in a process of its own and captioned in a thread; the result is kept a while.

Uploads and their decoded sound are unnamed temporary files: they vanish with the process that holds them open.
"""

import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import secrets
import sys
import tempfile
import threading
import time
from concurrent import futures

from absl import logging

from audionet_tf.core import files
from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.service.captions import subprocesses, timeline
from audionet_tf.service.settings import RequestRefused


class Cancelled(Exception):
  """The client of a job is gone."""


@dataclasses.dataclass(frozen=True)
class Result:
  """A captioned file.

  Attributes:
    name: as the client calls it.
    seconds: of sound.
    warnings: list of str, what is lost of the sound.
    scores, picture: of service/captions/timeline.py.
  """

  name: str
  seconds: float
  warnings: list
  scores: timeline.KeptScores
  picture: dict
  made_at: float = dataclasses.field(default_factory=time.monotonic)


class Results:
  """The latest results by their unguessable ids, within the Limits."""

  def __init__(self, limits):
    self.limits, self.held = limits, collections.OrderedDict()

  def add(self, result):
    """Keeps a Result; returns its id."""
    identity = secrets.token_urlsafe(16)
    self.held[identity] = result
    self.drop_expired()
    return identity

  def get(self, identity):
    """The Result of an id. RequestRefused: unknown or expired."""
    self.drop_expired()
    if identity not in self.held:
      raise RequestRefused(404, 'no such captions, or expired')
    return self.held[identity]

  def drop_expired(self):
    """Drops results that are too old, too many or too large, the oldest first."""

    def size():
      return sum(result.scores.frames.scores.nbytes for result in self.held.values())

    now = time.monotonic()
    while self.held and (
      now - next(iter(self.held.values())).made_at > self.limits.results_seconds
      or len(self.held) > max(1, self.limits.results_kept)
      or (len(self.held) > 1 and size() > self.limits.results_bytes)
    ):
      self.held.popitem(last=False)


def check_temporary_folder():
  """UserError unless files can be made where uploads and their sound are written."""
  try:
    tempfile.TemporaryFile(prefix='audionet-').close()
  except OSError as error:
    folder = os.path.dirname(error.filename or '') or 'no folder for temporary files'
    raise UserError(
      f'{folder}: {error.strerror}; uploads are written there: set TMPDIR to a folder that can be written'
    ) from None


@contextlib.contextmanager
def space():
  """Context of all that writes uploads and their sound. RequestRefused where the disk is full; the log says which."""
  try:
    with files.space_in(tempfile.gettempdir()):
      yield
  except DiskFullError as error:
    logging.error('%s', error)
    raise RequestRefused(507, 'no space left for uploads on the server; try again later', retry_seconds=60) from None


class Jobs:
  """Captions files, a few at a time.

  Args:
    predictor: predict.FilePredictor.
    limits: settings.Limits.
  """

  def __init__(self, predictor, limits):
    self.predictor, self.limits = predictor, limits
    self.results = Results(limits)
    self.slots = asyncio.Semaphore(limits.captions_at_once)
    self.threads = futures.ThreadPoolExecutor(limits.captions_at_once, 'caption')
    self.admitted = 0

  def check_room(self):
    """Raises RequestRefused where no place is free."""
    if self.admitted >= self.limits.captions_at_once + self.limits.captions_waiting:
      raise RequestRefused(503, f'{self.admitted} files are being captioned or waiting; try again', retry_seconds=10)

  @contextlib.contextmanager
  def place(self):
    """Holds a place in the context. RequestRefused where none is free."""
    self.check_room()
    self.admitted += 1
    try:
      yield
    finally:
      self.admitted -= 1

  async def caption(self, source, name, report, predictor=None):
    """Captions a file.

    Args:
      source: a file object that has a file descriptor.
      name: str, what the client calls it.
      report: called with dicts: `stage` ('waiting', 'decoding', 'listening'), and `seconds` and `of` where known.
      predictor: a predict.FilePredictor of the same student with other classes; None for that of the Jobs.

    Returns:
      (id, Result).

    Raises:
      RequestRefused: no sound, too long, or too slow to decode.
    """
    if self.slots.locked():
      report({'stage': 'waiting'})
    async with self.slots:
      with space(), tempfile.TemporaryFile(prefix='audionet-') as sound:
        settings = self.predictor.served.settings
        seconds, warnings = await decode(source, sound, settings, self.limits, report)
        path = f'/proc/{os.getpid()}/fd/{sound.fileno()}'
        scores, picture = await self.score(predictor or self.predictor, path, seconds, report)
    result = Result(name, seconds, warnings, scores, picture)
    return self.results.add(result), result

  async def score(self, predictor, path, seconds, report):
    """(KeptScores, picture) of a WAV, made in a thread; stops soon after this task is cancelled."""
    loop, cancelled = asyncio.get_running_loop(), threading.Event()

    def progress(done_seconds):
      if cancelled.is_set():
        raise Cancelled
      message = {'stage': 'listening', 'seconds': round(done_seconds, 1), 'of': round(seconds, 1)}
      loop.call_soon_threadsafe(report, message)

    def work():
      progress(0.0)
      scores = timeline.score(predictor, path, progress)
      return scores, timeline.picture(path, predictor.served.settings.sample_rate_hz)

    future = loop.run_in_executor(self.threads, work)
    try:
      return await asyncio.shield(future)
    except asyncio.CancelledError:
      cancelled.set()
      # The thread reads the sound until it notices; its slot is free only then, however often this task is cancelled.
      while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
          await asyncio.wait([future])
      if not future.cancelled():
        future.exception()  # looked at: asyncio would print it
      raise
    except UserError as error:
      raise RequestRefused(422, getattr(error, 'reason', error)) from None

  def close(self):
    self.threads.shutdown(wait=False, cancel_futures=True)


async def decode(source, sound, settings, limits, report):
  """Decodes the sound of `source` to `sound` in a process of its own; returns (its seconds, list of warnings).

  Args:
    source, sound: file objects with file descriptors.
    settings: student_settings.StudentConfig.
    limits: Limits.
    report: as for `Jobs.caption`.

  Raises:
    RequestRefused: the file cannot be decoded, or not in time.
  """
  source.flush()
  os.lseek(source.fileno(), 0, os.SEEK_SET)
  arguments = {
    'sample_rate_hz': settings.sample_rate_hz,
    'mono': settings.mono,
    'max_seconds': limits.sound_seconds,
    'memory_bytes': limits.decode_memory_bytes,
    'processor_seconds': limits.decode_seconds,
    'out': sound.fileno(),
  }
  command = [sys.executable, '-m', 'audionet_tf.service.captions.decoder', json.dumps(arguments)]
  last, warnings = {}, []
  try:
    async with subprocesses.started(command, stdin=source.fileno(), pass_fds=[sound.fileno()]) as (process, output):
      report({'stage': 'decoding', 'seconds': 0})
      async with asyncio.timeout(limits.decode_seconds):
        async for line in output:
          last = json.loads(line)
          warnings += [last['warning']] if 'warning' in last else []
          if 'seconds' in last:
            report({'stage': 'decoding', 'seconds': round(last['seconds'], 1)})
        await subprocesses.wait(process)
  except TimeoutError:
    raise RequestRefused(422, f'not decoded within {limits.decode_seconds:g} s') from None
  if 'errno' in last:
    raise OSError(last['errno'], os.strerror(last['errno']))
  if 'error' in last:
    raise RequestRefused(422, last['error'])
  if 'done' not in last:
    raise RequestRefused(422, f'the decoder failed (exit code {process.returncode})')
  return last['done'], warnings
