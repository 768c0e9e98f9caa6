"""Uploads become captions: decoded in a process of their own, listened to in a thread, kept for a while.

Files that arrive and their sound have no name on any disk: they vanish with whoever holds them open, whatever ends it.
"""

import asyncio
import collections
import dataclasses
import json
import os
import secrets
import sys
import tempfile
import threading
import time
from concurrent import futures

from audionet_tf.core.errors import UserError
from audionet_tf.service import subprocesses, timeline
from audionet_tf.service.settings import RequestRefused


class Cancelled(Exception):
  """Nobody waits for the answer any more."""


@dataclasses.dataclass(frozen=True)
class Result:
  """A file: its `name` as the sender calls it, `seconds`, what was `heard`, its `picture` (of service_sound)."""

  name: str
  seconds: float
  heard: timeline.Heard
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
    self.drop_old()
    return identity

  def get(self, identity):
    """The Result of an id. RequestRefused where there is none, or none any more."""
    self.drop_old()
    if identity not in self.held:
      raise RequestRefused(404, 'no such captions, or none any more')
    return self.held[identity]

  def drop_old(self):
    def size():
      return sum(result.heard.scored.scores.nbytes for result in self.held.values())

    now = time.monotonic()
    while self.held and (
      now - next(iter(self.held.values())).made_at > self.limits.results_seconds
      or len(self.held) > max(1, self.limits.results_kept)
      or (len(self.held) > 1 and size() > self.limits.results_bytes)
    ):
      self.held.popitem(last=False)


class Jobs:
  """Files listened to, a few at a time.

  Args:
    listener: inference.Listener.
    limits: service_settings.Limits.
  """

  def __init__(self, listener, limits):
    self.listener, self.limits = listener, limits
    self.results = Results(limits)
    self.turns = asyncio.Semaphore(limits.captions_at_once)
    self.threads = futures.ThreadPoolExecutor(limits.captions_at_once, 'listen')
    self.admitted = 0

  def admit(self):
    """Counts a request in. RequestRefused where there are too many; else `leave` must follow."""
    if self.admitted >= self.limits.captions_at_once + self.limits.captions_waiting:
      raise RequestRefused(503, f'{self.admitted} files are being captioned or wait; try again', retry_seconds=10)
    self.admitted += 1

  def leave(self):
    self.admitted -= 1

  async def caption(self, source, name, report):
    """Listens to a file.

    Args:
      source: a file object that has a file descriptor.
      name: str, what its sender calls it.
      report: called with dicts: `stage` ('waiting', 'decoding', 'listening'), `seconds` and `of`, where known.

    Returns:
      (id, Result).

    Raises:
      RequestRefused: no sound in it, too long, too slow to decode.
    """
    if self.turns.locked():
      report({'stage': 'waiting'})
    async with self.turns:
      with tempfile.TemporaryFile(prefix='audionet-') as sound:
        settings = self.listener.served.settings
        seconds = await decoded(source, sound, settings, self.limits, report)
        path = f'/proc/{os.getpid()}/fd/{sound.fileno()}'
        heard, picture = await self.listened(path, seconds, settings.sample_rate_hz, report)
    result = Result(name, seconds, heard, picture)
    return self.results.add(result), result

  async def listened(self, path, seconds, sample_rate_hz, report):
    """(Heard, picture) of a WAV, made in a thread; stops soon after this task is cancelled."""
    loop, stopped = asyncio.get_running_loop(), threading.Event()

    def told(so_far):
      if stopped.is_set():
        raise Cancelled
      message = {'stage': 'listening', 'seconds': round(so_far, 1), 'of': round(seconds, 1)}
      loop.call_soon_threadsafe(report, message)

    def work():
      told(0.0)
      heard = timeline.heard(self.listener, path, told)
      return heard, timeline.picture(path, sample_rate_hz)

    future = loop.run_in_executor(self.threads, work)
    try:
      return await asyncio.shield(future)
    except asyncio.CancelledError:
      stopped.set()
      # The thread reads the sound until it notices; its slot is free only then.
      await asyncio.gather(future, return_exceptions=True)
      raise
    except UserError as error:
      raise RequestRefused(422, getattr(error, 'reason', error)) from None

  def close(self):
    self.threads.shutdown(wait=False, cancel_futures=True)


async def decoded(source, sound, settings, limits, report):
  """Has a process of its own write the sound of `source` to `sound`; returns its seconds.

  Args:
    source, sound: file objects with file descriptors.
    settings: StudentSettings.
    limits: Limits.
    report: as of `Jobs.caption`.

  Raises:
    RequestRefused: what is wrong with the file, or that it takes too long.
  """
  source.flush()
  os.lseek(source.fileno(), 0, os.SEEK_SET)
  told = {
    'sample_rate_hz': settings.sample_rate_hz,
    'mono': settings.mono,
    'max_seconds': limits.sound_seconds,
    'memory_bytes': limits.decode_memory_bytes,
    'processor_seconds': limits.decode_seconds,
    'out': sound.fileno(),
  }
  command = [sys.executable, '-m', 'audionet_tf.service.decoder', json.dumps(told)]
  last = {}
  try:
    async with subprocesses.started(command, stdin=source.fileno(), pass_fds=[sound.fileno()]) as (process, said):
      report({'stage': 'decoding', 'seconds': 0})
      async with asyncio.timeout(limits.decode_seconds):
        async for line in said:
          last = json.loads(line)
          if 'seconds' in last:
            report({'stage': 'decoding', 'seconds': round(last['seconds'], 1)})
        await subprocesses.ended(process)
  except TimeoutError:
    raise RequestRefused(422, f'its sound was not decoded within {limits.decode_seconds:g} s') from None
  if 'error' in last:
    raise RequestRefused(422, last['error'])
  if 'done' not in last:
    raise RequestRefused(422, f'the decoder gave up on it (exit code {process.returncode})')
  return last['done']
