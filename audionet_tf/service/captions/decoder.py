"""Decodes an untrusted file to plain sound, in a process of its own with resource limits.

  python -m audionet_tf.service.captions.decoder SETTINGS < FILE

SETTINGS is a JSON object: `sample_rate_hz`, `mono`, `max_seconds`, `memory_bytes`, `processor_seconds`, and `out`, the
number of an open file. The sound becomes a WAV there, 16 bits, one channel, silent until a sound that starts late. On
standard output come JSON lines: {"seconds": so far}, {"warning": what is lost of the sound}, and at the end {"done":
seconds}, {"error": reason}, or {"errno": number} where the sound cannot be written.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import wave

from audionet_tf.core import files
from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding

INPUT = '/proc/self/fd/0'  # an unnamed file: nothing is left of it, whatever happens
REPORT_SECONDS = 20  # of sound, between two reports
HEADER_BYTES = 1 << 10


def limit(settings):
  """Sets the resource limits of this process."""
  sound_bytes = int(settings['max_seconds'] + 2) * settings['sample_rate_hz'] * 2
  for kind, value in (
    (resource.RLIMIT_AS, settings['memory_bytes']),
    (resource.RLIMIT_CPU, int(settings['processor_seconds']) + 1),
    (resource.RLIMIT_FSIZE, sound_bytes + HEADER_BYTES),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
  ):
    hard = resource.getrlimit(kind)[1]
    with contextlib.suppress(ValueError, OSError):  # not every system has each limit
      resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def decode(path, out, settings, report, warn):
  """Writes the sound of the file at `path` to the file object `out`.

  Args:
    path: str.
    out: open for writing bytes, seekable.
    settings: dict, as above.
    report: called with the seconds so far.
    warn: called with a line about what is lost of the sound.

  Returns:
    float, seconds.

  Raises:
    MediaError: not a media file, no sound, or longer than allowed.
  """
  rate, max_seconds = settings['sample_rate_hz'], settings['max_seconds']
  end, reported = 0, 0.0
  with wave.open(out, 'wb') as sound:
    sound.setparams((1, 2, rate, 0, 'NONE', ''))
    for start, pcm in decoding.decode_audio(path, rate, settings['mono'], max_seconds + 1, warn):
      if start + len(pcm) > max_seconds * rate:
        raise MediaError(path, f'its sound is longer than the {max_seconds:g} s allowed')
      sound.writeframesraw(b'\0\0' * (start - end))
      sound.writeframesraw(pcm.tobytes())
      end = start + len(pcm)
      if end / rate - reported >= REPORT_SECONDS:
        reported = end / rate
        report(reported)
  return end / rate


def main():
  settings = json.loads(sys.argv[1])
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when it ends
  limit(settings)

  def send(**message):
    print(json.dumps(message), flush=True)

  try:
    with os.fdopen(settings['out'], 'wb') as out:
      report, warn = (lambda value, name=name: send(**{name: value}) for name in ('seconds', 'warning'))
      send(done=decode(INPUT, out, settings, report, warn))
  except MediaError as error:
    send(error=error.reason)
  except OSError as error:
    if not files.is_full(error):
      raise
    send(errno=error.errno)
  except MemoryError:
    send(error=f'needs more memory than the {settings["memory_bytes"] >> 20} MiB allowed')


if __name__ == '__main__':
  main()
