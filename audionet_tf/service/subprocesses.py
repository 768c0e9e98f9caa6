"""Programs that a server of many threads starts, and waits for among other things.

uvloop starts them by a fork of the whole process. Before a fork the library behind NumPy's products ends its threads,
and whoever multiplies at that moment waits for them for ever. `subprocess` does not fork, but uses vfork.
"""

import asyncio
import contextlib
import subprocess


@contextlib.asynccontextmanager
async def started(command, **options):
  """A program; at the end of the context it is no more, killed where it has not ended.

  Args:
    command: list of str.
    **options: of subprocess.Popen, but for standard output and error.

  Yields:
    (subprocess.Popen, asyncio.StreamReader of its standard output).
  """
  streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL}
  process = subprocess.Popen(command, bufsize=0, **streams, **options)
  said, loop = asyncio.StreamReader(), asyncio.get_running_loop()
  transport = None
  try:
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), process.stdout)
    yield process, said
  finally:
    process.kill()
    (transport or process.stdout).close()
    await ended(process)


async def ended(process):
  """Returns when a program has ended."""
  await asyncio.to_thread(process.wait)
