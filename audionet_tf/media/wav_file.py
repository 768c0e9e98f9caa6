"""Writes WAV files."""

import wave

from audionet_tf.core import files


def write(path, pcm, sample_rate_hz):
  """Writes int16 [n] as a WAV file of one channel, atomically."""
  with files.atomic_write(path, 'wb') as file, wave.open(file, 'wb') as out:
    out.setnchannels(1)
    out.setsampwidth(pcm.itemsize)
    out.setframerate(sample_rate_hz)
    out.writeframes(pcm.astype('<i2').tobytes())
