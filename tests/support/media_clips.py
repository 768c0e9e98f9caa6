"""Clips that tests encode themselves, whose grey levels and sample values encode the time.

`decode_sound` and `decode_pictures` read them back.
"""

from fractions import Fraction

import av
import numpy as np

from audionet_tf.media import decoding, resizing

RATE_HZ = 16000
CODED = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p', 'audio_codec': 'aac', 'rate_hz': 44100}
LEVELS = 200  # grey levels that a clip runs through, from 20 up

# Four greys: which way is up.
QUADRANTS = np.kron(np.array([[30, 90], [150, 210]], np.uint8), np.ones((24, 32), np.uint8))


def grey(seconds, total_seconds):
  """The grey level, 20 to 220, of the picture that starts at `seconds` in a clip of `total_seconds`."""
  return 20 + round(LEVELS * float(seconds) / float(total_seconds))


def ramp(samples, rate_hz, total_seconds):
  """f32 [samples]: a slow rise from 0 to 0.5: the value tells the time."""
  return (np.arange(samples) / rate_hz / total_seconds * 0.5).astype(np.float32)


def tone(hertz, seconds, rate_hz):
  """f32 [n] of a sine."""
  return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def pitch(samples):
  """Hertz of the strongest frequency in samples at RATE_HZ, to half a hertz or so for a second and more."""
  spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 2 * RATE_HZ))
  return spectrum.argmax() / 2


def frames_at(fps, seconds):
  """Start times of the pictures of a clip, exact."""
  return [Fraction(i) / Fraction(fps) for i in range(round(Fraction(fps) * Fraction(str(seconds))))]


def write(
  path,
  seconds=1.0,
  fps=25,
  rate_hz=16000,
  times=None,
  sounds=None,
  sound_start=0,
  picture=None,
  size=(64, 48),
  video_codec='ffv1',
  audio_codec='pcm_s16le',
  pix_fmt='gray',
  tick=Fraction(1, 1000),
  matrix=None,
  format=None,
  options=None,
):
  """Writes a clip.

  Args:
    path: file to write.
    seconds: length.
    fps, rate_hz: pictures and samples a second.
    times: start times of the pictures, seconds; None for regular ones; [] for no picture stream.
    sounds: list of f32 [n] or [channels, n], one a stream; None for one ramp; [] for no sound stream.
    sound_start: presentation time of the first sample, seconds.
    picture: function of the start time that gives u8 [H, W] or [H, W, 3]; None for flat grey that tells the time,
      and begins again at black behind `seconds`.
    matrix: FFmpeg's nine display matrix integers.
    format, options: container and its muxer's options.
  """
  times = frames_at(fps, seconds) if times is None else times
  sounds = [ramp(round(seconds * rate_hz), rate_hz, seconds)] if sounds is None else sounds
  picture = picture or (lambda t: np.full(size[::-1], grey(t, seconds) % 256, np.uint8))
  with av.open(str(path), 'w', format=format, options=options or {}) as out:
    packets = []
    if len(times):
      packets += _encoded_pictures(out, times, fps, picture, size, video_codec, pix_fmt, tick, matrix)
    for sound in sounds:
      packets += encoded_sound(out, np.atleast_2d(sound), rate_hz, sound_start, audio_codec)
    for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
      out.mux(packet)
  return path


def _encoded_pictures(out, times, fps, picture, size, codec, pix_fmt, tick, matrix):
  stream = out.add_stream(codec, rate=Fraction(fps))
  stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
  stream.codec_context.time_base = tick
  if matrix is not None:
    stream.set_display_matrix(matrix)
  packets = []
  for i, t in enumerate(times):
    array = picture(t)
    frame = av.VideoFrame.from_ndarray(array, 'gray' if array.ndim == 2 else 'rgb24').reformat(format=pix_fmt)
    frame.pts, frame.time_base = round(t / tick), tick
    following = times[i + 1] if i + 1 < len(times) else t + 1 / Fraction(fps)
    frame.duration = round(following / tick) - frame.pts
    packets += stream.encode(frame)
  return packets + stream.encode(None)


def encoded_sound(out, samples, rate_hz, start, codec):
  layout = {1: 'mono', 2: 'stereo', 4: 'quad'}[len(samples)]
  options = {'strict': 'experimental'} if codec == 'vorbis' else {}  # FFmpeg's own encoder, of stereo
  stream = out.add_stream(codec, rate=rate_hz, layout=layout, options=options)
  if codec == 'wmav2':  # it has no default
    stream.bit_rate = 128_000
  sample_format = stream.codec_context.format.name
  packets, block = [], stream.codec_context.frame_size or 1024
  for i in range(0, samples.shape[1], block):
    piece = np.ascontiguousarray(samples[:, i : i + block])
    if sample_format[0] == 's':  # s16, s16p, s32, s32p
      whole = {'s16': np.int16, 's32': np.int32}[sample_format[:3]]
      piece = np.rint(piece.astype(np.float64) * np.iinfo(whole).max).astype(whole)
    if sample_format[0] == 'u':
      piece = np.rint(piece * 127 + 128).astype(np.uint8)
    planar = sample_format.endswith('p')
    array = piece if planar else np.ascontiguousarray(piece.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(array, format=sample_format, layout=layout)
    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
    frame.pts = i + round(start * rate_hz)
    packets += stream.encode(frame)
  return packets + stream.encode(None)


def decode_sound(path, rate_hz=RATE_HZ, **kwargs):
  """(first sample, float [n] in [-1, 1])."""
  chunks = list(decoding.decode_audio(path, rate_hz, **kwargs))
  for (start, piece), (following, _) in zip(chunks, chunks[1:], strict=False):
    assert start + len(piece) == following
  return chunks[0][0], np.concatenate([piece for _, piece in chunks]) / 32768


def frames(path):
  """List of (start, end, av.VideoFrame)."""
  return list(decoding.decode_frames(path))


def decode_pictures(path, size=16):
  """List of (start, end, u8 [size, size, 3])."""
  resize = resizing.frame_resizer(size)
  return [(start, end, resize(frame)) for start, end, frame in decoding.decode_frames(path)]
