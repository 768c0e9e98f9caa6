"""The HTTP server around the service: its socket, its log, its shutdown."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys

import uvicorn

from audionet_tf.core.errors import UserError
from audionet_tf.service import connections

GRACE_SECONDS = 3  # for work under way at a shutdown, before it is ended
SHUTDOWN_SECONDS = 8  # for its responses too, from the signal; Docker kills after ten
FILES_PER_CONNECTION = 4  # a socket, an upload, its sound, the pipe of its decoder


class Server(uvicorn.Server):
  """uvicorn's server; at a shutdown it ends the service's work before it closes the connections.

  Args:
    config: from `configuration`.
    stop: called when the work must end: each request gets its refusal.
  """

  def __init__(self, config, stop=lambda: None):
    super().__init__(config)
    self.stop = stop

  async def shutdown(self, sockets=None):
    loop = asyncio.get_running_loop()
    loop.call_later(GRACE_SECONDS, self.stop)
    loop.call_later(SHUTDOWN_SECONDS - 1, self.cut_off)
    await super().shutdown(sockets)
    self.stop()

  def cut_off(self):
    """Closes the connections of clients that neither send their request nor read their response."""
    for connection in list(self.server_state.connections):
      connection.transport.abort()


def bind_socket(host, port):
  """A socket that is bound to the address. UserError: it cannot be."""
  try:
    (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    listening = socket.socket(family, kind)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
  except OSError as error:
    raise UserError(f'cannot listen at {host}, port {port}: {error.strerror}; take another --port') from None
  return listening


def configuration(app, log_level='error'):
  """The uvicorn.Config of an ASGI application."""
  logging.getLogger('python_multipart').setLevel(logging.CRITICAL)  # it warns of what clients send, once per request
  return uvicorn.Config(
    app,
    http=connections.Connection,
    log_level=log_level,
    access_log=False,
    ws='none',
    server_header=False,
    timeout_keep_alive=connections.IDLE_SECONDS,
    timeout_graceful_shutdown=SHUTDOWN_SECONDS,
  )


def allow_files(count):
  """Raises this process's limit of open files to `count`, or as far as the system lets it."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  most = count if hard == resource.RLIM_INFINITY else min(count, hard)
  if soft != resource.RLIM_INFINITY and soft < most:
    with contextlib.suppress(ValueError, OSError):
      resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(app, listening, what, stop=lambda: None):
  """Serves until SIGINT or SIGTERM; returns 0.

  Args:
    app: ASGI application.
    listening: socket from `bind_socket`.
    what: what is served, for the line that is printed.
    stop: as for Server.
  """
  host, port = listening.getsockname()[:2]
  shown = f'[{host}]' if ':' in host else host
  allow_files(FILES_PER_CONNECTION * connections.CONNECTIONS)
  server = Server(configuration(app), stop)
  gc.collect()
  gc.freeze()  # TensorFlow's million objects stay: a collection that looks at them stops every request
  for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn shuts down, then raises the signal again
    signal.signal(number, lambda *_: None)
  print(f'serving {what} at http://{shown}:{port}', file=sys.stderr, flush=True)
  server.run(sockets=[listening])
  return 0
