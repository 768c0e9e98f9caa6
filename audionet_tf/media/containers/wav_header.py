"""The header of a WAV file, as recorders and programs that write into pipes leave it.

A header is written before the length of the sound is known. Programs whose output is a pipe cannot go back to correct
it, so that the sizes in it stay placeholders: 0, 0x7ffff000 (SoX), 0x80000000 (arecord), 0xffffffff (FFmpeg). Others
count a few bytes of headers as sound. A file is truncated where both it and its sound end too early.

Some headers FFmpeg does not read as they are meant; `rewritten` gives it others:

* Samples of 24 valid bits in 32 lie at the top of the 32, the rest is zero: they are samples of 32 bits. FFmpeg takes
  the valid bits for the size of a sample, and 24 in 32 of the format without valid bits for Cool Edit's floats.
* A format of 14 bytes, from before the number of bits was in it.
* A chunk of odd length without the byte that pads it.
* Sound in several chunks, of which FFmpeg reads the last.
* RF64 whose long sizes are zero or all ones, as a recorder that did not end leaves them.
"""

import itertools
import re
import struct
from typing import NamedTuple

FORMS = (b'RIFF', b'RF64', b'BW64')
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags
LONG_PLACEHOLDER = 1 << 60  # the same for lengths of 64 bits
PLACEHOLDER_BYTES = 0x3FFF0000  # a declared size from here on, a GiB, is no reason to call a shorter file truncated
HEADER_BYTES = 128  # a size that is too large by this much counts headers in
WITHOUT_BITS = 14  # length of a format without the number of bits
LONG_SIZE = 0xFFFFFFFF  # in RF64: the size is in the chunk ds64
CHUNKS = (b'data', b'fmt ', b'fact', b'LIST', b'JUNK', b'bext', b'iXML', b'id3 ', b'cue ', b'smpl', b'PEAK')
TRAILING = tuple(name for name in CHUNKS if name not in (b'data', b'fmt '))
A_TRAILING = re.compile(b'|'.join(map(re.escape, TRAILING)))
BEGUN_AT_END = re.compile(b'|'.join(re.escape(name[:length]) + rb'\Z' for name in TRAILING for length in (1, 2, 3)))
MOST_TRAILING = 4 << 20  # bytes at the end of a file that are searched for chunks behind its sound
MAX_CHUNKS = 10_000
TOO_MANY = 'what follows its first {:,} chunks is not read; join its sound into one chunk'
MOST_FORMAT = 1 << 10  # bytes of a format
PEEKED = 1 << 16  # bytes of a sound, from where it is not silent, that tell floats from whole numbers
WHOLE = (8, 16, 24, 32, 64)  # bits of a sample that FFmpeg reads
MAX_RECORDINGS = 10_000  # in one file; one more is looked for, which tells that there are too many
MOST_FOLLOWING = 100  # chunks behind the sound
MEAN_CHUNKS = 10  # of the headers of many recordings: an untrusted file may lead each through the same thousands
A_WAV = re.compile(rb'(?:RIFF|RF64|BW64).{4}WAVE', re.DOTALL)
A_WAV_BYTES = 12
A_WAV_AT_END = re.compile(rb'(?:R|RI|RIF|RF|RF6|B|BW|BW6|(?:RIFF|RF64|BW64).{0,7})\Z', re.DOTALL)


class WavHeader(NamedTuple):
  """A WAV header up to its sound.

  Attributes:
    form: b'RIFF', or b'RF64' and b'BW64', whose sizes are elsewhere.
    fmt: bytes of the chunk of the format.
    tag: of the format, of the subformat where it is extensible; None where the file has no format before its sound.
    channels, rate_hz: ints.
    frame_bytes: bytes of one sample of all channels.
    bits: of a sample, as declared.
    valid_bits: those in use, from the most significant down; `bits` where the format is not extensible.
    extensible: whether the format is.
    is_odd: whether FFmpeg misses its chunks, its bits or its length.
    sound_begin, sound_bytes: where the sound begins, and its declared size; that of RF64 is 0 where unknown.
  """

  form: bytes
  fmt: bytes
  tag: int | None
  channels: int
  rate_hz: int
  frame_bytes: int
  bits: int
  valid_bits: int
  extensible: bool
  is_odd: bool
  sound_begin: int
  sound_bytes: int

  @property
  def container_bits(self):
    """Bits that a sample of one channel takes in the file."""
    return self.frame_bytes * 8 // self.channels if self.channels else 0

  @property
  def sample_bits(self):
    """Bits of a sample as FFmpeg reads them: those declared, in whole bytes, where the format has no valid bits."""
    whole = -(-self.bits // 8) * 8
    return self.container_bits if self.extensible or not whole or self.is_24_in_32 else whole

  @property
  def is_24_in_32(self):
    """Whether it declares 24 bits and takes 32, without valid bits."""
    return not self.extensible and self.tag == PCM and (self.bits, self.container_bits) == (24, 32)


def read(file, budget=None):
  """The WavHeader of an open file; None where it is no WAV, or ends in its header.

  `budget`: iterator with an item for each chunk that may be walked, at most MAX_CHUNKS of them; None for so many.
  """
  try:
    form, _, kind = struct.unpack('<4sI4s', file.read(12))
    is_wav = form in FORMS and kind == b'WAVE'
    return _walked(file, form, itertools.islice(budget or itertools.count(), MAX_CHUNKS)) if is_wav else None
  except struct.error:
    return None


def _walked(file, form, budget):
  fields, is_odd, long_bytes = (b'', None, 0, 0, 0, 0, 0, False), False, 0
  for _ in budget:
    name, size = struct.unpack('<4sI', file.read(8))
    begin = file.tell()
    if name in FORMS:  # of the next file: each of thousands that are joined would walk all that follow
      return None
    if name == b'data':
      if form != b'RIFF' and size == LONG_SIZE:
        size = long_bytes if long_bytes < LONG_PLACEHOLDER else 0
        is_odd |= not size
      return WavHeader(form, *fields, is_odd, begin, size)
    if name == b'ds64':
      _, long_bytes = struct.unpack('<QQ', file.read(16))
    if name == b'fmt ':
      fmt = file.read(min(size, MOST_FORMAT))
      tag, channels, rate_hz, _, frame_bytes = struct.unpack('<HHIIH', fmt[:14])
      if size == WITHOUT_BITS:
        bits, is_odd = frame_bytes * 8 // max(1, channels), True
      else:
        (bits,) = struct.unpack('<H', fmt[14:16])
      valid_bits, extensible = bits, tag == EXTENSIBLE
      if extensible:
        _, valid_bits, _, tag = struct.unpack('<HHIH', fmt[16:26])
        valid_bits = valid_bits or bits
      fields = fmt, tag, channels, rate_hz, frame_bytes, bits, valid_bits, extensible
    is_odd |= skip(file, begin + size, size)
  return None


def skip(file, end, size):
  """Moves an open file behind a chunk of `size` bytes that ends at `end`; whether the byte that pads it is missing."""
  file.seek(end)
  is_unpadded = bool(size % 2) and file.read(4) in CHUNKS
  file.seek(end + (size % 2 and not is_unpadded))
  return is_unpadded


def ends_early(begin, declared_bytes, file_bytes, placeholder_bytes=PLACEHOLDER_BYTES):
  """Whether a file ends before a chunk that begins at `begin` does, by more than headers that were counted in."""
  is_known = 0 < declared_bytes < placeholder_bytes
  return is_known and begin + declared_bytes > file_bytes + HEADER_BYTES


def recordings(file, file_bytes):
  """Finds WAV files that were joined byte by byte.

  Args:
    file: open for reading bytes, at its start.
    file_bytes: its size.

  Returns:
    list of (begin, end) in bytes, at least one where the file is a WAV; the last has an end behind the file's where
    sound that it declares is missing.
  """
  found, begin, budget = [], 0, iter(range(MEAN_CHUNKS * MAX_RECORDINGS))
  while begin is not None and len(found) <= MAX_RECORDINGS:
    file.seek(begin)
    form, size, kind = struct.unpack('<4sI4s', file.read(12).ljust(12))
    if form not in FORMS or kind != b'WAVE':
      break
    file.seek(begin)
    header = read(file, budget)
    ends = [begin + 8 + size + shift for shift in (0, 1, -8)]  # an odd length is padded; some count the first 8 bytes
    if header:
      ends += [header.sound_begin + header.sound_bytes + shift for shift in (0, 1)]
    following = next((end for end in ends if begin < end < file_bytes and _begins_wav(file, end)), None)
    end = file_bytes
    if header and not following and _is_open(header, file_bytes):
      following = _wav_between(file, header.sound_begin, file_bytes)
      end = _sound_end(file, header, following or file_bytes)
    elif header and not following:
      cut = ends_early(begin + 8, size, file_bytes) and ends_early(*header[-2:], file_bytes)
      if cut or _holds_another(file, header, file_bytes):
        end = max(ends[0], file_bytes + 1)
      else:
        end = _sound_end(file, header, file_bytes)
    found.append((begin, end if following is None else min(end, following)))
    begin = following
  return found


def _is_open(header, file_bytes):
  """Whether the sound of a header has no known length, and so may reach to the end of the file."""
  known = PLACEHOLDER_BYTES if header.form == b'RIFF' else LONG_PLACEHOLDER
  size = header.sound_bytes
  return not size or (size >= known and header.sound_begin + size > file_bytes)


def _holds_another(file, header, file_bytes):
  """Whether the next recording begins inside the sound that a header declares: this one is cut.

  The sound is searched for it only where neither the file nor chunks that reach to its end follow it.
  """
  end = header.sound_begin + header.sound_bytes
  if not header.sound_bytes or any(_follows(file, place, file_bytes) for place in (end, end + 1)):
    return False
  return _wav_between(file, header.sound_begin, end) is not None


def _wav_between(file, begin, end):
  """Where a WAV begins between two places of a file, or None."""
  file.seek(begin)
  held = b''
  while block := file.read(min(PEEKED, end - file.tell())):
    if match := A_WAV.search(held + block):
      return file.tell() - len(held + block) + match.start()
    held = (held + block)[1 - A_WAV_BYTES :]
  return None


def _follows(file, place, file_bytes):
  """Whether a known chunk begins at a place, or chunks follow one another from there to the end of the file."""
  if place > file_bytes - 8:
    return True
  for number in range(MOST_FOLLOWING):
    file.seek(place)
    head = file.read(8)
    if len(head) < 8:
      return False
    if number == 0 and head[:4] in CHUNKS:
      return True
    size = int.from_bytes(head[4:], 'little')
    place += 8 + size + size % 2
    if place in (file_bytes, file_bytes + 1):  # the last byte that pads may be missing
      return True
  return False


def _sound_end(file, header, file_bytes):
  """The end of a file; of one whose sound has no known length, where chunks begin that reach to the end of the file."""
  if 0 < header.sound_bytes <= file_bytes - header.sound_begin:
    return file_bytes
  begin = max(header.sound_begin, file_bytes - MOST_TRAILING)
  file.seek(begin)
  tail = file.read(file_bytes - begin)
  places = [match.start() for match in A_TRAILING.finditer(tail)]
  ends = {len(tail), len(tail) + 1}  # where a chunk may end: with the file, but for a byte that pads, or with another
  for place in reversed(places):
    if place + 8 <= len(tail):
      size = int.from_bytes(tail[place + 4 : place + 8], 'little')
      if place + 8 + size + size % 2 in ends:
        ends.add(place)
  return begin + min(min(ends), len(tail))


def without_trailing(pieces):
  """Leaves out the chunks behind sound of unknown length that comes in pieces: those that `recordings` finds in a file.

  What may be such chunks, of MOST_TRAILING bytes together, is held back until they have ended.

  Args:
    pieces: iterable of bytes.

  Yields:
    bytes.
  """
  held, begin, searched = bytearray(), 0, 0  # `held` begins there in the sound, and is searched for names up to there
  chains = {}  # where a chunk ends: where the first of those begins that follow one another up to there
  for piece in pieces:
    held += piece
    end = begin + len(held)
    for match in A_TRAILING.finditer(held, max(0, searched - begin)):
      place = begin + match.start()
      if place + 8 > end:
        break
      size = int.from_bytes(held[place + 4 - begin : place + 8 - begin], 'little')
      first, chunk_end = chains.pop(place, place), place + 8 + size + size % 2
      if chunk_end - first <= MOST_TRAILING:
        chains[chunk_end] = min(first, chains.get(chunk_end, first))
    searched = end - 7
    chains = {chunk_end: first for chunk_end, first in chains.items() if chunk_end + 8 > end}
    tail = max(0, searched - begin)
    begun = A_TRAILING.search(held, tail) or BEGUN_AT_END.search(held, tail)
    free = min([*chains.values(), begin + begun.start() if begun else end])
    if free > begin:
      yield bytes(held[: free - begin])
      del held[: free - begin]
      begin = free
  end = begin + len(held)
  yield bytes(held[: min([first for last, first in chains.items() if last in (end, end + 1)], default=end) - begin])


def before_another(pieces, warn):
  """Yields bytes, that come in pieces, up to where another WAV begins in them; `warn()` is called there."""
  held = b''
  for piece in pieces:
    held += piece
    if match := A_WAV.search(held):
      yield held[: match.start()]
      warn()
      return
    begun = A_WAV_AT_END.search(held, max(0, len(held) - A_WAV_BYTES + 1))
    free = begun.start() if begun else len(held)
    if free:
      yield held[:free]
    held = held[free:]
  yield held


def _begins_wav(file, place):
  file.seek(place)
  return bool(A_WAV.match(file.read(A_WAV_BYTES)))


def rewritten(file, file_bytes):
  """A header that FFmpeg reads in place of the one of a WAV that it does not read as it is meant.

  Args:
    file: open for reading bytes, at its start.
    file_bytes: its size.

  Returns:
    (bytes of the header, up to the sound; (begin, end) of each part of the sound in the file), or None where FFmpeg
    needs no other.
  """
  header = read(file)
  if not header or not header.channels:
    return None
  plain = header.tag in (PCM, FLOAT) and header.container_bits in WHOLE and header.frame_bytes % header.channels == 0
  differs = header.extensible and header.tag == PCM and {header.bits, header.valid_bits} != {header.container_bits}
  differs |= header.is_24_in_32 and not _holds_floats(file, header)
  parts, _ = sound_parts(file, header, file_bytes)
  if not (len(parts) > 1 or (plain and (differs or header.is_odd))):
    return None
  fmt = header.fmt
  if plain:
    frame_bytes, rate = header.frame_bytes, header.rate_hz
    fmt = struct.pack(
      '<HHIIHH', header.tag, header.channels, rate, rate * frame_bytes & LONG_SIZE, frame_bytes, header.container_bits
    )
  head = b'WAVEfmt ' + struct.pack('<I', len(fmt)) + fmt + b'data' + struct.pack('<I', LONG_SIZE)
  return b'RIFF' + struct.pack('<I', LONG_SIZE) + head, parts


def _holds_floats(file, header):
  """Whether the samples of a WAV are floats, as Cool Edit wrote them under the tag of whole numbers.

  These are none of a reasonable size where they are taken for floats.
  """
  file.seek(header.sound_begin)
  while data := file.read(PEEKED):
    if any(data):  # silence tells nothing
      values = struct.unpack(f'<{len(data) // 4}f', data[: len(data) // 4 * 4])
      return all(value == 0 or 2**-40 < abs(value) < 2**40 for value in values)
  return True


def sound_parts(file, header, file_bytes):
  """Finds the chunks with sound in a WAV; WAV files that were joined to it are not looked into.

  Args:
    file: open for reading bytes.
    header: its WavHeader.
    file_bytes: its size.

  Returns:
    (list of (begin, end) in bytes, at least one; None, or a line about sound of later chunks that is missing).
  """
  place, name, size, parts = header.sound_begin, b'data', header.sound_bytes, []
  for _ in range(MAX_CHUNKS):
    end = min(place + size, file_bytes)
    if name == b'data':
      end = end if parts or size else file_bytes
      whole = end - (end - place) % max(1, header.frame_bytes)
      if not parts or whole > place:
        parts.append((place, whole))
      if len(parts) > 1 and ends_early(place, size, file_bytes):
        return parts, f'the last chunk of its sound ends {place + size - file_bytes} bytes too early: truncated'
    skip(file, end, end - place)
    head = file.read(8)
    if len(head) < 8 or head[:4] in FORMS:
      return parts, None
    name, size = struct.unpack('<4sI', head)
    place = file.tell()
  return parts, TOO_MANY.format(MAX_CHUNKS)
