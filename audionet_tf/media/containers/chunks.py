"""The chunks of CAF, W64, ASF and RealMedia: whether the one with the sound is whole.

FFmpeg refuses a W64 whose sound has no length, as a recorder that did not end leaves it; `rewritten` gives it one.
"""

import struct
from typing import NamedTuple

from audionet_tf.media.containers import wav_header

MAX_CHUNKS = 100_000
W64 = b'riff'


class Format(NamedTuple):
  """How the chunks of a format are laid out.

  Attributes:
    begin: place of the first.
    head: struct of the head of each: name and length.
    counted: bytes of the head that the length counts.
    multiple: of bytes, at which the next begins.
    sound: name of the chunk with the sound.
    placeholder: lengths from here on say nothing.
  """

  begin: int
  head: str
  counted: int
  multiple: int
  sound: bytes
  placeholder: int = wav_header.LONG_PLACEHOLDER


FORMATS = {  # by first bytes
  b'caff': Format(8, '>4sq', 0, 1, b'data'),
  W64: Format(40, '<16sQ', 24, 8, bytes.fromhex('64617461 f3acd311 8cd100c0 4f8edb8a')),
  bytes.fromhex('3026b275'): Format(0, '<16sQ', 24, 1, bytes.fromhex('3626b275 8e66cf11 a6d900aa 0062ce6c')),  # ASF
  b'.RMF': Format(0, '>4sI', 8, 1, b'DATA', wav_header.PLACEHOLDER_BYTES),
}


def sound_chunk(file, file_bytes):
  """(begin, bytes of its head, declared length) of the first chunk with sound in a file of one of FORMATS, or None."""
  file.seek(0)
  layout = FORMATS[file.read(4)]
  head_bytes, place = struct.calcsize(layout.head), layout.begin
  for _ in range(MAX_CHUNKS):
    file.seek(place)
    head = file.read(head_bytes)
    if len(head) < head_bytes:
      break
    name, length = struct.unpack(layout.head, head)
    if name == layout.sound:
      return place, head_bytes, length
    if not layout.counted <= length < file_bytes:
      break
    place += head_bytes - layout.counted + length
    place += -place % layout.multiple
  return None


def sound_is_cut(file, file_bytes):
  """Whether a file of one of FORMATS, open at its start, ends before its sound does."""
  found = sound_chunk(file, file_bytes)
  file.seek(0)
  layout = FORMATS[file.read(4)]
  if not found:
    return False
  begin, head_bytes, length = found
  return wav_header.ends_early(begin + head_bytes - layout.counted, length, file_bytes, layout.placeholder)


def rewritten(file, file_bytes):
  """A header for a W64 whose sound has no length, as `wav_header.rewritten` gives it; None for any other file."""
  if file.read(4) != W64 or not (found := sound_chunk(file, file_bytes)):
    return None
  begin, head_bytes, length = found
  if 0 < length < wav_header.LONG_PLACEHOLDER:
    return None
  file.seek(0)
  end = begin + head_bytes
  return file.read(end - 8) + struct.pack('<Q', file_bytes - begin), [(end, file_bytes)]
