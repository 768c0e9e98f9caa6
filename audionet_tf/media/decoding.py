"""Sound and pictures of a media file by presentation time.

Time zero is the start of the file's timeline: the earliest start of its streams. Files are untrusted: they are opened
as local regular files of listed formats, the size of their pictures is limited, and whatever a decoder raises becomes
MediaError. Only a separate process protects from a decoder that hangs, crashes or exhausts memory (`tfrecords.worker`).
"""

import contextlib
import itertools
import math
import os
import sys
from fractions import Fraction

import av
import numpy as np
from av.audio.resampler import AudioResampler

from audionet_tf.core import text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import mixdown, timeline
from audionet_tf.media.containers import (
  chunks,
  continuity,
  integrity,
  joined,
  picture_order,
  sections,
  shortfall,
  wav_header,
)

VIDEO_FORMATS = (
  'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,ogg,gif,dv,mxf,nut,rm,ivf,'
  'h264,hevc,m4v,vob,swf,wtv'
)
SOUND_FORMATS = (
  'wav,w64,mp3,flac,aac,aiff,au,caf,ac3,eac3,amr,amrnb,amrwb,ape,dts,tta,tak,wv,mpc,mpc8,voc,dsf,loas,xwma'
)
COUNTED_FORMATS = ('aac', 'ac3', 'eac3', 'loas', 'mp3')  # frames without stamps: FFmpeg counts them at the first rate
# PyAV 18 stops at metadata that are not UTF-8 by default; PyAV 19 does not, and has no such argument.
READ_ANY_METADATA = {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}
MAX_PIXELS = 1 << 25  # of one decoded picture: 8K, 7680 x 4320, fits
# Decoded MP3 may exceed full scale and is clipped; values beyond this are on another scale.
MAX_PEAK = 4.0
MILLISECOND = Fraction(1, 1000)
SPARE_ERRORS = 2  # undecodable packets allowed in any stream, plus one per hundred packets
LEADING_ERRORS = 100  # and before the first that decodes: a recording may begin inside a frame or a group of pictures
TRUNCATED = 'truncated: {} ends before its contents do'
# Exceptions that PyAV was seen to raise on corrupt files.
DECODER_ERRORS = (av.FFmpegError, IndexError, MemoryError, UnicodeDecodeError, OverflowError, ZeroDivisionError)


def decode_audio(path, sample_rate_hz, mono='mean', max_seconds=None, warn=None):
  """Decodes the sound of a file, mixes it down to one channel and resamples it with a low-pass filter.

  Args:
    path: a media file.
    sample_rate_hz: int, rate of the output.
    mono: 'mean' of all channels, or the 'first' channel.
    max_seconds: presentation time at which to stop; None decodes to the end.
    warn: function that is called with a line about what is lost of the sound; None prints it on stderr.

  Yields:
    (start_sample, int16 [n]): contiguous chunks of about a second. Sample i is at presentation time
    i / sample_rate_hz; the resampler adds no delay. The first start_sample is above zero where the sound starts late.
    Gaps are filled with zeros.

  Raises:
    MediaError: the file is unreadable, truncated or damaged, or has no sound.
  """
  warn = warn or printer(path)
  integrity.check_regular(path)
  recordings = joined.recordings(path)
  with integrity.reading(path):
    is_cut = recordings[-1][1] > os.path.getsize(path)
  if is_cut:
    raise MediaError(path, TRUNCATED.format('the file'))
  if line := joined.unread(path):
    warn(line)
  if len(recordings) > joined.MOST:
    recordings = recordings[: joined.MOST]
    warn(f'more than {joined.MOST:,} recordings are joined in it; those behind are not read: split the file')
  parts = (_recording(path, *part, number > 0, mono, warn) for number, part in enumerate(recordings))
  blocks = itertools.chain.from_iterable(parts)
  yield from pcm_chunks(blocks, sample_rate_hz, max_seconds, warn)


def _recording(path, begin, end, follows, mono, warn):
  """Yields (start, rate, f32 [n]) of one of `joined.recordings`, start None where it follows the one before."""
  with opened(path, begin, end) as container:
    stream, came, packets = _best(path, container, 'audio', 'no sound'), 0.0, shortfall.Packets()
    zero = time_zero(container)
    blocks = mixdown.mono_blocks(_frames(path, container, stream, packets), zero, mono)
    if container.format.name in COUNTED_FORMATS:
      blocks = timeline.without_starts_after_a_change(blocks)
    for start, rate, samples in blocks:
      came = (came if start is None else start / rate) + len(samples) / rate
      yield None if follows else start, rate, samples
    with sections.Section(path, begin, end) as file:
      end = shortfall.missing(file, container, stream, zero, came)
    for line in (end, packets.lost(came, is_cut=bool(end))):
      if line:
        warn(line)


def printer(path):
  """A function that prints a warning about a file, the original of a copy, on stderr, in one line."""
  name = getattr(path, 'original', None) or path
  return lambda message: print(text.printable(f'warning: {name}: {message}'), file=sys.stderr)


def pcm_chunks(blocks, sample_rate_hz, max_seconds=None, warn=None, block_seconds=1):
  """Resamples mono sound and converts it to int16.

  Args:
    blocks: iterable of (start, rate, f32 [n] in [-1, 1]), from `mixdown.mono_blocks`: `start` in samples of `rate` from
      time zero, None where unknown.
    sample_rate_hz: int, rate of the output.
    max_seconds: presentation time at which to stop; None converts everything.
    warn: None, or a function that is called with a line where samples are far beyond full scale, as in a float WAV
      with values of int16. They are clipped: what their full scale is, the file does not say. Also for `fill_gaps`.
    block_seconds: of sound that the resampler gets at least at once.

  Yields:
    (start_sample, int16 [n]): contiguous chunks of about `block_seconds`, gaps filled with zeros.

  Raises:
    UserError: the sample rate is too high, or gaps are too long (`timeline.fill_gaps`).
  """
  limit = None if max_seconds is None else math.ceil(max_seconds * sample_rate_hz)
  placed = timeline.fill_gaps(blocks, warn)
  for start, samples in _resampled(timeline.coalesce(placed, block_seconds), sample_rate_hz):
    samples = samples if limit is None else samples[: max(0, limit - start)]
    if samples.size:
      if warn and (peak := max(samples.max(), -samples.min())) > MAX_PEAK:
        how = 'divide them by 32768' if peak > 1000 else 'lower its level'
        warn(f'samples reach {peak:.6g}, beyond 1 they are clipped; {how}')
        warn = None
      yield start, np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    if limit is not None and start + samples.size >= limit:
      return


def declared_duration(path):
  """Duration in seconds that a file declares, None where it declares none. Untrusted: the header may say anything.

  Raises:
    MediaError: the file is unreadable or truncated.
  """
  with opened(path) as container:
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _resampled(blocks, sample_rate_hz):
  """Contiguous (start, rate, f32 [n]) to contiguous (start, f32 [n]) at the new rate, without delay; `start` >= 0."""
  resampler, known_rate, position, first, last = None, None, 0, 0, 0
  for start, rate, samples in blocks:
    if rate != known_rate:
      if resampler is not None:
        first = yield from _flushed(resampler, known_rate, first, position, last)
      # Begin on an instant that is a sample of both rates, so that every output sample lies on the grid from zero.
      divisor = math.gcd(rate, sample_rate_hz)
      lead = start % (rate // divisor)
      position = (start - lead) * sample_rate_hz // rate
      if resampler is None:
        first = max(0, math.ceil(Fraction(start * sample_rate_hz, rate)))
      samples = np.concatenate([np.zeros(lead, np.float32), samples])
      resampler, known_rate, start = AudioResampler('fltp', 'mono', sample_rate_hz), rate, start - lead
    last = max(last, math.ceil(Fraction((start + samples.size) * sample_rate_hz, rate)))
    for piece in _resample(resampler, samples, rate):
      yield from _drop_before(first, position, piece)
      position += piece.size
  if resampler is not None:
    yield from _flushed(resampler, known_rate, first, position, last)


def _flushed(resampler, rate, first, position, last):
  """Yields what a resampler still holds, of the samples from `first` to `last`; returns where that ends."""
  for piece in _resample(resampler, None, rate):
    yield from _drop_before(first, position, piece[: max(0, last - position)])
    position += piece.size
  return max(first, min(last, position))


def _drop_before(first, position, piece):
  """Yields (start, samples) of the part of a piece at `position` that lies at or after `first`, if any."""
  if position + piece.size > first:
    yield max(first, position), piece[max(0, first - position) :]


def _resample(resampler, samples, rate):
  """List of the resampler's output, f32 [n] each, for one block of samples; None flushes the resampler."""
  frame = None
  if samples is not None:
    if not np.isfinite(samples).all():  # float sound of an untrusted file may hold NaN and infinity
      samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
    frame = av.AudioFrame.from_ndarray(samples[None], 'fltp', 'mono')
    frame.sample_rate = rate
  return [piece.to_ndarray()[0] for piece in resampler.resample(frame) if piece is not None]


def decode_frames(path):
  """Decodes the pictures of a file in order of presentation.

  Args:
    path: a media file.

  Yields:
    (start_seconds, end_seconds, frame): exact Fractions since time zero, start < end = start of the next frame;
    `frame` is an av.VideoFrame for `resizing.frame_resizer`.

  Raises:
    MediaError: the file is unreadable, truncated or damaged, has no moving picture, or is of joined NUT.
  """
  with opened(path) as container:
    stream = _best(path, container, 'video', 'no picture')
    if container.format.name == 'nut' and (count := len(joined.recordings(path))) > 1:  # FFmpeg reads some of each
      raise MediaError(path, f'{count} recordings with pictures are joined in it: join them by ffmpeg -f concat')
    zero, rate = time_zero(container), stream.guessed_rate or stream.average_rate
    default_duration = 1 / rate if rate else Fraction(1, 25)
    shown, shown_start, end = None, None, Fraction(0)
    for frame in _frames(path, container, stream):
      start = end if frame.pts is None else frame.pts * frame.time_base - zero
      if shown is None:
        start = Fraction(0) if 0 < start <= timeline.LATE_SECONDS else start
      elif start <= shown_start:  # time stamps run backwards: the picture on the screen stays
        continue
      else:
        yield shown_start, start, shown
      shown, shown_start = frame, start
      end = start + (frame.duration * frame.time_base if frame.duration else default_duration)
    if shown is not None:
      # Start and duration are rounded to ticks: a clip of one second must not end at 0.999.
      yield shown_start, end + min(stream.time_base, MILLISECOND), shown


@contextlib.contextmanager
def opened(path, begin=0, end=None):
  """Opens a container of a listed format; decoder errors in the `with` block become MediaError.

  Args:
    path: of the file.
    begin, end: part of the file to be read as a file, in bytes; `joined.recordings` gives them.
  """
  integrity.check_regular(path)
  # An absolute path is never taken for a protocol; the lists keep FFmpeg from following a text file to other files.
  options = {
    'protocol_whitelist': 'file',
    'format_whitelist': f'{VIDEO_FORMATS},{SOUND_FORMATS}',
    'max_pixels': str(MAX_PIXELS),
    # Packet size of WAV in bytes, by default 4096: fewer, larger frames. Opening reads dozens of packets of any size.
    'max_size': str(1 << 14),
  }
  try:
    source = sections.part(path, begin, end)
    if source.read(4) == b'RIFX':
      raise MediaError(path, 'a big-endian WAV (RIFX), whose bytes FFmpeg swaps: convert it, as by sox')
    source.seek(0)
    if reason := chunks.refused(source, source.length):
      raise MediaError(path, reason)
    source.seek(0)
    rewritten = wav_header.rewritten(source, source.length)
    source.seek(0)
    rewritten = rewritten or chunks.rewritten(source, source.length)
    source.seek(0)
    if rewritten:
      source.replace(*rewritten)
    elif source.length == os.path.getsize(path):
      source.close()
      source = os.path.abspath(path)
    container = av.open(source, options=options, **READ_ANY_METADATA)
  except DECODER_ERRORS as error:
    raise MediaError(path, f'not a media file of a known format, or truncated ({brief(error)})') from None
  except OSError as error:
    raise MediaError(path, brief(error).lower()) from None
  with container:
    if integrity.is_truncated(path, begin, end):
      is_part = begin or (end and end < os.path.getsize(path))
      raise MediaError(path, TRUNCATED.format('a recording joined in it' if is_part else 'the file'))
    try:
      yield container
    except MediaError:
      raise
    except UserError as error:
      raise MediaError(path, str(error)) from None
    except DECODER_ERRORS as error:
      raise MediaError(path, f'damaged ({brief(error)})') from None
    except OSError as error:
      raise MediaError(path, brief(error).lower()) from None


def _best(path, container, kind, missing):
  """FFmpeg's choice among the streams of a kind, without cover pictures; MediaError(`missing`) where there is none."""
  usable = [s for s in container.streams if s.type == kind and not continuity.is_cover(s) and s.codec_context]
  if not usable:
    raise MediaError(path, missing)
  best = container.streams.best(kind)
  chosen = best if best in usable else usable[0]
  chosen.codec_context.thread_count = 1
  chosen.codec_context.options = {'max_pixels': str(MAX_PIXELS)}
  return chosen


def time_zero(container):
  """Start of the timeline, seconds as an exact Fraction: the stream start that the container rounds to microseconds."""
  rounded = Fraction(container.start_time or 0, 1_000_000)
  starts = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
  near = [start for start in starts if abs(start - rounded) <= Fraction(1, 1_000_000)]
  return near[0] if near else rounded


def _frames(path, container, stream, packets=None):
  """Yields decoded frames. Skips packets that cannot be decoded, which `packets` counts; MediaError for many."""
  packets, errors, leading, frames, has_key = packets or shortfall.Packets(), 0, 0, 0, False

  def decode(packet):
    nonlocal errors, leading, frames, has_key
    packets.count += packet.size > 0
    packets.bytes += packet.size
    has_key |= packet.is_keyframe
    try:
      decoded = packet.decode()
    except (av.FFmpegError, ValueError) as error:  # the latter from PyAV 19, where a decoder does not open
      packets.skipped.append(packet.size)
      packets.reason = brief(error)
      if not frames and leading < LEADING_ERRORS:
        leading += 1
        return []
      errors += 1
      if errors > SPARE_ERRORS + packets.count / 100:
        raise MediaError(path, f'damaged {stream.type} ({packets.reason})') from None
      return []
    frames += len(decoded)
    return decoded

  demuxed = continuity.packets(container, [stream])
  if stream.type == 'video' and container.format.name in picture_order.TIMES:
    yield from picture_order.frames(decode, demuxed, picture_order.TIMES[container.format.name])
  else:
    for packet in demuxed:
      yield from decode(packet)
  if not frames:
    why = f': none of its {packets.count} packets is a key frame, from which decoding begins'
    raise MediaError(path, f'no {stream.type} in it can be decoded{"" if has_key or not packets.count else why}')


def brief(error):
  """The message of an exception on one line, at most 120 characters."""
  if isinstance(error, av.error.PatchWelcomeError):  # chained Ogg, mostly
    return 'FFmpeg cannot decode a format that changes midway: convert each recording in it by itself'
  text = ' '.join(str(getattr(error, 'strerror', None) or error).split())
  return text[:120] or type(error).__name__
