"""Burn-in: a copy of a video with its captions, as a subtitle stream (soft) or drawn into the frames (hard).

Beside `media`, which reads, this is the only user of PyAV: it writes. Streams are copied without re-encoding, except a
video that is drawn into.
"""

import contextlib
import itertools
import os
import pathlib
import struct
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange, VideoReformatter

from audionet_tf.captioning import formats
from audionet_tf.captioning import overlay as captioning_overlay
from audionet_tf.core import files
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, resizing
from audionet_tf.media.containers import continuity, integrity, picture_order

MILLISECOND = Fraction(1, 1000)
TICK = Fraction(1, 90_000)  # time base of the encoded video
QUALITY = {'crf': '20', 'preset': 'veryfast'}
COPIED = ('video', 'audio', 'subtitle')
LAYOUTS = {1: 'mono', 2: 'stereo', 6: '5.1'}  # of sound that is encoded again, by channels
COLOURS = ('color_primaries', 'color_trc', 'colorspace')

# FFmpeg's mov_text encoder takes the style of subtitles as a header of the ASS format.
STYLE = """[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def mov_text(cue):
  """The bytes of a cue in MP4: the length of the text, then the text."""
  data = formats.plain_text(cue).encode()
  return struct.pack('>H', len(data)) + data


# Suffix of the copy to its subtitle codec and the function from a cue to bytes.
SUBTITLES = {
  '.mp4': ('mov_text', mov_text),
  '.mov': ('mov_text', mov_text),
  '.webm': ('webvtt', lambda cue: formats.vtt_text(cue).encode()),
  '.mkv': ('subrip', lambda cue: formats.srt_text(cue).encode()),
}
MUXERS = {'.mkv': 'matroska'}  # by suffix, where the name differs


def burn(path, folder, cues, how, font=None, progress=None):
  """Writes `folder/<name>.captioned.<suffix>`: MP4, QuickTime and soft WebM keep their format, others become Matroska.

  Args:
    path: of the video, which may be gzipped.
    folder: pathlib.Path, exists.
    cues: list of event_detection.Cue, in seconds since the start of the file (`media`).
    how: 'soft' or 'hard'.
    font: path of a font file for a hard copy; None chooses.
    progress: None, or a function (seconds written, declared duration of the file or None).

  Returns:
    pathlib.Path of the copy.

  Raises:
    MediaError: an unreadable or damaged file, no video in it, or streams that cannot be copied.
    UserError: `font` is not a font.
  """
  path = pathlib.Path(path)
  name = path.stem if path.suffix.lower() == '.gz' else path.name
  try:
    with integrity.decompressed(path) as source:
      declared = decoding.declared_duration(source) if progress else None
      report = (lambda seconds: progress(max(0.0, float(seconds)), declared)) if progress else lambda seconds: None
      suffix = suffix_of(source, name, how)
      target = folder / f'{path.name}.captioned{suffix}'
      if target.exists() and os.path.samefile(target, path):
        raise UserError(f'{target}: the copy would overwrite the video; choose another --output')
      with files.atomic_write(target, 'wb', files.partial_path(target)) as file:
        options = {'format': MUXERS.get(suffix, suffix[1:])}
        out = os.path.abspath(file.name)
        # A full disk must not look like a damaged video.
        with decoding.opened(source) as read, files.space_in(folder), av.open(out, 'w', **options) as written:
          try:
            if how == 'soft':
              soft(read, written, cues, SUBTITLES[suffix], report)
            else:
              hard(source, read, written, cues, font, report)
          except UserError:
            raise
          except (av.FFmpegError, ValueError) as error:  # a read error, or a container that does not take a stream
            if files.is_full(error):
              raise
            raise UserError(f'cannot be copied to {suffix} ({error})') from None
  except MediaError as error:
    raise MediaError(path, error.reason) from None
  return target


def suffix_of(source, name, how):
  """Suffix of the copy. MediaError: no video stream."""
  with decoding.opened(source) as container:
    if not any(is_copied(stream) and stream.type == 'video' for stream in container.streams):
      raise MediaError(source, 'no video stream to burn captions into')
    kinds, suffix = container.format.name.split(','), pathlib.Path(name).suffix.lower()
  if 'mp4' in kinds:
    return '.mov' if suffix == '.mov' else '.mp4'
  return '.webm' if 'webm' in kinds and suffix == '.webm' and how == 'soft' else '.mkv'


def is_copied(stream):
  """Whether a stream goes into a copy: cover art and data streams do not."""
  covers = Disposition.attached_pic | Disposition.timed_thumbnails
  return stream.type in COPIED and stream.codec_context is not None and not stream.disposition & covers


def copies(read, written, kinds, encoded=None):
  """dict of stream index in `read` to its copy in `written`, for streams of these kinds.

  Args:
    read, written: containers.
    kinds: of streams.
    encoded: codec for streams that `written` does not take as they are; None: they are an error.

  Raises:
    ValueError: streams that `written` does not take.
  """
  written.metadata.update(read.metadata)
  streams, refused = {}, []
  for stream in read.streams:
    if not is_copied(stream) or stream.type not in kinds:
      continue
    try:
      streams[stream.index] = copy_of(stream, written)
    except (ValueError, av.FFmpegError):
      context = stream.codec_context
      if encoded:
        streams[stream.index] = written.add_stream(
          encoded, rate=context.sample_rate, layout=LAYOUTS.get(context.channels, 'stereo')
        )
      refused.append(context.name)
  if refused and not encoded:
    how = 'use --burn=hard, or convert the video first, as by ffmpeg -i VIDEO VIDEO.mp4'
    raise ValueError(f'which does not take {" and ".join(refused)}: {how}')
  return streams


def copy_of(stream, written):
  """A stream of `written` for the packets of another one."""
  try:
    return written.add_stream_from_template(stream)
  except av.codec.codec.UnknownCodecError:  # there is no encoder of that name, which none needs
    return written.add_stream_from_template(stream, opaque=True)


def copied_packets(read, streams, shift=0):
  """Yields (seconds, packet) in the order of the file, each packet for the copy of its stream.

  Packets of streams whose copy has another codec are decoded and encoded.

  Args:
    read: container.
    streams: from `copies`.
    shift: seconds to subtract from the times.
  """
  last = {}
  for packet in continuity.packets(read, [read.streams[number] for number in streams]):
    copy = streams[packet.stream.index]
    if copy.codec_context.codec.id == packet.stream.codec_context.codec.id:
      yield from moved(packet, copy, shift, last)
    else:
      yield from encoded_again(packet, copy, shift, last)


def moved(packet, copy, shift, last):
  """Yields (seconds, packet) of a packet for a copy, none at the end of a stream.

  Args:
    packet: av.Packet.
    copy: stream of the copy.
    shift: seconds to subtract from the times.
    last: dict of stream index to its last time in ticks. Where two recordings overlap, packets move behind that.
  """
  if packet.dts is None:
    return
  ticks = round(shift / packet.time_base)
  late = max(0, last.get(packet.stream.index, packet.dts - ticks - 1) + 1 - (packet.dts - ticks))
  packet.dts = last[packet.stream.index] = packet.dts - ticks + late
  packet.pts = packet.dts if packet.pts is None else max(packet.pts - ticks, packet.dts)
  packet.stream = copy
  yield packet.dts * packet.time_base, packet


def encoded_again(packet, copy, shift, ends):
  """Yields (seconds, packet) of what a packet of sound holds, in the codec of the copy.

  Args:
    packet, copy, shift: as of `moved`.
    ends: dict of stream index to the end of the sound so far, in samples.
  """
  index, at_end, packets = packet.stream.index, packet.dts is None, []
  with contextlib.suppress(av.InvalidDataError):  # players skip it too
    for frame in packet.decode():
      rate = frame.sample_rate
      start = None if frame.pts is None else round((frame.pts * frame.time_base - shift) * rate)
      frame.pts = ends.get(index, 0) if start is None else max(start, ends.get(index, start))
      frame.time_base, ends[index] = Fraction(1, rate), frame.pts + frame.samples
      packets += copy.encode(frame)
  for one in packets + (copy.encode(None) if at_end else []):
    yield one.dts * one.time_base, one


def require_times(read):
  """ValueError where packets have no presentation times, and these differ from the order of the packets."""
  if read.format.name in picture_order.TIMES and any(
    stream.type == 'video' and is_copied(stream) and stream.codec_context.has_b_frames for stream in read.streams
  ):
    raise ValueError(
      'as its pictures have no times and B-frames among them: use --burn=hard, or convert the video first, as by '
      'ffmpeg -i VIDEO VIDEO.mp4'
    )


def soft(read, written, cues, subtitles, report):
  """Copies every stream, and writes each cue before the first later packet."""
  require_times(read)
  codec, data = subtitles
  zero, streams = decoding.time_zero(read), copies(read, written, COPIED)
  if codec == 'mov_text':
    stream = written.add_stream(codec)
    stream.codec_context.subtitle_header = STYLE.encode()
  else:
    stream = written.add_mux_stream(codec)
  stream.time_base, stream.disposition = MILLISECOND, Disposition.default
  stream.metadata.update(title='Sounds', handler_name='Sounds')
  waiting = list(reversed(cues))

  def write_until(seconds):
    while waiting and (seconds is None or zero + Fraction(str(waiting[-1].start_seconds)) <= seconds):
      cue = waiting.pop()
      begin, end = (round((zero + Fraction(str(time))) / MILLISECOND) for time in (cue.start_seconds, cue.end_seconds))
      packet = av.Packet(data(cue))
      packet.pts = packet.dts = begin
      packet.duration, packet.time_base, packet.stream = end - begin, MILLISECOND, stream
      written.mux(packet)

  for seconds, packet in copied_packets(read, streams):
    write_until(seconds)
    written.mux(packet)
    report(seconds - zero)
  write_until(None)


def hard(source, read, written, cues, font, report):
  """Copies the sound, draws the cues into the frames and encodes them."""
  frames = captioned_frames(source, cues, font)
  first = next(frames)
  encoder = encoder_of(written, *first[2:])  # the first stream: some players show no other
  streams = copies(read, written, ('audio',), encoded='aac')
  sound = copied_packets(read, streams, decoding.time_zero(read)) if streams else iter(())
  waiting, last = next(sound, None), -1
  for start, end, planes, _ in itertools.chain([first], frames):
    if planes[0].shape != (encoder.height, encoder.width):
      raise UserError('the frame size changes within the video: captions cannot be drawn in')
    while waiting and waiting[0] <= start:
      written.mux(waiting[1])
      waiting = next(sound, None)
    last = max(last + 1, round(start / TICK))
    written.mux(encoder.encode(frame_of(planes, last, max(1, round(end / TICK) - last))))
    report(start)
  written.mux(encoder.encode(None))
  while waiting:
    written.mux(waiting[1])
    waiting = next(sound, None)


def captioned_frames(source, cues, font):
  """Yields (start_seconds, end_seconds, planes, colours) of the frames, upright, with the current cue drawn in.

  Each plane is u8: [h, w] of Y, [h / 2, w / 2] of U and of V; `colours` is a dict of encoder attributes.
  """
  reformatter, matrix, overlay, drawn, number = VideoReformatter(), None, None, None, 0
  for position, (start, end, frame) in enumerate(decoding.decode_frames(source)):
    if position == 0:
      matrix = resizing.display_matrix(frame)
    planes, colours = planes_of(frame, reformatter)
    if matrix is not None:
      planes = [resizing.apply_rotation(plane[..., None], matrix)[..., 0] for plane in planes]
    now = float(start)  # as in the cues: 0.8 is a little more than four fifths
    while number < len(cues) and cues[number].end_seconds <= now:
      number += 1
    if number < len(cues) and cues[number].start_seconds <= now:
      if drawn != number:
        height, width = planes[0].shape
        overlay, drawn = captioning_overlay.overlay(formats.plain_text(cues[number]), width, height, font), number
      captioning_overlay.draw(planes, overlay)
    yield start, end, planes, colours


def planes_of(frame, reformatter):
  """(planes, colours) of a frame, as from `captioned_frames`; odd sizes become even."""
  width, height = (max(2, length // 2 * 2) for length in (frame.width, frame.height))
  colours = {} if frame.format.is_rgb else {name: getattr(frame, name) for name in COLOURS}
  if (frame.format.name, frame.width, frame.height) == ('yuv420p', width, height):
    colours['color_range'] = frame.color_range
  else:
    frame = reformatter.reformat(frame, width, height, 'yuv420p', dst_color_range=ColorRange.MPEG)
    colours['color_range'] = int(ColorRange.MPEG)
  flat, whole = frame.to_ndarray().ravel(), width * height  # Y, then U, then V
  shapes = [(0, whole, height, width), (whole, whole // 4, height // 2, width // 2)]
  shapes.append((whole + whole // 4, *shapes[1][1:]))
  return [flat[begin : begin + size].reshape(rows, columns) for begin, size, rows, columns in shapes], colours


def encoder_of(written, planes, colours):
  """The video stream of `written` for frames like these."""
  encoder = written.add_stream('libx264', options=QUALITY)
  encoder.height, encoder.width = planes[0].shape
  encoder.pix_fmt, encoder.codec_context.time_base = 'yuv420p', TICK
  for name, value in colours.items():
    setattr(encoder.codec_context, name, value)
  return encoder


def frame_of(planes, ticks, duration):
  """An av.VideoFrame of the planes; time and duration in units of TICK."""
  width = planes[0].shape[1]
  frame = av.VideoFrame.from_ndarray(np.concatenate([plane.ravel() for plane in planes]).reshape(-1, width), 'yuv420p')
  frame.pts, frame.duration, frame.time_base = ticks, duration, TICK
  return frame
