"""Child processes of a server with many threads, started without a fork.

uvloop starts processes by fork. Before a fork, OpenBLAS ends its threads, and a matrix product in another thread then
waits for them for ever. `subprocess` uses vfork, which calls no such handler.
"""

import asyncio
import contextlib
import subprocess


@contextlib.asynccontextmanager
async def started(command, **options):
  """A running process; at the end of the context it has ended or is killed.

  Args:
    command: list of str.
    **options: of subprocess.Popen, but for standard output and error.

  Yields:
    (subprocess.Popen, asyncio.StreamReader of its standard output).
  """
  streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL}
  process = subprocess.Popen(command, bufsize=0, **streams, **options)
  output, loop = asyncio.StreamReader(), asyncio.get_running_loop()
  transport = None
  try:
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), process.stdout)
    yield process, output
  finally:
    process.kill()
    (transport or process.stdout).close()
    await wait(process)


async def wait(process):
  """Returns when a process has ended."""
  await asyncio.to_thread(process.wait)
