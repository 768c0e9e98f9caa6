"""Sound from a microphone, by sounddevice (PortAudio)."""

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding, pipe

READ_SECONDS = 0.01


def chunks(sample_rate_hz, device=None):
  """Listens until the caller stops.

  Args:
    sample_rate_hz: int, rate of the output.
    device: name, a part of it, or number as str; None for the usual one.

  Yields:
    (start_sample, int16 [n]), as `decoding.decode_audio`, each as soon as it is recorded.

  Raises:
    UserError: there is no microphone, or it cannot be used.
  """
  try:
    import sounddevice
  except OSError as error:  # the library PortAudio is missing
    raise UserError(f'the microphone needs PortAudio ({text.brief(error)}): Debian, Ubuntu: libportaudio2') from None
  yield from decoding.pcm_chunks(blocks(sounddevice, device), sample_rate_hz, block_seconds=pipe.BLOCK_SECONDS)


def blocks(sounddevice, device):
  """Yields (None, rate, f32 [n]) of what the microphone hears, at its own rate."""
  try:
    chosen = int(device) if device and device.isdecimal() else device
    rate = round(sounddevice.query_devices(chosen, 'input')['default_samplerate'])
    with sounddevice.InputStream(rate, device=chosen, channels=1, dtype='float32') as stream:
      while True:
        samples, _ = stream.read(round(READ_SECONDS * rate))
        yield None, rate, np.array(samples[:, 0])
  except (sounddevice.PortAudioError, ValueError) as error:
    raise UserError(f'the microphone cannot be used ({text.brief(error)}); --device chooses another') from None
