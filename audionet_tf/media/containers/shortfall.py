"""Sound that a file declares and does not hold: the end of a download or a recording is missing.

Formats whose headers hold the length of the file itself are errors (`integrity`). These declare how long they play, or
end in the middle of something. FFmpeg decodes what is there and reports nothing.
"""

import dataclasses
import os
import re
import struct

import av

from audionet_tf.media.containers import sections, wav_header

# FFmpeg's names of formats that declare how long they play, to seconds by which sound may be shorter: codecs begin late
# and end with a frame. For other formats FFmpeg estimates it from the size of the file.
DECLARING = {'flac': 0.01, 'wv': 0.01, 'tta': 0.01, 'aiff': 0.01, 'mp3': 0}
DECLARING |= {'mov,mp4,m4a,3gp,3g2,mj2': 0.25, 'flv': 0.25}
MP3_COUNTS = (b'Xing', b'Info', b'VBRI')  # marks of a header with the number of frames, in place of the first frame
MP3_HEAD_BYTES, HAS_FRAMES, MPEG_1 = 64, 1, 0x08
MP3_SYNC = re.compile(rb'\xff[\xe0-\xff]')  # by which a frame begins
MOST_MP3_PADDING = 1 << 16  # zeros that a tag leaves behind it
MP3_SPARE_FRAMES = 6  # of which decoders drop the encoder's delay and padding
OGG_PAGE, OGG_PAGE_HEAD, MOST_OGG_PAGE = b'OggS', 27, 65307
FLV_TAG_HEAD = 11
SPARE_SECONDS = 0.1  # that need not be decoded: a last frame that is cut, a tag amid joined MP3


@dataclasses.dataclass
class Packets:
  """The packets of a sound.

  Attributes:
    count, bytes: of all.
    skipped: list of the bytes of each that cannot be decoded.
    reason: why the last of these cannot.
  """

  count: int = 0
  bytes: int = 0
  skipped: list = dataclasses.field(default_factory=list)
  reason: str = ''

  def lost(self, seconds, is_cut):
    """A line about those that cannot be decoded, None where they hold little.

    Args:
      seconds: of sound in the others.
      is_cut: whether the end is known to be missing, and with it one packet.
    """
    bad = sum(self.skipped)
    if len(self.skipped) <= is_cut or bad * seconds <= SPARE_SECONDS * (self.bytes - bad):
      return None
    which = f'{len(self.skipped)} of the {self.count} packets of its sound'
    return f'{which} cannot be decoded ({self.reason}): what was in them is missing'


def missing(file, container, stream, zero, end_seconds):
  """A line about what is missing at the end of a sound; None where nothing is known to be.

  Args:
    file: the recording, open for reading bytes.
    container, stream: of PyAV, opened for it.
    zero: seconds of the container's clock at which the timeline starts.
    end_seconds: where the decoded sound ends, from there.
  """
  name, declared = container.format.name, None
  if name == 'wav':
    return _missing_in_wav(file)
  if name == 'ogg':
    return 'its last page is cut off: what follows is missing' if _ends_in_ogg_page(file) else None
  if name == 'mp3':
    declared = _mp3_seconds(file, stream)
  elif name == 'flv':
    declared = container.duration / av.time_base if container.duration and _ends_in_flv_tag(file) else None
  elif name in DECLARING and stream.duration and not (name == 'aiff' and _is_placeholder(stream)):
    declared = float(((stream.start_time or 0) + stream.duration) * stream.time_base - zero)
  if declared is None or end_seconds > declared - DECLARING[name]:
    return None
  return f'its header declares {declared:.2f} s, {end_seconds:.2f} s of sound are there: the end is missing'


def _is_placeholder(stream):
  """Whether an AIFF declares so many samples as programs do that write into pipes (`wav_header`)."""
  context = stream.codec_context
  return stream.duration * context.layout.nb_channels * context.format.bytes >= wav_header.PLACEHOLDER_BYTES


def _missing_in_wav(file):
  """As `missing`. Of the two sizes of a WAV, its own and that of its sound, one may be a placeholder (`wav_header`)."""
  header = wav_header.read(file)
  if not header:
    return None
  file.seek(4)
  (own_bytes,) = struct.unpack('<I', file.read(4))
  size = file.available
  is_whole = abs(8 + own_bytes - size) <= wav_header.HEADER_BYTES
  is_sound_known = 0 < header.sound_bytes < wav_header.PLACEHOLDER_BYTES
  if not is_whole and wav_header.ends_early(header.sound_begin, header.sound_bytes, size):
    return f'it ends {header.sound_begin + header.sound_bytes - size} bytes too early: truncated'
  if not is_sound_known and wav_header.ends_early(8, own_bytes, size):
    return f'it ends {8 + own_bytes - size} bytes too early: truncated'
  return wav_header.sound_parts(file, header, file.length)[1]


def _mp3_seconds(file, stream):
  """Least seconds of the frames that an MP3 counts in place of its first frame; None where it counts none.

  FFmpeg takes the count for wrong where the size of the file does not fit it, as in a file that is cut.
  """
  sections.tags_end(file)
  head = file.read(MOST_MP3_PADDING).lstrip(b'\0')[:MP3_HEAD_BYTES]
  place = max(head.find(mark) for mark in MP3_COUNTS)
  count = head[place:][14:18] if head[place:].startswith(b'VBRI') else head[place:][8:12]
  syncs = [match.start() for match in MP3_SYNC.finditer(head[: max(0, place)])]
  if not syncs or len(count) < 4 or not (head[place + 7] & HAS_FRAMES or head[place:].startswith(b'VBRI')):
    return None
  frame_samples = 1152 if head[syncs[-1] + 1] & MPEG_1 else 576
  frames = int.from_bytes(count, 'big') - MP3_SPARE_FRAMES
  return frames * frame_samples / stream.codec_context.sample_rate


def _ends_in_ogg_page(file):
  """Whether an Ogg ends before its last page does."""
  size = file.seek(0, os.SEEK_END)
  file.seek(max(0, size - MOST_OGG_PAGE))
  tail = file.read(MOST_OGG_PAGE)
  page = tail[max(0, tail.rfind(OGG_PAGE)) :]
  if page[:4] != OGG_PAGE:
    return False
  lengths = page[OGG_PAGE_HEAD : OGG_PAGE_HEAD + page[OGG_PAGE_HEAD - 1]] if len(page) >= OGG_PAGE_HEAD else b''
  return len(page) < OGG_PAGE_HEAD or len(page) < OGG_PAGE_HEAD + page[OGG_PAGE_HEAD - 1] + sum(lengths)


def _ends_in_flv_tag(file):
  """Whether an FLV ends inside a tag: its last four bytes are not the length of the one before them."""
  size = file.seek(-4, os.SEEK_END)
  (length,) = struct.unpack('>I', file.read(4))
  if not FLV_TAG_HEAD <= length <= size:
    return True
  file.seek(size - length + 1)
  return int.from_bytes(file.read(3), 'big') != length - FLV_TAG_HEAD
