"""Runs each video in a process of its own, several at a time, with a timeout."""

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import signal
import sys
import time
import types
from multiprocessing import connection

from tfrecords.jobs import Job, Outcome, copy_folder, partial_path

LOOK_SECONDS = 1.0  # at most until the clock is looked at again
STOPPED_SECONDS = 10.0  # what takes longer tells that this process was stopped, with its decoders: Ctrl-Z, docker pause


@dataclasses.dataclass
class _Running:
  """A running process."""

  job: Job
  process: multiprocessing.Process
  receiver: connection.Connection
  reported_at: float  # monotonic seconds: of the start, then of the last report


def run(jobs, workers, timeout_seconds):
  """Runs the jobs. A process that crashes or hangs affects its own video only.

  Args:
    jobs: list of Job.
    workers: number of processes at a time.
    timeout_seconds: longest time that a video may take to finish its next window.

  Yields:
    (job, int), the number of windows finished so far, and (job, Outcome) at the end of a job.
  """
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(['tfrecords.worker', 'tfrecords.pool'])
  waiting, running, looked_at = list(reversed(jobs)), {}, time.monotonic()
  try:
    while waiting or running:
      while waiting and len(running) < workers:
        started = _start(context, waiting.pop())
        running[started.receiver] = started
      deadline = min(r.reported_at for r in running.values()) + timeout_seconds
      for receiver in connection.wait(list(running), min(LOOK_SECONDS, max(0, deadline - time.monotonic()))):
        message = _message(running[receiver])
        running[receiver].reported_at = time.monotonic()
        yield running[receiver].job, message
        if isinstance(message, Outcome):
          _stop(running.pop(receiver))
      now = time.monotonic()
      if now - looked_at > STOPPED_SECONDS:
        for stopped in running.values():
          stopped.reported_at = now
      looked_at = now
      for late in [r for r in running.values() if now - r.reported_at >= timeout_seconds]:
        _stop(running.pop(late.receiver))
        yield late.job, Outcome(reason=f'no window finished within {timeout_seconds:g} s')
  finally:
    for left in running.values():
      _stop(left)


@contextlib.contextmanager
def _without_main():
  """Within the context, new processes do not import the running script, which may itself build records at top level."""
  main = sys.modules['__main__']
  sys.modules['__main__'] = types.ModuleType('__main__')
  try:
    yield
  finally:
    sys.modules['__main__'] = main


@contextlib.contextmanager
def _one_blas_thread():
  """Within the context, new processes import NumPy without the threads of OpenBLAS, which decoders do not need.

  At first these spin for as long as the import takes, which a decoder's processor would pay.
  """
  name = 'OPENBLAS_NUM_THREADS'
  if name in os.environ:
    yield
    return
  os.environ[name] = '1'
  try:
    yield
  finally:
    del os.environ[name]


def _start(context, job):
  """Starts the process of a job."""
  receiver, sender = context.Pipe(duplex=False)
  process = context.Process(target=work, args=(sender, job, dict(os.environ)), daemon=True)
  with _without_main(), _one_blas_thread():
    process.start()
  sender.close()
  return _Running(job, process, receiver, time.monotonic())


def work(sender, job, environment):
  """`worker.work`, which only the process of a job imports, with the decoder."""
  from tfrecords import worker

  worker.work(sender, job, environment)


def _message(running):
  """The next message of a process, or an Outcome that describes how it ended."""
  try:
    return running.receiver.recv()
  except (EOFError, ConnectionResetError):
    running.process.join(5)
    code = running.process.exitcode
    if code is not None and code < 0:
      return Outcome(reason=f'the decoder was stopped by {signal.Signals(-code).name}')
    return Outcome(reason=f'the decoder ended without a result (exit code {code})')


def _stop(running):
  """Ends the process and removes its partial file and its copies of the video."""
  running.process.kill()
  running.process.join()
  with contextlib.suppress(FileNotFoundError):
    os.remove(partial_path(running.job, running.process.pid))
  shutil.rmtree(copy_folder(running.job), ignore_errors=True)
  running.process.close()
  running.receiver.close()
