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
    answer_bytes: size of the arrays in a response and of what holds them, before they become JSON.
    answers_bytes: size of all such arrays at a time, until their response is sent.
    requests_at_once: requests in progress, also those whose body or response is under way.
    upload_bytes: size of the body of an upload.
    uploads_bytes: size of all uploads that arrive, wait or are captioned.
    sound_seconds: length of the sound in an upload.
    upload_seconds: time for an upload to arrive.
    decode_seconds: time to decode its sound; also for a download.
    decode_memory_bytes: address space of the decoder process.
    predict_seconds: time for a prediction request to arrive, and again for the prediction.
    predictions_waiting: prediction requests that may wait.
    captions_at_once: files captioned at a time.
    captions_waiting: more uploads that may wait meanwhile.
    words_prompts: texts that describe the classes of a request.
    words_characters: in all of them.
    words_waiting: requests with words that may wait until these are embedded.
    words_kept: number of texts whose vectors are kept, the latest ones; some kilobytes each.
    results_kept: number of results that are kept, the latest ones.
    results_bytes: memory for these.
    results_seconds: how long each is kept.
  """

  request_bytes: int = 32 << 20
  requests_bytes: int = 256 << 20
  answer_bytes: int = 32 << 20
  answers_bytes: int = 128 << 20
  requests_at_once: int = 640
  upload_bytes: int = 1 << 30
  uploads_bytes: int = 10 << 30
  sound_seconds: float = 3600
  upload_seconds: float = 600
  decode_seconds: float = 120
  decode_memory_bytes: int = 2 << 30
  predict_seconds: float = 30
  predictions_waiting: int = 256
  captions_at_once: int = 2
  captions_waiting: int = 8
  words_prompts: int = 256
  words_characters: int = 1 << 14
  words_waiting: int = 16
  words_kept: int = 4096
  results_kept: int = 64
  results_bytes: int = 512 << 20
  results_seconds: float = 3600


class RequestRefused(Exception):
  """A request that is refused.

  Attributes:
    status: of HTTP.
    reason: one line.
    headers: dict of the response's, None for no more than usual; `retry_seconds` adds Retry-After, where waiting helps.
  """

  def __init__(self, status, reason, retry_seconds=None, headers=None):
    super().__init__(reason)
    self.status, self.reason, self.headers = status, ' '.join(str(reason).split()), headers
    if retry_seconds:
      self.headers = {'Retry-After': str(retry_seconds)} | (headers or {})


class Budget:
  """A number of bytes that all requests share. `what`: of which they are, for the refusal."""

  def __init__(self, limit, what='requests'):
    self.limit, self.what, self.held = limit, what, 0

  @contextlib.contextmanager
  def share(self):
    """Yields a function that takes bytes; they are given back at the end of the context.

    The function raises RequestRefused where too few are left.
    """
    taken = 0

    def take(count):
      nonlocal taken
      if self.held + count > self.limit:
        raise RequestRefused(503, f'{sizes(self.held)} of {self.what} are in progress; try again', retry_seconds=1)
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
