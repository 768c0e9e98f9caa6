"""Recordings that were joined byte by byte into one file, and which of them are decoded.

Those of MPEG, ADTS and Ogg follow one another in the stream (`continuity`). Of others FFmpeg reads the first alone.
WAV, FLAC, AIFF, CAF, W64, AMR, TTA, VOC and NUT, and Ogg whose format changes, are opened one by one; in MP4, FLV
and ASF the rest is reported; pictures of NUT are refused (`decoding`).
"""

import itertools
import re
import struct

from audionet_tf.media.containers import integrity, sections, wav_header

OGG_PAGE, OGG_PAGE_HEAD = b'OggS', 27
FIRST_PAGE = 2  # flag of the first page of a stream in Ogg
IDENTIFICATION_BYTES = 64
MOST = wav_header.MAX_RECORDINGS  # recordings in one file that are decoded
BLOCK_BYTES, LONGEST_MARK = 1 << 20, 32

# First bytes of a format to those by which every recording begins, too many to occur by chance.
OPENED = {
  b'fLaC': rb'fLaC[\x00\x80]\x00\x00\x22',
  b'FORM': rb'FORM.{4}AIF[FC]',
  b'caff': rb'caff\x00\x01\x00\x00desc',
  b'riff': rb'riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00',  # W64
  b'#!AM': rb'#!AMR(?:-WB)?\n',
  b'TTA1': rb'TTA1[\x01\x02]\x00[\x01-\x08]\x00',
  b'Crea': rb'Creative Voice File\x1a',  # VOC
  b'nut/': rb'nut/multimedia container\x00',
}
REPORTED = {
  b'FLV\1': rb'FLV\x01.\x00\x00\x00\x09\x00\x00\x00\x00',
  b'\x30\x26\xb2\x75': rb'\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c',  # ASF
}


def recordings(path):
  """The recordings in a file that must be opened one by one.

  Returns:
    list of (begin, end) in bytes, of one for most files; where it is longer than MOST, not all were looked for.
  """
  with integrity.readable(path, sections.behind_tags) as file:
    size, lead, found, mark = file.length, file.begin, [], file.read(4)
    file.seek(0)
    if mark in wav_header.FORMS:
      found = wav_header.recordings(file, size)
    elif mark == OGG_PAGE:
      found = _ogg_links(file, size)
    elif mark in OPENED:
      begins = _places(file, OPENED[mark])
      found = list(itertools.pairwise([*begins, size]))
  if not found or found[0][0]:
    found = [(0, size)]
  return [(lead + begin, lead + end) for begin, end in found]


def _places(file, pattern):
  """Where a pattern occurs in an open file, list of int. The file is not mapped: that counts as memory."""
  places, place, held = [], 0, b''
  file.seek(0)
  while (block := file.read(BLOCK_BYTES)) and len(places) <= MOST:
    data = held + block
    found = (match.span() for match in re.finditer(pattern, data, re.DOTALL))
    places += [place + begin for begin, end in found if end > len(held)]
    held = data[-LONGEST_MARK:]
    place += len(data) - len(held)
  return places


def _ogg_links(file, size):
  """(begin, end) of the links of a chained Ogg whose sound changes its format; an empty list for any other."""
  links, formats, begin, in_heads = [], [], 0, False
  while begin < size and len(links) <= MOST:
    file.seek(begin)
    head = file.read(OGG_PAGE_HEAD)
    if len(head) < OGG_PAGE_HEAD or head[:4] != OGG_PAGE:
      break
    lengths = file.read(head[26])
    if head[5] & FIRST_PAGE:
      if not in_heads:
        links.append(begin)
        formats.append(set())
      formats[-1] |= _sound_format(file.read(IDENTIFICATION_BYTES))
    in_heads = bool(head[5] & FIRST_PAGE)
    begin += OGG_PAGE_HEAD + len(lengths) + sum(lengths)
  changes = any(other != formats[0] for other in formats[1:])
  return list(zip(links, [*links[1:], size], strict=True)) if changes else []


def _sound_format(packet):
  """{(codec, channels, rate)} of the first packet of a stream in Ogg; an empty set for pictures and unknown codecs."""
  if packet[:7] == b'\1vorbis' and len(packet) >= 16:
    return {('vorbis', *struct.unpack('<BI', packet[11:16]))}
  if packet[:8] == b'OpusHead' and len(packet) >= 10:
    return {('opus', packet[9])}
  if packet[:5] == b'\x7fFLAC' and len(packet) >= 30:
    return {('flac', packet[27:30])}  # 20 bits of the rate, 3 of the channels, one of the width
  if packet[:8] == b'Speex   ' and len(packet) >= 52:
    return {('speex', *struct.unpack('<I', packet[36:40]), *struct.unpack('<I', packet[48:52]))}
  return set()


def unread(path):
  """A line about what is not decoded behind the first recording in MP4, QuickTime, FLV and ASF; else None."""
  with integrity.readable(path, sections.behind_tags) as file:
    head, count = file.read(8), 0
    if head[4:] in integrity.FIRST_BOXES:
      count = sum(kind == b'moov' for kind, _ in integrity.boxes(file, file.length))
    elif head[:4] in REPORTED:
      count = len(_places(file, REPORTED[head[:4]]))
  are = 'is' if count == 2 else 'are'
  return (
    f'{count - 1} more behind the first recording in it {are} not read; join by ffmpeg -f concat' if count > 1 else None
  )
