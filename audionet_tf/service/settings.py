"""What the caption service allows, and how it refuses what it does not."""

import contextlib
import dataclasses
import socket

from audionet_tf.core.errors import UserError

LOOPBACK = ('localhost', '127.0.0.1', '::1')

# Of the browser extension in web/extension, whose manifest holds the key that this identity follows from.
EXTENSION_ORIGIN = 'chrome-extension://ijkiddgkooldkdflchkmbplegdnoogdi'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What strangers may ask for.

  Attributes:
    request_bytes: body of a request for predictions.
    requests_bytes: of all such bodies at a time, until they are answered.
    answer_bytes: numbers in an answer, before they are written out.
    upload_bytes: body of an upload.
    sound_seconds: length of the sound in an upload.
    upload_seconds: for the upload to arrive.
    decode_seconds: for its sound to be decoded, and for a download.
    decode_memory_bytes: address space of the process that decodes.
    predict_seconds: for a request for predictions to arrive, and again until it is answered.
    predictions_waiting: requests for predictions that may wait.
    captions_at_once: files listened to at a time.
    captions_waiting: uploads that may be under way or wait beside them.
    results_kept: files whose captions can still be fetched, the latest ones.
    results_bytes: memory for these.
    results_seconds: how long they can be fetched.
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
  """A request that is not answered: `status` of HTTP, `reason` in one line, `retry_seconds` where waiting may help."""

  def __init__(self, status, reason, retry_seconds=None):
    super().__init__(reason)
    self.status, self.reason, self.retry_seconds = status, ' '.join(str(reason).split()), retry_seconds


class Budget:
  """So many bytes at a time, for all requests together."""

  def __init__(self, most):
    self.most, self.held = most, 0

  @contextlib.contextmanager
  def share(self):
    """A function that takes bytes, which come back at the end of the context.

    It raises RequestRefused where too few are left.
    """
    taken = 0

    def take(count):
      nonlocal taken
      if self.held + count > self.most:
        raise RequestRefused(503, f'requests of {sizes(self.held)} are being answered; try again', retry_seconds=1)
      self.held += count
      taken += count

    try:
      yield take
    finally:
      self.held -= taken


def allowed_host_names(host, allowed):
  """Names under which a service that listens at `host` may be asked: set of str, small letters.

  Of one that only this machine can reach these are this machine's; else its name in the network, too.
  """
  machines = () if host in LOOPBACK else (socket.gethostname(), socket.getfqdn())
  return {name.lower() for name in (*LOOPBACK, host, *machines, *allowed)}


def check_allowed_clients(names, origins):
  """UserError for names and origins that no request could have: they would be allowed in vain."""
  for name in names:
    if not name or not all(c.isalnum() or c in '-_.' for c in name):
      raise UserError(f'allowed_host is {name!r}, allowed is a name such as sounds.example.org, without a port')
  for origin in origins:
    scheme, _, place = origin.partition('://')
    if not (scheme and place) or set(place) & set('/?#@ ') or origin != origin.lower():
      raise UserError(f'allowed_origin is {origin!r}, allowed is SCHEME://HOST or SCHEME://HOST:PORT, in small letters')


def sizes(count):
  """Bytes as a person reads them: '512 MiB'."""
  return f'{count / (1 << 20):.4g} MiB'
