"""What the caption service allows, and how it refuses what it does not."""

import dataclasses

# Of the browser extension in web/extension, whose manifest holds the key that this identity follows from.
EXTENSION_ORIGIN = 'chrome-extension://ijkiddgkooldkdflchkmbplegdnoogdi'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What strangers may ask for.

  Attributes:
    request_bytes: body of a request for predictions.
    upload_bytes: body of an upload.
    sound_seconds: length of the sound in an upload.
    upload_seconds: for the upload to arrive.
    decode_seconds: for its sound to be decoded, and for a download.
    decode_memory_bytes: address space of the process that decodes.
    predict_seconds: until a request for predictions is answered.
    predictions_waiting: requests for predictions that may wait.
    captions_at_once: files listened to at a time.
    captions_waiting: uploads that may be under way or wait beside them.
    results_kept: files whose captions can still be fetched, the latest ones.
    results_bytes: memory for these.
    results_seconds: how long they can be fetched.
  """

  request_bytes: int = 32 << 20
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


class Refused(Exception):
  """A request that is not answered: `status` of HTTP, `reason` in one line, `retry_seconds` where waiting may help."""

  def __init__(self, status, reason, retry_seconds=None):
    super().__init__(reason)
    self.status, self.reason, self.retry_seconds = status, ' '.join(str(reason).split()), retry_seconds


def sizes(count):
  """Bytes as a person reads them: '512 MiB'."""
  return f'{count / (1 << 20):.4g} MiB'
