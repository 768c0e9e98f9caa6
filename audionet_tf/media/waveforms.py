"""Sound in memory: an array gives the same chunks as a file with its samples.

Where a function takes `sound`, it is the path of a media file, a Waveform or a pipe.Pipe.
"""

import contextlib
import dataclasses
import numbers

import numpy as np

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, pipe, timeline, wav_tfio
from audionet_tf.media.containers import integrity

INT16_SCALE = np.float32(32768)


@dataclasses.dataclass(frozen=True)
class Waveform:
  """Sound in memory: `samples` f32 [samples, channels], full scale 1, at `sample_rate_hz`."""

  samples: np.ndarray = dataclasses.field(repr=False)
  sample_rate_hz: int


def of_array(array, sample_rate_hz):
  """The Waveform of an array.

  Args:
    array: int16, or floating point in [-1, 1], [samples] or [samples, channels]. Values beyond full scale are clipped
      when they are read, as in files.
    sample_rate_hz: of the array.

  Raises:
    UserError: no sample rate, another dtype or shape, int16 values as floats, samples that are not finite.
  """
  array = np.asarray(array)
  if sample_rate_hz is None:
    raise UserError('sample_rate_hz is missing: an array does not hold its rate; give it in hertz, such as 16000')
  whole = isinstance(sample_rate_hz, numbers.Real) and float(sample_rate_hz).is_integer()
  if not whole or not 0 < sample_rate_hz <= timeline.MAX_RATE_HZ:
    raise UserError(f'sample_rate_hz is {sample_rate_hz!r}, allowed are whole numbers up to {timeline.MAX_RATE_HZ}')
  if array.dtype != np.int16 and array.dtype.kind != 'f':
    raise UserError(f'the array is {array.dtype}, allowed are int16, and floating point from -1 to 1')
  if array.ndim not in (1, 2):
    raise UserError(f'the array is {list(array.shape)}, allowed are [samples] and [samples, channels]')
  if not array.size:
    raise UserError(f'the array is {list(array.shape)}: no sound in it')
  samples = array[:, None] if array.ndim == 1 else array
  if samples.shape[1] > samples.shape[0]:
    raise UserError(f'the array is {list(array.shape)}, allowed is [samples, channels]; transpose it (array.T)')
  if samples.dtype == np.int16:
    return Waveform(samples.astype(np.float32) / INT16_SCALE, int(sample_rate_hz))
  finite = np.isfinite(samples).all(1)
  if not finite.all():
    first = int(finite.argmin())
    raise UserError(f'sample {first} of the array is {samples[first].tolist()}, allowed are finite numbers')
  peak = float(np.abs(samples).max())
  if peak > decoding.MAX_PEAK:
    raise UserError(f'the array reaches {peak:g}, allowed is -1 to 1; divide it by its full scale, or pass int16')
  return Waveform(samples.astype(np.float32, copy=False), int(sample_rate_hz))


def chunks(sound, sample_rate_hz, mono='mean'):
  """Decodes a media file, a Waveform or a Pipe (`decoding.decode_audio`).

  Args:
    sound: path of a media file, Waveform or Pipe.
    sample_rate_hz: int, rate of the output.
    mono: 'mean' of all channels, or the 'first' channel.

  Returns:
    iterator over (start_sample, int16 [n]), contiguous chunks of about a second.

  Raises:
    MediaError: the file is unreadable, truncated or damaged, or has no sound.
  """
  if isinstance(sound, pipe.Pipe):
    return sound.chunks(sample_rate_hz, mono, block_seconds=1)
  if not isinstance(sound, Waveform):
    return decoding.decode_audio(sound, sample_rate_hz, mono)
  blocks = wav_tfio.mono_blocks(sound.sample_rate_hz, sound.samples, mono)
  return decoding.pcm_chunks(blocks, sample_rate_hz)


@contextlib.contextmanager
def unpacked(sound):
  """The path of a decompressed file, or other sound itself; MediaError in the `with` block names the original file."""
  if isinstance(sound, (Waveform, pipe.Pipe)):
    yield sound
    return
  try:
    with integrity.decompressed(sound) as path:
      yield path
  except MediaError as error:
    raise MediaError(sound, error.reason) from None


def seconds(sound):
  """Duration of a Waveform, or the declared one of a file, None where it declares none (`declared_duration`)."""
  if isinstance(sound, Waveform):
    return len(sound.samples) / sound.sample_rate_hz
  return decoding.declared_duration(sound)
