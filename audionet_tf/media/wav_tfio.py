"""Decodes plain WAV files ahead: by tensorflow-io inside tf.data, by SciPy where that does not load.

Plain WAV of 8, 16 and 24 bits and of float: both decoders give PyAV's samples, bit for bit. The header is checked
before a decoder sees the file, as tensorflow-io reads 32-bit integers as float. Everything else is left to PyAV:
tensorflow-io 0.37 takes minutes for damaged FLAC files; its Ogg Vorbis and MP3 differ from PyAV in the last bits of a
float, and its Vorbis takes 3.5 times as long.

tensorflow-io 0.37 is its last release: its operations load with TensorFlow 2.17 and with none later.
"""

import functools
import os
import struct
import warnings
from typing import NamedTuple

import numpy as np

from audionet_tf.core.errors import MediaError
from audionet_tf.media import mixdown, timeline
from audionet_tf.media.containers import integrity, wav_header
from audionet_tf.media.containers.wav_header import FLOAT, PCM

MOST_SAMPLES = 1 << 22  # of all channels of a file: a file is held in memory
WAV_HEADER_BYTES = 1 << 16  # the sound of a plain file begins within so many bytes

# (tag, bits) to the output of both decoders: dtype, zero, full scale.
KINDS = {
  (PCM, 8): ('uint8', 128, 128),
  (PCM, 16): ('int16', 0, 1 << 15),
  (PCM, 24): ('int32', 0, 1 << 31),
  (FLOAT, 32): ('float32', 0, 1),
}


class Header(NamedTuple):
  """The format that a WAV header declares: `kind` is a key of KINDS, `samples` counts those of one channel."""

  kind: tuple
  rate_hz: int
  channels: int
  samples: int


def header(path):
  """The Header of a file that is decoded here, None for any other."""
  try:
    integrity.check_regular(path)
    if integrity.is_truncated(path):
      return None
    wav = plain_header(path)
  except MediaError:  # PyAV reports what is wrong with the file
    return None
  fits = wav and 0 < wav.rate_hz <= timeline.MAX_RATE_HZ and 0 < wav.channels * wav.samples <= MOST_SAMPLES
  return wav if fits else None


def plain_header(path):
  """The Header of a plain, complete WAV file, None for any other. MediaError where it cannot be read."""
  with integrity.readable(path) as file:
    wav, file_bytes = wav_header.read(file), os.fstat(file.fileno()).st_size
    if not wav or wav.form != b'RIFF' or wav.sound_begin > WAV_HEADER_BYTES:
      return None
    parts, lost = wav_header.sound_parts(file, wav, file_bytes)
    ((_, end), *more) = wav_header.recordings(file, file_bytes)
    if lost or more or len(parts) > 1 or end > file_bytes:
      return None
  kind = wav.tag, wav.bits
  whole = kind in KINDS and not wav.is_odd and wav.channels and wav.container_bits == wav.bits == wav.valid_bits
  fits = wav.frame_bytes * 8 == wav.bits * wav.channels and wav.sound_begin + wav.sound_bytes <= file_bytes
  return Header(kind, wav.rate_hz, wav.channels, wav.sound_bytes // wav.frame_bytes) if whole and fits else None


def decoded(paths):
  """Decodes the plain WAV files among others, a few of them ahead.

  Args:
    paths: list of files.

  Yields:
    (rate_hz, f32 [n, channels] in [-1, 1]) per path, in order; None where PyAV is to decode the file.
  """
  headers = [header(path) for path in paths]
  numbers = [number for number, wav in enumerate(headers) if wav]
  library = tensorflow_io() if numbers else None
  sounds = dataset(library, paths, headers, numbers) if library else scipy_sounds(paths, headers, numbers)
  ready = next(sounds, None)
  for number, wav in enumerate(headers):
    if ready is None or ready[0] != number:
      yield None
      continue
    samples, ready = ready[1], next(sounds, None)
    # PyAV reports what is wrong with a file whose header does not match its contents.
    yield (wav.rate_hz, samples) if samples.shape == (wav.samples, wav.channels) else None


def dataset(library, paths, headers, numbers):
  """Decodes files inside tf.data.

  Args:
    library: the package tensorflow_io.
    paths: all files.
    headers: list of Header or None, one per path.
    numbers: indices of the paths to decode.

  Returns:
    iterator over (number, f32 [n, channels] in [-1, 1]), in order; files that cannot be decoded are left out.
  """
  import tensorflow as tf

  from audionet_tf.core import tf_data

  def decode(contents, dtype, zero, full_scale):
    samples = library.audio.decode_wav(contents, dtype=getattr(tf, dtype))
    return (tf.cast(samples, tf.float32) - zero) / full_scale

  def sound(number, path, kind):
    contents = tf.io.read_file(path)
    return number, tf.switch_case(kind, [functools.partial(decode, contents, *how) for how in KINDS.values()])

  # An absolute path is never taken for an address. A name need not be UTF-8.
  files = [os.fsencode(os.path.abspath(paths[number])) for number in numbers]
  rows = numbers, files, [list(KINDS).index(headers[number].kind) for number in numbers]
  sounds = tf_data.without_autotune(tf.data.Dataset.from_tensor_slices(rows)).map(sound, tf_data.THREADS)
  return sounds.ignore_errors().as_numpy_iterator()


def scipy_sounds(paths, headers, numbers):
  """Decodes files by SciPy; yields as `dataset`. Not ahead, as it takes a small part of the time of resampling."""
  from scipy.io import wavfile

  for number in numbers:
    _, zero, full_scale = KINDS[headers[number].kind]
    try:
      with integrity.readable(paths[number]) as file, warnings.catch_warnings():
        warnings.simplefilter('ignore', wavfile.WavFileWarning)  # it warns of chunks other than sound
        samples = wavfile.read(file)[1].astype(np.float32)
    except (MediaError, ValueError, OSError, struct.error, UnboundLocalError):  # the last for a RIFF size of 0
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
  """Mixes decoded sound, f32 [n, channels], down to the blocks of `decoding.pcm_chunks`: (start, rate, f32 [rate])."""
  planes = samples.T[:1] if mono == 'first' else samples.T
  for start in range(0, len(samples), rate_hz):
    yield start, rate_hz, mixdown.mean(list(planes[:, start : start + rate_hz]))
