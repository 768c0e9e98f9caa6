"""Draws captions into frames: white text in a dark box at the bottom, directly in YUV 4:2:0 planes."""

import dataclasses
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from audionet_tf.core.errors import UserError

USUAL_FONT = 'DejaVuSans.ttf'
HEIGHT_SHARE = 1 / 20  # of the frame height, for the letters
SMALLEST_PIXELS = 12
WIDTH_SHARE = 0.9  # of the frame width, for a line of text
MAX_LINES = 3
DARK = 0.65  # opacity of the box
BLACK, WHITE, GREY = 16, 235, 128  # levels of limited range: luma, luma, chroma


@dataclasses.dataclass(frozen=True)
class Overlay:
  """At row `top` and column `left` a plane becomes plane x keep + add; each is a pair of f32, luma and chroma."""

  top: int
  left: int
  keep: tuple
  add: tuple


@functools.lru_cache(4)
def font_of(path, pixels):
  """A Pillow font: the one at `path`, else DejaVu Sans, else Pillow's own. UserError: `path` is not a font."""
  if path:
    try:
      return ImageFont.truetype(path, pixels)
    except OSError as error:
      raise UserError(f'{path}: not a font that can be read ({error})') from None
  try:
    return ImageFont.truetype(USUAL_FONT, pixels)
  except OSError:
    return ImageFont.load_default(pixels)


def lines_of(text, font, width):
  """Wraps `text` to at most MAX_LINES lines of at most `width` pixels; what does not fit becomes …"""
  lines = ['']
  for word in text.split():
    longer = f'{lines[-1]} {word}'.strip()
    if font.getlength(longer) <= width or not lines[-1]:
      lines[-1] = longer
    else:
      lines.append(word)
  if len(lines) > MAX_LINES:
    lines = [*lines[: MAX_LINES - 1], f'{lines[MAX_LINES - 1]} …']
  return [shortened(line, font, width) for line in lines]


def shortened(line, font, width):
  """The line, truncated to `width` pixels."""
  while len(line) > 1 and font.getlength(line) > width:
    line = line[:-2] + '…'
  return line


def overlay(text, width, height, font_path=None):
  """The Overlay of a text for frames of this size; width and height are even."""
  pixels = max(SMALLEST_PIXELS, round(height * HEIGHT_SHARE))
  font = font_of(font_path, pixels)
  wrapped = '\n'.join(lines_of(text, font, WIDTH_SHARE * width))
  draw = ImageDraw.Draw(Image.new('L', (1, 1)))
  left, top, right, bottom = draw.multiline_textbbox((0, 0), wrapped, font=font, align='center')
  pad = pixels // 2
  lengths = (width, right - left), (height, bottom - top)
  size = [min(limit, 2 * round((length + 2 * pad) / 2)) for limit, length in lengths]
  picture = Image.new('L', size)
  place = (size[0] - (right + left)) / 2, (size[1] - (bottom + top)) / 2
  ImageDraw.Draw(picture).multiline_text(place, wrapped, 255, font=font, align='center')
  letters = np.asarray(picture, np.float32) / 255  # [h, w], coverage of each pixel by letters
  small = letters.reshape(size[1] // 2, 2, size[0] // 2, 2).mean((1, 3))
  keep = tuple((1 - DARK) * (1 - share) for share in (letters, small))
  add = DARK * BLACK * (1 - letters) + WHITE * letters, GREY * (1 - keep[1])
  from_top = max(0, height - size[1] - pad)
  return Overlay(from_top // 2 * 2, (width - size[0]) // 4 * 2, keep, add)


def draw(planes, shown):
  """Draws an Overlay into u8 planes [h, w], [h / 2, w / 2], [h / 2, w / 2] of Y, U and V, in place."""
  for number, plane in enumerate(planes):
    kind, scale = (0, 1) if number == 0 else (1, 2)
    keep, add = shown.keep[kind], shown.add[kind]
    top, left = shown.top // scale, shown.left // scale
    part = plane[top : top + keep.shape[0], left : left + keep.shape[1]]
    part[:] = np.rint(part * keep + add)
