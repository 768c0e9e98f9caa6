"""Starts N workers of a command on this machine, each with its TF_CONFIG; run by scripts/launch.

One that fails takes the others with it: they notice by themselves, are told to end after GRACE_SECONDS, and killed
after as many more. The exit code is that of the first that failed.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 20
USAGE = 'usage: scripts/launch N COMMAND..., such as: scripts/launch 2 python -m audionet_tf.train --help'


def main(arguments):
  if len(arguments) < 2 or not arguments[0].isdigit() or not 1 <= int(arguments[0]) <= 64:
    print(f'error: expected are a number of workers, 1 to 64, and a command; {USAGE}', file=sys.stderr)
    return 1
  count, command = int(arguments[0]), arguments[1:]
  addresses = [f'127.0.0.1:{port}' for port in free_ports(count)]
  workers = []

  def pass_on(number, frame=None):
    for worker in workers:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, number)

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, pass_on)
  try:
    for index in range(count):
      workers.append(started(command, addresses, index))
  except OSError as error:
    pass_on(signal.SIGKILL)
    print(f'error: {command[0]}: {error.strerror}', file=sys.stderr)
    return 1
  printers = [threading.Thread(target=show, args=pair) for pair in enumerate(workers)]
  for printer in printers:
    printer.start()
  code = first_failure(workers)
  if code:
    for number in (signal.SIGTERM, signal.SIGKILL):
      if still_running(workers, GRACE_SECONDS):
        pass_on(number)
  for worker in workers:
    worker.wait()
  for printer in printers:
    printer.join()
  return code


def free_ports(count):
  """Numbers of ports that nothing listens on."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for each in sockets:
      each.bind(('127.0.0.1', 0))
    return [each.getsockname()[1] for each in sockets]


def started(command, addresses, index):
  """The process of a worker, in a process group of its own, so that a signal reaches what it starts too."""
  task = {'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}}
  path = f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}'  # `python` is this one
  environment = os.environ | {'TF_CONFIG': json.dumps(task), 'PATH': path}
  return subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', env=environment,
    start_new_session=True,
  )  # fmt: skip


def show(index, worker):
  """Prints the lines of a worker behind its number; each turn of a progress bar is one."""
  for line in worker.stdout:
    if line.strip():
      sys.stdout.write(f'[{index}] {line.rstrip()}\n')  # in one call: `print` writes the end of the line apart
      sys.stdout.flush()


def first_failure(workers):
  """Waits for all workers, or for the first that fails: its exit code, or 0."""
  while True:
    codes = [worker.poll() for worker in workers]
    for code in codes:
      if code:
        return code if code > 0 else 128 - code
    if None not in codes:
      return 0
    time.sleep(0.1)


def still_running(workers, seconds):
  """Whether a worker still runs after so long; returns when none does."""
  deadline = time.monotonic() + seconds
  while any(worker.poll() is None for worker in workers):
    if time.monotonic() > deadline:
      return True
    time.sleep(0.1)
  return False


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
