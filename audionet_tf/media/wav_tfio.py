"""Plain WAV clips decoded ahead of who wants them: by tensorflow-io inside tf.data, by SciPy where that does not load.

Plain WAV, of 8, 16 and 24 bits and of float: its samples are PyAV's, bit by bit, with either. What the header promises
is read before a decoder sees the file, as tensorflow-io takes 32-bit integers for float. Everything else is left to
PyAV: of damaged FLAC files tensorflow-io 0.37 does not come back for minutes; Ogg Vorbis and MP3 agree with PyAV but
for the last bits of a float, and Vorbis takes 3.5 times as long there.

tensorflow-io 0.37 is its last release: its operations load with TensorFlow 2.17 and with none later.
"""

import functools
import os
import struct
import warnings
from typing import NamedTuple

import joblib
import numpy as np

from audionet_tf.core.errors import MediaError
from audionet_tf.media import integrity, mixdown, timeline

MOST_SAMPLES = 1 << 22  # of all channels of a file: it is held as a whole
WAV_HEADER_BYTES = 1 << 16  # in which the sound begins, else it is no plain file
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags of WAV

# (tag, bits) to what both decoders give: dtype, zero, full scale.
KINDS = {
  (PCM, 8): ('uint8', 128, 128),
  (PCM, 16): ('int16', 0, 1 << 15),
  (PCM, 24): ('int32', 0, 1 << 31),
  (FLOAT, 32): ('float32', 0, 1),
}


class Header(NamedTuple):
  """What a file says of itself: key of KINDS, rate, channels and samples of each."""

  kind: tuple
  rate_hz: int
  channels: int
  samples: int


def header(path):
  """The Header of a file that is decoded here; None of any other."""
  try:
    integrity.check_regular(path)
    if integrity.is_truncated(path):
      return None
    with integrity.readable(path) as file:
      found = wav_header(file)
  except (MediaError, struct.error):  # PyAV says what is wrong with it
    return None
  fits = found and 0 < found.rate_hz <= timeline.MAX_RATE_HZ and 0 < found.channels * found.samples <= MOST_SAMPLES
  return found if fits else None


def wav_header(file):
  """The Header of a plain WAV file that is whole, None of any other. struct.error where the file ends too early."""
  riff, _, wave = struct.unpack('<4sI4s', file.read(12))
  if (riff, wave) != (b'RIFF', b'WAVE'):
    return None
  known, end = None, os.fstat(file.fileno()).st_size
  while file.tell() < WAV_HEADER_BYTES:
    name, size = struct.unpack('<4sI', file.read(8))
    begin = file.tell()
    if name == b'data':
      kind, channels, rate_hz, align = known or (None, 0, 0, 0)
      plain = kind in KINDS and channels and align == channels * kind[1] // 8 and begin + size <= end
      return Header(kind, rate_hz, channels, size // align) if plain else None
    if name == b'fmt ':
      tag, channels, rate_hz, _, align, bits = struct.unpack('<HHIIHH', file.read(16))
      if tag == EXTENSIBLE:
        _, valid_bits, _, tag = struct.unpack('<HHIH', file.read(10))
        tag = tag if valid_bits == bits else None
      known = (tag, bits), channels, rate_hz, align
    file.seek(begin + size + size % 2)
  return None


def decoded(paths):
  """The plain WAV files among others, decoded; some of them ahead.

  Args:
    paths: of files.

  Yields:
    for every path, in order: (rate_hz, f32 [n, channels] in [-1, 1]); None where PyAV is to decode it.
  """
  headers = [header(path) for path in paths]
  ours = [number for number, found in enumerate(headers) if found]
  library = tensorflow_io() if ours else None
  sounds = dataset(library, paths, headers, ours) if library else scipy_sounds(paths, headers, ours)
  ready = next(sounds, None)
  for number, found in enumerate(headers):
    if ready is None or ready[0] != number:
      yield None
      continue
    samples, ready = ready[1], next(sounds, None)
    # Whose header does not tell the truth is looked at by PyAV.
    yield (found.rate_hz, samples) if samples.shape == (found.samples, found.channels) else None


def dataset(library, paths, headers, numbers):
  """Iterator over (number, f32 [n, channels]) of the paths with these numbers; those that cannot be decoded are left
  out.
  """
  import tensorflow as tf

  def decode(contents, dtype, zero, full_scale):
    samples = library.audio.decode_wav(contents, dtype=getattr(tf, dtype))
    return (tf.cast(samples, tf.float32) - zero) / full_scale

  def sound(number, path, kind):
    contents = tf.io.read_file(path)
    return number, tf.switch_case(kind, [functools.partial(decode, contents, *how) for how in KINDS.values()])

  # An absolute path is never taken for an address.
  files = [os.path.abspath(paths[number]) for number in numbers]
  rows = numbers, files, [list(KINDS).index(headers[number].kind) for number in numbers]
  found = tf.data.Dataset.from_tensor_slices(rows).map(sound, num_parallel_calls=joblib.cpu_count())
  return found.ignore_errors().as_numpy_iterator()


def scipy_sounds(paths, headers, numbers):
  """What `dataset` gives, by SciPy. Not ahead: it takes a small part of the time that resampling does."""
  from scipy.io import wavfile

  for number in numbers:
    _, zero, full_scale = KINDS[headers[number].kind]
    try:
      with integrity.readable(paths[number]) as file, warnings.catch_warnings():
        warnings.simplefilter('ignore', wavfile.WavFileWarning)  # chunks that are no sound
        samples = wavfile.read(file)[1].astype(np.float32)
    except (MediaError, ValueError, OSError, struct.error):
      continue
    yield number, ((samples - np.float32(zero)) / np.float32(full_scale)).reshape(len(samples), -1)


def tensorflow_io():
  """The package; None where it is missing or does not load."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      import tensorflow_io as library

      library.audio.encode_wav([[0.0]], 8000)  # its operations are loaded at the first call
  except (ImportError, NotImplementedError, OSError):
    return None
  return library


def mono_blocks(rate_hz, samples, mono):
  """What `decoded` gave as `decoding.pcm_chunks` takes it: (start, rate, f32 [n]), a second each."""
  planes = samples.T[:1] if mono == 'first' else samples.T
  for start in range(0, len(samples), rate_hz):
    yield start, rate_hz, mixdown.mean(list(planes[:, start : start + rate_hz]))
