"""A process for each video, several at a time, each under a clock."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import time
import types
from multiprocessing import connection

from tfrecords import worker


@dataclasses.dataclass
class _Running:
  job: worker.Job
  process: multiprocessing.Process
  receiver: connection.Connection
  heard_at: float  # monotonic seconds: start, then every report of finished windows


def run(jobs, workers, timeout_seconds):
  """Runs the jobs; whatever happens to a process happens to its video alone.

  Args:
    jobs: list of worker.Job.
    workers: how many processes at a time.
    timeout_seconds: how long a video may take without finishing a window.

  Yields:
    (job, int) for windows finished so far and (job, worker.Outcome) at its end, as they come.
  """
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(['tfrecords.worker', 'audionet_tf.core.cli'])
  waiting, running = list(reversed(jobs)), {}
  try:
    while waiting or running:
      while waiting and len(running) < workers:
        started = _start(context, waiting.pop())
        running[started.receiver] = started
      deadline = min(r.heard_at for r in running.values()) + timeout_seconds
      for receiver in connection.wait(list(running), max(0, deadline - time.monotonic())):
        message = _message(running[receiver])
        running[receiver].heard_at = time.monotonic()
        yield running[receiver].job, message
        if isinstance(message, worker.Outcome):
          _stop(running.pop(receiver))
      for late in [r for r in running.values() if time.monotonic() - r.heard_at >= timeout_seconds]:
        _stop(running.pop(late.receiver))
        yield late.job, worker.Outcome(reason=f'no window finished within {timeout_seconds:g} s')
  finally:
    for left in running.values():
      _stop(left)


@contextlib.contextmanager
def _without_main():
  """Within, a new process does not import the script that is running, which may build records at its top level."""
  main = sys.modules['__main__']
  sys.modules['__main__'] = types.ModuleType('__main__')
  try:
    yield
  finally:
    sys.modules['__main__'] = main


def _start(context, job):
  receiver, sender = context.Pipe(duplex=False)
  process = context.Process(target=worker.work, args=(sender, job), daemon=True)
  with _without_main():
    process.start()
  sender.close()
  return _Running(job, process, receiver, time.monotonic())


def _message(running):
  """The next message of a process, or what its death says."""
  try:
    return running.receiver.recv()
  except (EOFError, ConnectionResetError):
    running.process.join(5)
    code = running.process.exitcode
    if code is not None and code < 0:
      return worker.Outcome(reason=f'the decoder was stopped by {signal.Signals(-code).name}')
    return worker.Outcome(reason=f'the decoder ended without an answer (exit code {code})')


def _stop(running):
  """Ends the process and removes what it left half-written."""
  running.process.kill()
  running.process.join()
  with contextlib.suppress(FileNotFoundError):
    os.remove(worker.partial_path(running.job, running.process.pid))
  running.process.close()
  running.receiver.close()
