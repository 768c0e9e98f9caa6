"""Checks on a media file before a decoder sees it: regular, not truncated, decompressed."""

import contextlib
import gzip
import os
import pathlib
import shutil
import stat
import struct
import tempfile
import zlib

from audionet_tf.core import files
from audionet_tf.core.errors import MediaError
from audionet_tf.media.containers import chunks, sections, wav_header

MAX_UNPACKED_BYTES = 4 << 30  # of a .gz
LONGEST_SUFFIX = 50  # bytes of one that tells a format, in the name of a decompressed copy
EBML_ID = b'\x1a\x45\xdf\xa3'  # Matroska and WebM
FIRST_BOXES = (b'ftyp', b'styp', b'moov', b'moof', b'mdat', b'wide', b'free', b'skip', b'uuid', b'pnot', b'sidx')
MAX_PARTS = 1_000_000  # boxes or elements that are read; a file with more counts as complete
VITAL_BOXES = (b'moov', b'moof', b'mdat')  # anything after the last of these does no harm


class Copy(type(pathlib.Path())):
  """The path of a temporary copy of the file `original`, which warnings name."""

  original = None


def check_regular(path, may_be_empty=False):
  """Raises MediaError unless `path` is a regular file, or a link to one, and not empty, unless it may be."""
  with reading(path):
    status = os.stat(path)
  if not stat.S_ISREG(status.st_mode):
    raise MediaError(path, 'not a regular file')
  if not status.st_size and not may_be_empty:
    raise MediaError(path, 'empty file')


@contextlib.contextmanager
def reading(path):
  """Context in which OSError, as of a network that is gone, becomes MediaError. Nothing may be written in it."""
  try:
    yield
  except OSError as error:
    raise MediaError(path, (error.strerror or 'cannot be read').lower()) from None


@contextlib.contextmanager
def readable(path, opener=None):
  """Context with `opener(path)`, by default `open(path, 'rb')`, as `reading`."""
  with reading(path), opener(path) if opener else open(path, 'rb') as file:
    yield file


@contextlib.contextmanager
def decompressed(path, folder=None):
  """The path of the file itself, or the Copy of it, temporary and decompressed, where `path` ends in .gz.

  The copy is deleted at the end of the `with` block.

  Args:
    path: a file.
    folder: where the copy is written, of the output; None for the system's temporary folder.

  Raises:
    MediaError: the .gz is damaged, holds more than MAX_UNPACKED_BYTES, or needs more than half of the free space: a
      small file must not fill a disk that others write to.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() != '.gz':
    yield path
    return
  check_regular(path)
  place, is_whole = folder or tempfile.gettempdir(), False
  suffix = pathlib.Path(path.stem).suffix
  suffix = suffix if len(os.fsencode(suffix)) <= LONGEST_SUFFIX else ''
  where = 'on the disk of the output' if folder else f'in {place}'  # that folder has another name in every run
  no_space = MediaError(path, f'unpacked it needs more than half of the space free {where}')
  try:
    with tempfile.NamedTemporaryFile(prefix='unpacked-', suffix=suffix, dir=folder) as out:
      with reading(path):
        packed = gzip.open(path)  # noqa: SIM115
      with packed:
        while block := _gzip_block(path, packed):
          if out.tell() + len(block) > MAX_UNPACKED_BYTES:
            raise MediaError(path, f'holds more than {MAX_UNPACKED_BYTES >> 30} GiB, the limit of a .gz')
          if out.tell() + 2 * len(block) > shutil.disk_usage(place).free:
            raise no_space
          out.write(block)
      out.flush()
      is_whole = True
      copy = Copy(out.name)
      copy.original = path
      yield copy
  except OSError as error:
    if is_whole or not files.is_full(error):
      raise
    raise no_space from None


def _gzip_block(path, packed):
  """The next MiB of a GzipFile, b'' at the end."""
  try:
    return packed.read(1 << 20)
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise MediaError(path, f'damaged or truncated .gz ({error})') from None
  except OSError as error:
    raise MediaError(path, (error.strerror or str(error)).lower()) from None


def is_truncated(path, begin=0, end=None):
  """Whether a file, or a recording from `begin` to `end` in it, ends before the length that its own headers declare.

  MP4 and QuickTime, Matroska and WebM, AVI, WAV, AIFF, AU and those of `chunks` are checked, all other formats count as
  complete. FFmpeg decodes a truncated file of these formats up to its end and reports nothing. Sizes that are
  placeholders declare nothing (`wav_header`).
  """
  with readable(path, lambda path: sections.part(path, begin, end)) as file:
    size, head = file.length, file.read(12)
    file.seek(0)
    if head[:4] in wav_header.FORMS:  # a recording that is cut before another, `wav_header.recordings` finds
      size = file.available
    if head[:4] == EBML_ID:
      return _matroska_end(file, size) > size
    if head[:4] == b'RIFF' and head[8:12] in (b'AVI ', b'WAVE'):
      declared = struct.unpack('<I', head[4:8])[0]
      wav = wav_header.read(file)
      sound_ends_early = not wav or wav_header.ends_early(wav.sound_begin, wav.sound_bytes, size)
      return sound_ends_early and wav_header.ends_early(8, declared, size)
    if head[:4] in (b'RF64', b'BW64'):
      wav = wav_header.read(file)
      return not wav or wav_header.ends_early(wav.sound_begin, wav.sound_bytes, size, wav_header.LONG_PLACEHOLDER)
    if head[:4] == b'.snd' and len(head) == 12:
      return wav_header.ends_early(*struct.unpack('>II', head[4:]), size)
    if head[:4] in chunks.FORMATS:
      return chunks.sound_is_cut(file, size)
    if head[:4] == b'FORM' and head[8:12] in (b'AIFF', b'AIFC'):
      declared = struct.unpack('>I', head[4:8])[0]
      if 0 < declared < wav_header.PLACEHOLDER_BYTES:
        return wav_header.ends_early(8, declared, size)
      return chunks.sound_is_cut(file, size, chunks.AIFF_SOUND)
    if head[4:8] in FIRST_BOXES:
      return _boxes_end(file, size) > size
  return False


def _boxes_end(file, size):
  """Declared end of the last vital top-level box of an MP4 or QuickTime file, in bytes."""
  return max((end for kind, end in boxes(file, size) if kind in VITAL_BOXES), default=0)


def boxes(file, size):
  """Yields (kind, declared end in bytes) of the top-level boxes of an MP4 or QuickTime file of `size` bytes."""
  position = 0
  for _ in range(MAX_PARTS):
    file.seek(position)
    header = file.read(16)
    if len(header) < 8:
      break
    length, kind = struct.unpack('>I4s', header[:8])
    if length == 1 and len(header) == 16:
      length = struct.unpack('>Q', header[8:])[0]
    if length < 8:  # 0: to the end of the file; else not a box
      break
    position += length
    yield kind, position
    if position >= size:
      break


def _matroska_end(file, size):
  """Declared end of the last element of a Matroska file, in bytes.

  Elements of unknown size (segments and clusters written to a pipe) are entered, all others are skipped.
  """
  end = 0
  for _ in range(MAX_PARTS):
    if end >= size:
      break
    file.seek(end)
    if not _element(file, keep_marker=True):  # its id
      break
    length = _element(file, keep_marker=False)
    end = file.tell() + (length or 0)
  return end


def _element(file, keep_marker):
  """Reads an EBML number of variable length; None where it is missing or the reserved value 'unknown'."""
  first = file.read(1)
  if not first or not first[0]:
    return None
  width = 9 - first[0].bit_length()
  following = file.read(width - 1)
  if len(following) < width - 1:
    return None
  value = int.from_bytes(first + following, 'big')
  if keep_marker:
    return value
  ones = (1 << (7 * width)) - 1
  value &= ones
  return None if value == ones else value
