"""Runs a command and prints, as a line of JSON, the resources that it and all of its child processes used.

  scripts/lib/run benchmark.account COMMAND...

Orphans are waited for and counted too: the builder's decoders are children of a server process that outlives the
builder by a moment, so that the usage of the builder alone, read when it ends, lacks nearly all of the work.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphaned descendants become this process' children


def main(command):
  if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
    sys.exit(f'prctl: {os.strerror(ctypes.get_errno())}')
  began, wall_seconds, code = time.perf_counter(), None, None
  process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
  while True:
    try:
      pid, status = os.wait()
    except ChildProcessError:  # all are gone
      break
    if pid == process.pid:
      wall_seconds, code = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
  process.returncode = code
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu_seconds, peak_bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
  print(json.dumps({'code': code, 'cpu_seconds': cpu_seconds, 'wall_seconds': wall_seconds, 'peak_bytes': peak_bytes}))


if __name__ == '__main__':
  main(sys.argv[1:])
