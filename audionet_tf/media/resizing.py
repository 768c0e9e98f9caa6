"""Decoded frames as pictures of one size, turned upright: RGB, or the planes that JPEG stores."""

import contextlib
import ctypes
import functools
import pathlib

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding

SLOW_GATHER = 1 << 25  # AV_CPU_FLAG_SLOW_GATHER of FFmpeg's libavutil/cpu.h


def frame_resizer(size):
  """Makes a function that resizes the frames of one video: av.VideoFrame -> u8 [size, size, 3] RGB.

  Pictures are stretched to a square with an anti-aliasing filter, and turned upright by the display matrix of the first
  frame. The function raises UserError where a frame cannot be converted.

  Args:
    size: int, width and height of the output in pixels.
  """
  resized = _upright_planes(size, 'rgb24', channels=3)
  return lambda frame: resized(frame)[0]


def jpeg_planes_resizer(size):
  """As `frame_resizer`, in the form that JPEG stores (JFIF): av.VideoFrame -> [Y, Cb, Cr], full range, BT.601.

  Y is u8 [size, size], Cb and Cr are u8 [half, half], half of the size rounded up. Most videos are stored like this, so
  that no pixel is converted to RGB and back.
  """
  target = {'dst_color_range': ColorRange.JPEG, 'dst_colorspace': Colorspace.ITU601}
  resized = _upright_planes(size, 'yuv420p', channels=1, **target)
  return lambda frame: [plane[..., 0] for plane in resized(frame)]


def _upright_planes(size, pixel_format, channels, **target):
  """A function av.VideoFrame -> list of the planes of the resized picture, u8 [height, width, channels] each."""
  reformatter, matrix, first = VideoReformatter(), None, True
  target |= {'interpolation': Interpolation.BILINEAR, 'threads': 1}

  def resized(frame):
    nonlocal matrix, first
    if first:
      matrix, first = display_matrix(frame), False
    try:
      picture = reformatter.reformat(frame, size, size, pixel_format, **target)
    except decoding.DECODER_ERRORS as error:
      raise UserError(f'a picture cannot be converted to {pixel_format} ({decoding.brief(error)})') from None
    planes = [_pixels(plane, channels) for plane in picture.planes]
    return planes if matrix is None else [apply_rotation(plane, matrix) for plane in planes]

  return resized


@contextlib.contextmanager
def without_gathers():
  """Within the context, FFmpeg scales pictures without gather instructions on AMD processors: the same pixels, sooner.

  They are slow there, and FFmpeg does not know it of Zen 5, where pictures take 1.5 times as long with them. Only for a
  process in which one thread scales: the setting is FFmpeg's own, and must not change while a scaler is set up. Nor may
  decoders of sound find it, whose rounding depends on it.
  """
  ffmpeg = _ffmpeg_on_amd()
  if not ffmpeg:
    yield
    return
  flags = ffmpeg.av_get_cpu_flags()
  ffmpeg.av_force_cpu_flags(flags | SLOW_GATHER)
  try:
    yield
  finally:
    ffmpeg.av_force_cpu_flags(flags)


@functools.cache
def _ffmpeg_on_amd():
  """PyAV's FFmpeg, where it runs on an AMD processor and its functions can be found; else None."""
  with contextlib.suppress(OSError, AttributeError):
    if 'AuthenticAMD' in pathlib.Path('/proc/cpuinfo').read_text():
      ffmpeg = ctypes.CDLL(av._core.__file__)  # and the libraries that it is linked to
      return ffmpeg if ffmpeg.av_get_cpu_flags and ffmpeg.av_force_cpu_flags else None
  return None


def _pixels(plane, channels):
  """The pixels of a plane without the padding of its rows, u8 [height, width, channels], contiguous."""
  rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width * channels]
  return np.ascontiguousarray(rows).reshape(plane.height, plane.width, channels)


def display_matrix(frame):
  """The display matrix of a frame, int32 [9] for `apply_rotation`; None where the frame has none.

  Call this for the first frame of a video only: reading side data puts the frame into a reference cycle, and frames are
  large.
  """
  matrix = frame.side_data.get('DISPLAYMATRIX')
  return None if matrix is None else np.frombuffer(matrix, np.int32, 9).copy()


def apply_rotation(picture, matrix):
  """Rotates and flips a picture by the nearest of the eight symmetries of a square.

  Args:
    picture: [h, w, channels].
    matrix: int32 [9], row major, entries 0, 1, 3, 4 are a, b, c, d: pixel (x, y) is shown at (a x + c y, b x + d y).

  Returns:
    [h, w, channels] or [w, h, channels], contiguous.
  """
  a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
  across, down = a, d
  if abs(b) + abs(c) > abs(a) + abs(d):
    picture = picture.transpose(1, 0, 2)
    across, down = c, b
  picture = picture[:, ::-1] if across < 0 else picture
  picture = picture[::-1] if down < 0 else picture
  return np.ascontiguousarray(picture)
