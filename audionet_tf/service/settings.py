"""Limits of the caption service, allowed clients, and refusals."""

import contextlib
import dataclasses
import socket

from audionet_tf.core.errors import UserError

LOOPBACK = ('localhost', '127.0.0.1', '::1')

# The browser extension in web/extension. Chromium derives its id from the key in the manifest.
EXTENSION_ORIGIN = 'chrome-extension://ijkiddgkooldkdflchkmbplegdnoogdi'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What untrusted clients may use.

  Attributes:
    request_bytes: size of the body of a prediction request.
    requests_bytes: size of all such bodies at a time.
    answer_bytes: size of the arrays in a response, before they become JSON.
    upload_bytes: size of the body of an upload.
    sound_seconds: length of the sound in an upload.
    upload_seconds: time for an upload to arrive.
    decode_seconds: time to decode its sound; also for a download.
    decode_memory_bytes: address space of the decoder process.
    predict_seconds: time for a prediction request to arrive, and again for the prediction.
    predictions_waiting: prediction requests that may wait.
    captions_at_once: files captioned at a time.
    captions_waiting: more uploads that may arrive or wait meanwhile.
    results_kept: number of results that are kept, the latest ones.
    results_bytes: memory for these.
    results_seconds: how long each is kept.
  """

  request_bytes: int = 32 << 20
  requests_bytes: int = 256 << 20
  answer_bytes: int = 32 << 20
  upload_bytes: int = 1 << 30
  sound_seconds: float = 3600
  upload_seconds: float = 600
  decode_seconds: float = 120
  decode_memory_bytes: int = 2 << 30
  predict_seconds: float = 30
  predictions_waiting: int = 256
  captions_at_once: int = 2
  captions_waiting: int = 8
  results_kept: int = 64
  results_bytes: int = 512 << 20
  results_seconds: float = 3600


class RequestRefused(Exception):
  """A request that is refused: HTTP `status`, `reason` in one line, `retry_seconds` where waiting may help."""

  def __init__(self, status, reason, retry_seconds=None):
    super().__init__(reason)
    self.status, self.reason, self.retry_seconds = status, ' '.join(str(reason).split()), retry_seconds


class Budget:
  """A number of bytes that all requests share."""

  def __init__(self, limit):
    self.limit, self.held = limit, 0

  @contextlib.contextmanager
  def share(self):
    """Yields a function that takes bytes; they are given back at the end of the context.

    The function raises RequestRefused where too few are left.
    """
    taken = 0

    def take(count):
      nonlocal taken
      if self.held + count > self.limit:
        raise RequestRefused(503, f'{sizes(self.held)} of requests are in progress; try again', retry_seconds=1)
      self.held += count
      taken += count

    try:
      yield take
    finally:
      self.held -= taken


def allowed_host_names(host, allowed):
  """Allowed values of the Host header for a service that listens at `host`: set of str, lower case.

  They are the names of the loopback, `host`, those in `allowed`, and, unless `host` is a loopback, the names of this
  machine in the network.
  """
  machines = () if host in LOOPBACK else (socket.gethostname(), socket.getfqdn())
  return {name.lower() for name in (*LOOPBACK, host, *machines, *allowed)}


def check_allowed_clients(names, origins):
  """Raises UserError for names and origins that no request can have."""
  for name in names:
    if not name or not all(c.isalnum() or c in '-_.' for c in name):
      raise UserError(f'allowed_host is {name!r}, allowed is a name such as sounds.example.org, without a port')
  for origin in origins:
    scheme, _, host = origin.partition('://')
    if not (scheme and host) or set(host) & set('/?#@ ') or origin != origin.lower():
      raise UserError(f'allowed_origin is {origin!r}, allowed is SCHEME://HOST or SCHEME://HOST:PORT, in lower case')


def sizes(count):
  """A number of bytes as text: '512 MiB'."""
  return f'{count / (1 << 20):.4g} MiB'
