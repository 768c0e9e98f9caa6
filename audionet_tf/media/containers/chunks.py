"""The chunks of CAF, W64, ASF and RealMedia: whether the one with the sound is whole.

FFmpeg refuses a W64 whose sound has no length, as a recorder that did not end leaves it, and an AIFF that it has itself
written into a pipe, with lengths of 0; `rewritten` gives them some.
"""

import struct
from typing import NamedTuple

from audionet_tf.media.containers import wav_header

MAX_CHUNKS = 100_000
MOST_BEFORE = 1 << 20  # bytes before the sound: a new header repeats them, in memory
UNKNOWN = b'\xff' * 4  # FFmpeg reads on to the end
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


AIFF, AIFF_KINDS = b'FORM', (b'AIFF', b'AIFC')
AIFF_SOUND, AIFF_COMMON = (Format(12, '>4sI', 0, 2, name) for name in (b'SSND', b'COMM'))


def sound_chunk(file, file_bytes, layout=None):
  """(begin, bytes of its head, declared length) of the first chunk with sound in a file of one of FORMATS, or None.

  `layout`: Format, in place of that of the file.
  """
  file.seek(0)
  layout = layout or FORMATS[file.read(4)]
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
  """A header for a W64 or AIFF whose sound has no length, as `wav_header.rewritten` gives it; None for other files."""
  head = file.read(12)
  if head[:4] == AIFF and head[8:] in AIFF_KINDS:
    return _rewritten_aiff(file, file_bytes, has_length=any(head[4:8]))
  if head[:4] != W64 or not (found := sound_chunk(file, file_bytes)):
    return None
  begin, head_bytes, length = found
  if 0 < length < wav_header.LONG_PLACEHOLDER or begin > MOST_BEFORE:
    return None
  file.seek(0)
  end = begin + head_bytes
  return file.read(end - 8) + struct.pack('<Q', file_bytes - begin), [(end, file_bytes)]


def _rewritten_aiff(file, file_bytes, has_length):
  """As `rewritten`. `has_length`: whether the file as a whole has one."""
  sound, common = (sound_chunk(file, file_bytes, layout) for layout in (AIFF_SOUND, AIFF_COMMON))
  if not sound or not common or not common[0] < sound[0] <= MOST_BEFORE:
    return None
  (begin, head_bytes, length), frames = sound, common[0] + common[1] + 2
  file.seek(0)
  head = bytearray(file.read(begin + head_bytes))
  is_known = has_length and head[frames : frames + 4] != UNKNOWN
  if is_known and (length or not any(head[frames : frames + 4])):  # a file without sound is whole
    return None
  head[4:8], head[frames : frames + 4] = UNKNOWN, bytes(4)
  head[-4:] = head[-4:] if length else UNKNOWN
  return bytes(head), [(begin + head_bytes, file_bytes)]
