"""Sound from a pipe: WAV whose length nobody knows yet, or raw samples, mixed down as it comes, for days.

PyAV would wait for a second of sound before it returns the first sample, and seeks in WAV files.
"""

import dataclasses
import struct

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding, mixdown, timeline
from audionet_tf.media.containers import wav_header
from audionet_tf.media.containers.wav_header import FLOAT, PCM

READ_BYTES = 1 << 16  # at most: what is there comes at once
BLOCK_SECONDS = 0.01  # that the resampler gets at once, or more where more is there
MAX_CHANNELS = 64
RAW = (PCM, 16)
SIGNED_24_BITS = 'i24'  # no type of NumPy
SAMPLES = {(PCM, 8): 'u1', RAW: '<i2', (PCM, 24): SIGNED_24_BITS, (PCM, 32): '<i4', (FLOAT, 32): '<f4'}
HOW = 'pipe WAV, as from ffmpeg -i FILE -f wav -, or raw 16-bit samples and say their --sample_rate'


@dataclasses.dataclass(frozen=True)
class Pipe:
  """Sound that comes through a binary file, such as `sys.stdin.buffer`.

  Attributes:
    file: with `read1`, which returns what is there.
    sample_rate_hz: of raw samples, signed, 16 bits, little-endian; None for WAV.
    channels: of raw samples.
    name: for results and messages.
  """

  file: object = dataclasses.field(repr=False)
  sample_rate_hz: int | None = None
  channels: int = 1
  name: str = 'stdin'

  def __str__(self):
    return self.name

  def chunks(self, sample_rate_hz, mono='mean', block_seconds=BLOCK_SECONDS):
    """As `decoding.decode_audio`, but each chunk as soon as its sound is there.

    Raises:
      UserError: neither WAV nor raw samples at a known rate, or of a format that is not in SAMPLES.
    """
    blocks = mono_blocks(*self.samples(), mono)
    warn = decoding.printer(self.name)
    return decoding.pcm_chunks(blocks, sample_rate_hz, warn=warn, block_seconds=block_seconds)

  def samples(self):
    """(rate_hz, channels, key of SAMPLES, iterator over bytes), after the header. Errors are those of `chunks`."""
    source = Forward(self.file)
    start = source.peek(4)
    if not start:
      raise UserError(f'{self.name}: no sound in it')
    if self.sample_rate_hz is not None:
      if start in wav_header.FORMS:
        raise UserError(f'{self.name}: WAV, whose header has the sample rate; leave out --sample_rate')
      return self.sample_rate_hz, self.channels, RAW, source.rest()
    header = wav_header.read(source) if start in wav_header.FORMS else None
    if header is None:
      raise UserError(f'{self.name}: not WAV; {HOW}')
    kind = header.tag, header.sample_bits
    if kind not in SAMPLES or not 0 < header.channels <= MAX_CHANNELS or not 0 < header.rate_hz <= timeline.MAX_RATE_HZ:
      raise UserError(
        f'{self.name}: WAV of {header.channels} channels of {header.bits} bits, format {header.tag}, at '
        f'{header.rate_hz} Hz; convert it, as by ffmpeg -i FILE -f wav -'
      )
    return header.rate_hz, header.channels, kind, self.wav_sound(source, header, header.channels * kind[1] // 8)

  def wav_sound(self, source, header, frame_bytes):
    """Yields the bytes of the sound of a WAV, that of later chunks too, as `wav_header.sound_parts` has them of a file.

    Args:
      source: Forward, behind the header.
      header: its WavHeader.
      frame_bytes: bytes of a sample of all channels.
    """
    name, size = b'data', header.sound_bytes
    warn = decoding.printer(self.name)

    def warn_of_another():
      warn('what follows its first recording is not read: join recordings as raw samples')

    if header.form != b'RIFF' or not size:
      size = wav_header.LONG_SIZE
    for _ in range(wav_header.MAX_CHUNKS):
      begin = source.tell()
      if name == b'data' and size >= wav_header.PLACEHOLDER_BYTES:  # to the end
        yield from wav_header.without_trailing(wav_header.before_another(source.rest(), warn_of_another))
        return
      if name == b'data':
        yield from source.rest(size - size % frame_bytes)
      wav_header.skip(source, begin + size, size)
      if name == b'data' and wav_header.ends_early(begin, size, source.tell()):
        warn(f'its sound ends {begin + size - source.tell()} bytes too early: truncated')
      head = source.read(8)
      if head[:4] in wav_header.FORMS:
        warn_of_another()
      if len(head) < 8 or head[:4] in wav_header.FORMS:
        return
      name, size = struct.unpack('<4sI', head)
    warn(wav_header.TOO_MANY.format(wav_header.MAX_CHUNKS))


class Forward:
  """A pipe as a file that `wav_header` can walk: `seek` goes back over what was read last, and forward."""

  def __init__(self, file):
    self.file, self.held, self.position, self.recent = file, b'', 0, b''

  def peek(self, size):
    """The next bytes, fewer at the end, which the next `read` gives again."""
    while len(self.held) < size and (data := self.file.read1(size - len(self.held))):
      self.held += data
    return self.held[:size]

  def read(self, size):
    """`size` bytes; fewer at the end."""
    data, self.held = self.peek(size), self.held[size:]
    self.position, self.recent = self.position + len(data), data
    return data

  def tell(self):
    return self.position

  def seek(self, position):
    if position < self.position:
      self.held, self.position = self.recent[position - self.position :] + self.held, position
    while self.position < position and self.read(min(READ_BYTES, position - self.position)):
      pass

  def rest(self, size=None):
    """Yields the bytes that follow, at most `size` of them, as they come."""
    left = np.inf if size is None else size
    while left and (data := self.held or self.file.read1(READ_BYTES)):
      used = int(min(left, len(data)))
      self.held, data = data[used:], data[:used]
      left, self.position, self.recent = left - used, self.position + used, data
      yield data


def mono_blocks(rate_hz, channels, kind, pieces, mono):
  """Mixes pieces of interleaved samples down.

  Args:
    rate_hz, channels: ints.
    kind: key of SAMPLES.
    pieces: iterable of bytes, cut anywhere.
    mono: 'mean' of all channels, or the 'first' channel.

  Yields:
    (None, rate_hz, f32 [n] in [-1, 1]), as for `decoding.pcm_chunks`. A part of a sample at the end is dropped.
  """
  frame_bytes, held = channels * kind[1] // 8, b''
  for piece in pieces:
    held += piece
    whole = len(held) // frame_bytes * frame_bytes
    if whole:
      planes = scaled(held[:whole], SAMPLES[kind]).reshape(-1, channels).T
      yield None, rate_hz, mixdown.mean(list(planes[:1] if mono == 'first' else planes))
      held = held[whole:]


def scaled(data, dtype):
  """Bytes of samples as f32 [n] in [-1, 1]."""
  if dtype == SIGNED_24_BITS:
    padded = np.zeros([len(data) // 3, 4], np.uint8)  # at the top of 32 bits
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    data, dtype = padded.tobytes(), '<i4'
  samples = np.frombuffer(data, dtype)
  if samples.dtype == np.uint8:
    return (samples.astype(np.float32) - 128) / 128
  if samples.dtype.kind == 'f':
    return samples.astype(np.float32)
  return samples.astype(np.float32) / -np.float32(np.iinfo(samples.dtype).min)
