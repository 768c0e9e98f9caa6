"""A copy of a video with its captions: as a stream of subtitles (soft), or drawn into its pictures (hard).

Beside `media` the only user of PyAV: that one reads, this one writes. Streams are copied as they are; only a video that
is drawn into is encoded anew.
"""

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
from audionet_tf.media import decoding, integrity

MILLISECOND = Fraction(1, 1000)
TICK = Fraction(1, 90_000)  # of the pictures that are encoded
QUALITY = {'crf': '20', 'preset': 'veryfast'}
COPIED = ('video', 'audio', 'subtitle')
COLOURS = ('color_primaries', 'color_trc', 'colorspace')

# FFmpeg's encoder of MP4's text wants to know how subtitles look, in the words of another format.
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
  """The bytes of a cue in MP4: the length of its text, then the text."""
  data = formats.plain_text(cue).encode()
  return struct.pack('>H', len(data)) + data


# Suffix of a copy to the codec of its subtitles and the bytes of a cue.
SUBTITLES = {
  '.mp4': ('mov_text', mov_text),
  '.mov': ('mov_text', mov_text),
  '.webm': ('webvtt', lambda cue: formats.vtt_text(cue).encode()),
  '.mkv': ('subrip', lambda cue: formats.srt_text(cue).encode()),
}
MUXERS = {'.mkv': 'matroska'}  # by suffix, where it is not the suffix's name


def burn(path, folder, cues, how, font=None, progress=None):
  """Writes `folder/<name>.captioned.<suffix>`: MP4 and QuickTime stay what they are, so does WebM, others are Matroska.

  Args:
    path: of the video, or of one packed as .gz.
    folder: pathlib.Path, exists.
    cues: list of event_detection.Cue, in seconds since the start of the file (`media`).
    how: 'soft' or 'hard'.
    font: of a hard copy: path of a font file; None chooses.
    progress: None, or a function (seconds written, seconds that the file claims to have, or None).

  Returns:
    pathlib.Path of the copy.

  Raises:
    MediaError: unreadable or damaged file, no picture in it, or streams that cannot be copied.
    UserError: `font` is none.
  """
  path = pathlib.Path(path)
  name = path.stem if path.suffix.lower() == '.gz' else path.name
  try:
    with integrity.decompressed(path) as source:
      claimed = decoding.declared_duration(source) if progress else None
      told = (lambda seconds: progress(max(0.0, float(seconds)), claimed)) if progress else lambda seconds: None
      suffix = suffix_of(source, name, how)
      target = folder / f'{path.name}.captioned{suffix}'
      if target.exists() and os.path.samefile(target, path):
        raise UserError(f'{target}: the copy would take the place of the video; choose another --output')
      with files.atomic_write(target, 'wb') as file:
        options = {'format': MUXERS.get(suffix, suffix[1:])}
        with decoding.opened(source) as read, av.open(os.path.abspath(file.name), 'w', **options) as written:
          try:
            if how == 'soft':
              soft(read, written, cues, SUBTITLES[suffix], told)
            else:
              hard(source, read, written, cues, font, told)
          except UserError:
            raise
          except (av.FFmpegError, ValueError) as error:  # of reading, or of a container that does not take a stream
            raise UserError(f'cannot be copied to {suffix} ({error})') from None
  except MediaError as error:
    raise MediaError(path, error.reason) from None
  return target


def suffix_of(source, name, how):
  """Suffix of the copy. MediaError: no picture to be captioned."""
  with decoding.opened(source) as container:
    if not any(is_copied(stream) and stream.type == 'video' for stream in container.streams):
      raise MediaError(source, 'no picture in it: there is nothing to burn captions into')
    kinds, suffix = container.format.name.split(','), pathlib.Path(name).suffix.lower()
  if 'mp4' in kinds:
    return '.mov' if suffix == '.mov' else '.mp4'
  return '.webm' if 'webm' in kinds and suffix == '.webm' and how == 'soft' else '.mkv'


def is_copied(stream):
  """Whether a stream goes into a copy: covers and data do not."""
  covers = Disposition.attached_pic | Disposition.timed_thumbnails
  return stream.type in COPIED and stream.codec_context is not None and not stream.disposition & covers


def copies(read, written, kinds):
  """dict of stream number in `read` to its copy in `written`, of the kinds of streams that are copied."""
  written.metadata.update(read.metadata)
  return {
    stream.index: written.add_stream_from_template(stream)
    for stream in read.streams
    if is_copied(stream) and stream.type in kinds
  }


def copied_packets(read, streams, shift=0):
  """Yields (seconds, packet), each for the copy of its stream, in the order of the file.

  Args:
    read: container.
    streams: from `copies`.
    shift: seconds that are taken from the times.
  """
  for packet in read.demux([read.streams[number] for number in streams]):
    if packet.dts is None:  # the end of a stream
      continue
    if shift:
      ticks = round(shift / packet.time_base)
      packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
    seconds = packet.dts * packet.time_base
    packet.stream = streams[packet.stream.index]
    yield seconds, packet


def soft(read, written, cues, subtitles, told):
  """Copies every stream, and writes each cue before the first packet that is later."""
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
    told(seconds - zero)
  write_until(None)


def hard(source, read, written, cues, font, told):
  """Copies the sound, draws the cues into the pictures and encodes them."""
  pictures = drawn_pictures(source, cues, font)
  first = next(pictures)
  encoder = encoder_of(written, *first[2:])  # the first stream: some players show no other
  streams = copies(read, written, ('audio',))
  sound = copied_packets(read, streams, decoding.time_zero(read)) if streams else iter(())
  waiting, last = next(sound, None), -1
  for start, end, planes, _ in itertools.chain([first], pictures):
    if planes[0].shape != (encoder.height, encoder.width):
      raise UserError('its pictures change their size: captions cannot be drawn in')
    while waiting and waiting[0] <= start:
      written.mux(waiting[1])
      waiting = next(sound, None)
    last = max(last + 1, round(start / TICK))
    written.mux(encoder.encode(frame_of(planes, last, max(1, round(end / TICK) - last))))
    told(start)
  written.mux(encoder.encode(None))
  while waiting:
    written.mux(waiting[1])
    waiting = next(sound, None)


def drawn_pictures(source, cues, font):
  """Yields (start_seconds, end_seconds, planes, colours) of the pictures, upright, the cue of their time drawn in.

  Each plane is u8: [h, w] of Y, [h / 2, w / 2] of U and of V; `colours` is a dict of an encoder's attributes.
  """
  reformatter, matrix, overlay, drawn, number = VideoReformatter(), None, None, None, 0
  for position, (start, end, frame) in enumerate(decoding.decode_frames(source)):
    if position == 0:
      matrix = decoding.display_matrix(frame)
    planes, colours = planes_of(frame, reformatter)
    if matrix is not None:
      planes = [decoding.apply_rotation(plane[..., None], matrix)[..., 0] for plane in planes]
    now = float(start)  # as the cues have it: 0.8, which is a little more than four fifths
    while number < len(cues) and cues[number].end_seconds <= now:
      number += 1
    if number < len(cues) and cues[number].start_seconds <= now:
      if drawn != number:
        height, width = planes[0].shape
        overlay, drawn = captioning_overlay.overlay(formats.plain_text(cues[number]), width, height, font), number
      captioning_overlay.draw(planes, overlay)
    yield start, end, planes, colours


def planes_of(frame, reformatter):
  """(planes, colours) of a picture, as `drawn_pictures` gives them; odd sizes become even."""
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
  """The stream of `written` that takes pictures like these."""
  encoder = written.add_stream('libx264', options=QUALITY)
  encoder.height, encoder.width = planes[0].shape
  encoder.pix_fmt, encoder.codec_context.time_base = 'yuv420p', TICK
  for name, value in colours.items():
    setattr(encoder.codec_context, name, value)
  return encoder


def frame_of(planes, ticks, duration):
  """An av.VideoFrame of the planes; its time and duration in TICK."""
  width = planes[0].shape[1]
  frame = av.VideoFrame.from_ndarray(np.concatenate([plane.ravel() for plane in planes]).reshape(-1, width), 'yuv420p')
  frame.pts, frame.duration, frame.time_base = ticks, duration, TICK
  return frame
