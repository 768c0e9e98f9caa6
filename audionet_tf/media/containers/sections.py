"""Parts of a file that read like a file, and where a recording begins behind the tags of a music program.

Programs that tag any file put ID3v2 before it. FFmpeg looks behind the tag for some formats only, and the checks of
headers here would look at the tag.
"""

import bisect
import io
import itertools
import os

# First bytes of formats that are read from behind the tag; FFmpeg itself finds MPEG's, which ID3 was made for.
STARTS = (b'RIFF', b'RIFX', b'RF64', b'BW64', b'riff', b'FORM', b'caff', b'.snd', b'fLaC', b'OggS', b'#!AM', b'.RMF')
STARTS += (b'\x1a\x45\xdf\xa3', b'\x30\x26\xb2\x75')  # Matroska, ASF
TAG_HEAD = 10
MOST_TAGS = 100


class Section(io.FileIO):
  """Parts of a file that read like a file.

  Attributes:
    head: bytes that are read in front of them.
    spans: list of (begin, end) of the parts in the file.
    starts: where each part begins in what is read, list of int.
    length: number of bytes.
  """

  def __init__(self, path, begin=0, end=None):
    super().__init__(path, 'rb')
    size = os.fstat(self.fileno()).st_size
    self._lay(b'', [(begin, size if end is None else min(end, size))])

  def _lay(self, head, spans):
    self.head, self.spans, self.place = head, spans, 0
    *self.starts, self.length = itertools.accumulate((end - begin for begin, end in spans), initial=len(head))

  @property
  def begin(self):
    """Where the first part begins in the file."""
    return self.spans[0][0]

  @property
  def available(self):
    """Bytes from there to the end of the file, whatever the end of the last part."""
    return os.fstat(self.fileno()).st_size - self.begin

  def replace(self, head, spans):
    """Makes a Section of one part other bytes, followed by (begin, end) of that part."""
    self._lay(head, [(self.begin + begin, self.begin + end) for begin, end in spans])

  def seek(self, offset, whence=os.SEEK_SET):
    self.place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.length}[whence])
    return self.place

  def tell(self):
    return self.place

  def read(self, size=-1):
    left = max(0, self.length - self.place)
    left = left if size is None or size < 0 else min(size, left)
    pieces = [self.head[self.place : self.place + left]]
    left -= len(pieces[0])
    self.place += len(pieces[0])
    number = bisect.bisect_right(self.starts, self.place) - 1  # parts may be thousands: not all are walked
    while left and number < len(self.spans):
      begin, end = self.spans[number]
      skipped = self.place - self.starts[number]
      super().seek(begin + skipped)
      piece = super().read(min(left, end - begin - skipped))
      pieces.append(piece)
      left -= len(piece)
      self.place += len(piece)
      number = number + 1 if self.place - self.starts[number] == end - begin else len(self.spans)  # the file shrank
    return b''.join(pieces)


def part(path, begin=0, end=None):
  """The Section of a recording in a file, from `begin` to `end` in bytes; by default of the file, as `behind_tags`."""
  return Section(path, begin, end) if begin or end else behind_tags(path)


def behind_tags(path):
  """The Section of a file from behind the ID3v2 tags at its start, where one of STARTS or an MP4 follows them."""
  file = Section(path)
  end = tags_end(file)
  head = file.read(8)
  if head[:4] in STARTS or head[4:] == b'ftyp':
    file.replace(b'', [(end, file.length)])
  file.seek(0)
  return file


def tags_end(file):
  """Length of the ID3v2 tags at the start of an open file, which is left at their end."""
  end = 0
  for _ in range(MOST_TAGS):
    file.seek(end)
    head = file.read(TAG_HEAD)
    size = head[6:]
    if len(head) < TAG_HEAD or head[:3] != b'ID3' or max(size) > 127:  # four times seven bits
      break
    footer = TAG_HEAD if head[5] & 0x10 else 0
    end += TAG_HEAD + sum(value << 7 * place for place, value in enumerate(reversed(size))) + footer
  file.seek(end)
  return end
