"""The caption service in a thread of the test, at a port of its own."""

import contextlib
import os
import pathlib
import threading
import time

from audionet_tf.service import app
from audionet_tf.service import server as service_server


@contextlib.contextmanager
def running(made, **options):
  """The address at which a app.Service answers. `options`: of service.application."""
  listening = service_server.bind_socket('127.0.0.1', 0)
  config = service_server.configuration(app.application(made, **options), log_level='critical')
  server = service_server.Server(config, made.work.stop)
  thread = threading.Thread(target=server.run, kwargs={'sockets': [listening]}, daemon=True)
  thread.start()
  try:
    wait(lambda: server.started)
    yield f'http://127.0.0.1:{listening.getsockname()[1]}'
  finally:
    server.should_exit = True
    thread.join(20)
    listening.close()


def wait(condition, seconds=20):
  """Returns once `condition()` is true."""
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'never true'
    time.sleep(0.01)


def children():
  """Programs that this process has started and that have not ended: dict of number to name."""
  processes = {}
  for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
    with contextlib.suppress(OSError):
      name, _, rest = stat.read_text().rpartition(')')
      if rest.split()[1] == str(os.getpid()) and rest.split()[0] != 'Z':
        processes[int(stat.parent.name)] = name
  return processes


def open_unnamed():
  """Files that this process holds open and that have no name any more."""
  paths = []
  for link in pathlib.Path('/proc/self/fd').iterdir():
    with contextlib.suppress(OSError):
      if os.readlink(link).endswith('(deleted)'):
        paths.append(os.readlink(link))
  return paths
