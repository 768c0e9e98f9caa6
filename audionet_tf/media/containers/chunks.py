"""The chunks of AIFF, CAF, W64, ASF and RealMedia: whether the one with the sound is whole.

FFmpeg refuses a W64 whose sound has no length, as a recorder that did not end leaves it, and an AIFF that it has itself
written into a pipe, with lengths of 0; `rewritten` gives them some. Of several chunks of sound it reads the last, and
samples that are narrower than their bytes it reads as if they were not, or as of 8 bits: `refused` finds these.
"""

import struct
from typing import NamedTuple

from audionet_tf.media.containers import wav_header

MAX_CHUNKS = 100_000
MOST_BEFORE = 1 << 20  # bytes before the sound: a new header repeats them, in memory
UNKNOWN = b'\xff' * 4  # FFmpeg reads on to the end
CAF, W64 = b'caff', b'riff'


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
  CAF: Format(8, '>4sq', 0, 1, b'data'),
  W64: Format(40, '<16sQ', 24, 8, bytes.fromhex('64617461 f3acd311 8cd100c0 4f8edb8a')),
  bytes.fromhex('3026b275'): Format(0, '<16sQ', 24, 1, bytes.fromhex('3626b275 8e66cf11 a6d900aa 0062ce6c')),  # ASF
  b'.RMF': Format(0, '>4sI', 8, 1, b'DATA', wav_header.PLACEHOLDER_BYTES),
}


AIFF, AIFF_KINDS = b'FORM', (b'AIFF', b'AIFC')
AIFF_SOUND, AIFF_COMMON = (Format(12, '>4sI', 0, 2, name, wav_header.PLACEHOLDER_BYTES) for name in (b'SSND', b'COMM'))
AIFF_PCM = (b'NONE', b'sowt', b'twos')  # kinds of AIFC
W64_FORMAT = FORMATS[W64]._replace(sound=bytes.fromhex('666d7420 f3acd311 8cd100c0 4f8edb8a'))


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


def sound_is_cut(file, file_bytes, layout=None):
  """Whether a file, open at its start, ends before its sound does. The arguments are those of `sound_chunk`."""
  found = sound_chunk(file, file_bytes, layout)
  file.seek(0)
  layout = layout or FORMATS[file.read(4)]
  if not found:
    return False
  begin, head_bytes, length = found
  return wav_header.ends_early(begin + head_bytes - layout.counted, length, file_bytes, layout.placeholder)


def refused(file, file_bytes):
  """Why an AIFF, CAF or W64, open at its start, is not read: FFmpeg finds other sound in it than there is. Or None."""
  head = file.read(12)
  is_aiff = head[:4] == AIFF and head[8:] in AIFF_KINDS
  layout = AIFF_SOUND if is_aiff else FORMATS.get(head[:4]) if head[:4] in (CAF, W64) else None
  found = layout and sound_chunk(file, file_bytes, layout)
  if not found:
    return None
  begin, head_bytes, length = found
  end = begin + head_bytes - layout.counted + length
  behind = layout._replace(begin=end + -end % layout.multiple)
  if 0 < length < layout.placeholder and sound_chunk(file, file_bytes, behind):
    return 'it has several chunks of sound, of which FFmpeg reads only the last: join them, as by sox'
  try:
    bits, sample_bytes = _sample(file, file_bytes, head)
  except struct.error:  # FFmpeg refuses it
    return None
  if not bits:
    return 'its header declares samples of 0 bits: set the right number there'
  if sample_bytes and -(-bits // 8) != sample_bytes:
    return f'its samples of {bits} bits take {sample_bytes:g} bytes, which FFmpeg does not read: convert it, as by sox'
  return None


def _sample(file, file_bytes, head):
  """(bits, bytes or None) that a sample takes by the header of an AIFF, CAF or W64."""
  other = 1, None  # of sound that is no PCM
  if head[:4] == CAF:
    file.seek(20)
    _, kind, _, packet_bytes, _, channels, bits = struct.unpack('>d4s5I', file.read(32))
    return (bits, packet_bytes / channels) if kind == b'lpcm' and channels else other
  found = sound_chunk(file, file_bytes, AIFF_COMMON if head[:4] == AIFF else W64_FORMAT)
  if not found:
    return other
  file.seek(found[0] + found[1])
  if head[:4] == AIFF:
    bits, kind = struct.unpack('>6xH10x4s', file.read(22))
    return (bits, None) if head[8:] == AIFF_KINDS[0] or kind in AIFF_PCM else other
  tag, channels, _, _, frame_bytes, bits = struct.unpack('<HHIIHH', file.read(16))
  if tag == wav_header.EXTENSIBLE:
    _, valid_bits, _, tag = struct.unpack('<HHIH', file.read(10))
    bits = valid_bits or bits
  return (bits, frame_bytes / channels) if tag in (wav_header.PCM, wav_header.FLOAT) and channels else other


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
  is_counted = head[frames] < 0x80  # FFmpeg refuses more as negative
  if has_length and is_counted and (length or not any(head[frames : frames + 4])):  # a file without sound is whole
    return None
  head[4:8] = UNKNOWN
  if not is_counted:
    head[frames : frames + 4] = bytes(4)
  head[-4:] = head[-4:] if length else UNKNOWN
  return bytes(head), [(begin + head_bytes, file_bytes)]
