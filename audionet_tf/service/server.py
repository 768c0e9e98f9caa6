"""The HTTP server around the service: its socket, its log, its shutdown."""

import signal
import socket
import sys

import uvicorn

from audionet_tf.core.errors import UserError

CONNECTIONS = 512
IDLE_SECONDS = 30
SHUTDOWN_SECONDS = 5


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


def run(app, listening, what):
  """Serves until SIGINT or SIGTERM; returns 0.

  Args:
    app: ASGI application.
    listening: socket from `bind_socket`.
    what: what is served, for the line that is printed.
  """
  host, port = listening.getsockname()[:2]
  shown = f'[{host}]' if ':' in host else host
  config = uvicorn.Config(
    app,
    log_level='error',
    access_log=False,
    ws='none',
    server_header=False,
    limit_concurrency=CONNECTIONS,
    timeout_keep_alive=IDLE_SECONDS,
    timeout_graceful_shutdown=SHUTDOWN_SECONDS,
  )
  server = uvicorn.Server(config)
  for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn shuts down, then raises the signal again
    signal.signal(number, lambda *_: None)
  print(f'serving {what} at http://{shown}:{port}', file=sys.stderr, flush=True)
  server.run(sockets=[listening])
  return 0
