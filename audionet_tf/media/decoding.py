"""Sound and pictures of a media file by presentation time. The only module that knows PyAV.

Time zero is the start of the file's timeline: the earliest start of its streams. Files come from strangers: they
are opened as local regular files of listed formats, their pictures are limited in size, and whatever a decoder
raises becomes MediaError. A hang, a crash or a greedy decoder needs a process around it (`tfrecords.worker`).
"""

import contextlib
import math
import os
from fractions import Fraction

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.stream import Discard, Disposition
from av.video.reformatter import Interpolation, VideoReformatter

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import integrity, mixdown, timeline

VIDEO_FORMATS = (
  'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,ogg,gif,dv,mxf,nut,rm,ivf,'
  'h264,hevc,m4v,vob,swf,wtv'
)
SOUND_FORMATS = (
  'wav,w64,mp3,flac,aac,aiff,au,caf,ac3,eac3,amr,amrnb,amrwb,ape,dts,tta,tak,wv,mpc,mpc8,voc,dsf,loas,xwma'
)
# PyAV 18 stops at metadata that are no UTF-8 unless told otherwise; PyAV 19 does not, and has no such argument.
READ_ANY_METADATA = {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}
MAX_PIXELS = 1 << 25  # of one decoded picture: 8K, 7680 x 4320, fits
MILLISECOND = Fraction(1, 1000)
SPARE_ERRORS = 2  # undecodable packets that any stream may have, and one in a hundred more
# What corrupt files have been seen to raise out of PyAV.
DECODER_ERRORS = (av.FFmpegError, IndexError, MemoryError, UnicodeDecodeError, OverflowError, ZeroDivisionError)


def decode_audio(path, sample_rate_hz, mono='mean', max_seconds=None):
  """The sound of a file, resampled with a low-pass filter and mixed down, piece by piece.

  Args:
    path: a media file.
    sample_rate_hz: of the sound wanted.
    mono: 'mean' of all channels, or the 'first'.
    max_seconds: where to stop; None for the end.

  Yields:
    (start_sample, int16 [n]): contiguous, about a second each; sample i of the whole is at presentation time
    i / sample_rate_hz without delay. The first start_sample is above zero where the sound starts late. Gaps are zeros.

  Raises:
    MediaError: unreadable, truncated or damaged file, or no sound in it.
  """
  with opened(path) as container:
    stream = _best(path, container, 'audio', 'no sound')
    blocks = mixdown.mono_blocks(_frames(path, container, stream), time_zero(container), mono)
    yield from pcm_chunks(blocks, sample_rate_hz, max_seconds)


def pcm_chunks(blocks, sample_rate_hz, max_seconds=None):
  """Decoded sound as `sound_chunks` gives it.

  Args:
    blocks: (start, rate, f32 [n]) of `mixdown.mono_blocks`.
    sample_rate_hz, max_seconds: as there.

  Raises:
    UserError: as `timeline.fill_gaps`.
  """
  limit = None if max_seconds is None else math.ceil(max_seconds * sample_rate_hz)
  for start, samples in _resampled(timeline.coalesce(timeline.fill_gaps(blocks)), sample_rate_hz):
    samples = samples if limit is None else samples[: max(0, limit - start)]
    if samples.size:
      yield start, np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    if limit is not None and start + samples.size >= limit:
      return


def declared_duration(path):
  """How long a file says that it is; None where it does not say. A stranger may say anything.

  Raises:
    MediaError: unreadable or truncated file.
  """
  with opened(path) as container:
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _resampled(blocks, sample_rate_hz):
  """(start, f32 [n]) at the new rate, `start` >= 0; contiguous blocks in, contiguous blocks out, no delay."""
  resampler, position, first, last = None, 0, 0, 0
  for start, rate, samples in blocks:
    last = math.ceil(Fraction((start + samples.size) * sample_rate_hz, rate))
    if resampler is None:
      resampler = AudioResampler('fltp', 'mono', sample_rate_hz)
      # Begin on an instant that is a sample of both rates, so that every output sample lies on the grid from zero.
      divisor = math.gcd(rate, sample_rate_hz)
      lead = start % (rate // divisor)
      position = (start - lead) * sample_rate_hz // rate
      first = max(0, math.ceil(Fraction(start * sample_rate_hz, rate)))
      samples = np.concatenate([np.zeros(lead, np.float32), samples])
    for piece in _pulled(resampler, samples, rate):
      yield from _from(first, position, piece)
      position += piece.size
  if resampler is not None:
    for piece in _pulled(resampler, None, rate):
      yield from _from(first, position, piece[: max(0, last - position)])
      position += piece.size


def _from(first, position, piece):
  """What lies at or behind `first` of a piece that starts at `position`, where anything does."""
  if position + piece.size > first:
    yield max(first, position), piece[max(0, first - position) :]


def _pulled(resampler, samples, rate):
  """f32 pieces that the resampler gives for one block, or for None what is left in it."""
  frame = None
  if samples is not None:
    if not np.isfinite(samples).all():  # float sound of a stranger may hold anything
      samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
    frame = av.AudioFrame.from_ndarray(samples[None], 'fltp', 'mono')
    frame.sample_rate = rate
  return [piece.to_ndarray()[0] for piece in resampler.resample(frame) if piece is not None]


def decode_frames(path):
  """The pictures of a file in order of presentation.

  Yields:
    (start_seconds, end_seconds, frame): exact Fractions since time zero, start < end = start of the next;
    `frame` is for `picture_maker`.

  Raises:
    MediaError: unreadable, truncated or damaged file, or no moving picture in it.
  """
  with opened(path) as container:
    stream = _best(path, container, 'video', 'no picture')
    zero, rate = time_zero(container), stream.guessed_rate or stream.average_rate
    usual = 1 / rate if rate else Fraction(1, 25)
    shown, shown_start, end = None, None, Fraction(0)
    for frame in _frames(path, container, stream):
      start = end if frame.pts is None else frame.pts * frame.time_base - zero
      if shown is None:
        start = Fraction(0) if 0 < start <= timeline.LATE_SECONDS else start
      elif start <= shown_start:  # a clock that runs back: what is on the screen stays
        continue
      else:
        yield shown_start, start, shown
      shown, shown_start = frame, start
      end = start + (frame.duration * frame.time_base if frame.duration else usual)
    if shown is not None:
      # Start and duration are rounded to ticks: a clip of one second must not end at 0.999.
      yield shown_start, end + min(stream.time_base, MILLISECOND), shown


def frame_resizer(size):
  """A function that makes the frames of one video small: frame -> u8 [size, size, 3] RGB.

  Pictures are stretched to a square, filtered against aliasing, and stand upright as the display matrix of the first
  one says.
  """
  reformatter, matrix, first = VideoReformatter(), None, True

  def small(frame):
    nonlocal matrix, first
    if first:
      matrix, first = display_matrix(frame), False
    try:
      picture = reformatter.reformat(frame, size, size, 'rgb24', interpolation=Interpolation.BILINEAR, threads=1)
    except DECODER_ERRORS as error:
      raise UserError(f'a picture cannot be converted to RGB ({_brief(error)})') from None
    return picture.to_ndarray() if matrix is None else apply_rotation(picture.to_ndarray(), matrix)

  return small


def display_matrix(frame):
  """int32 [9], how a picture is to be turned; None for not at all.

  To be asked of a video's first picture only: asking ties a frame into a cycle, and frames are large.
  """
  found = frame.side_data.get('DISPLAYMATRIX')
  return None if found is None else np.frombuffer(found, np.int32, 9).copy()


def apply_rotation(picture, matrix):
  """Turns and flips [h, w, channels] by the nearest of the eight ways a square lies on itself.

  `matrix` is int32 [9], row major: (x, y) is shown at (a x + c y, b x + d y).
  """
  a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
  across, down = a, d
  if abs(b) + abs(c) > abs(a) + abs(d):
    picture = picture.transpose(1, 0, 2)
    across, down = c, b
  picture = picture[:, ::-1] if across < 0 else picture
  picture = picture[::-1] if down < 0 else picture
  return np.ascontiguousarray(picture)


@contextlib.contextmanager
def opened(path):
  """An open container of a listed format; what its reader raises while open becomes MediaError."""
  integrity.check_regular(path)
  # An absolute path is never taken for a protocol; the lists keep FFmpeg from following a text file to other files.
  options = {
    'protocol_whitelist': 'file',
    'format_whitelist': f'{VIDEO_FORMATS},{SOUND_FORMATS}',
    'max_pixels': str(MAX_PIXELS),
    # Bytes in a packet of WAV, else 4096: fewer, larger frames. Opening looks at dozens of them, however large.
    'max_size': str(1 << 14),
  }
  try:
    container = av.open(os.path.abspath(path), options=options, **READ_ANY_METADATA)
  except DECODER_ERRORS as error:
    raise MediaError(path, f'not a media file of a known format, or truncated ({_brief(error)})') from None
  with container:
    if integrity.is_truncated(path):
      raise MediaError(path, 'truncated: the file ends before its contents do')
    try:
      yield container
    except MediaError:
      raise
    except UserError as error:
      raise MediaError(path, str(error)) from None
    except DECODER_ERRORS as error:
      raise MediaError(path, f'damaged ({_brief(error)})') from None


def _best(path, container, kind, missing):
  """FFmpeg's choice among the streams of a kind, cover pictures aside; MediaError(`missing`) where there is none."""
  covers = Disposition.attached_pic | Disposition.timed_thumbnails
  usable = [s for s in container.streams if s.type == kind and not s.disposition & covers and s.codec_context]
  if not usable:
    raise MediaError(path, missing)
  best = container.streams.best(kind)
  chosen = best if best in usable else usable[0]
  for stream in container.streams:
    stream.discard = Discard.default if stream is chosen else Discard.all
  chosen.codec_context.thread_count = 1
  chosen.codec_context.options = {'max_pixels': str(MAX_PIXELS)}
  return chosen


def time_zero(container):
  """Start of the timeline as an exact Fraction: that of the stream that the container rounds to microseconds."""
  rounded = Fraction(container.start_time or 0, 1_000_000)
  starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
  near = [start for start in starts if abs(start - rounded) <= Fraction(1, 1_000_000)]
  return near[0] if near else rounded


def _frames(path, container, stream):
  """Decoded frames. A packet that cannot be decoded is passed over, MediaError where there are many."""
  packets, errors, frames = 0, 0, 0
  for packet in container.demux(stream):
    packets += 1
    try:
      decoded = packet.decode()
    except (av.FFmpegError, ValueError) as error:  # the latter from PyAV 19, where a decoder does not open
      errors += 1
      if errors > SPARE_ERRORS + packets / 100:
        raise MediaError(path, f'damaged {stream.type} ({_brief(error)})') from None
      continue
    frames += len(decoded)
    yield from decoded
  if not frames:
    raise MediaError(path, f'no {stream.type} in it can be decoded')


def _brief(error):
  text = ' '.join(str(getattr(error, 'strerror', None) or error).split())
  return text[:120] or type(error).__name__
