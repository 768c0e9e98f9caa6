"""Moving drawings of the demo's ten things; each is a function (pen, look, t_seconds) that draws one picture."""

import colorsys
import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 240


@dataclasses.dataclass(frozen=True)
class Look:
  """The look of one clip among those of its thing.

  Attributes:
    hue: shift of the thing's colours round the colour circle, near 0.
    light: factor on their brightness, near 1.
    background: colour behind it, RGB 0..255.
    size, x, y: of the thing: half its height, its centre, in parts of the picture's height.
    tempo: factor on all speeds, near 1.
    phase: of the motion at the start, in turns.
  """

  hue: float
  light: float
  background: tuple
  size: float
  x: float
  y: float
  tempo: float
  phase: float

  def turn(self, t_seconds, per_second):
    """Angle in radians after `t_seconds` of `per_second` turns per second."""
    return 2 * math.pi * (t_seconds * per_second * self.tempo + self.phase)


class Pen:
  """Draws in the thing's own coordinates: its centre is (0, 0), up is -1, down is 1."""

  def __init__(self, image, look):
    self.draw, self.look = ImageDraw.Draw(image), look

  def at(self, points, angle=0.0):
    """Points as pixels, turned by `angle` (radians, clockwise) about the thing's centre."""
    size, cos, sin = self.look.size * HEIGHT, math.cos(angle), math.sin(angle)
    middle_x, middle_y = self.look.x * HEIGHT + WIDTH / 2, self.look.y * HEIGHT + HEIGHT / 2
    return [(middle_x + size * (x * cos - y * sin), middle_y + size * (x * sin + y * cos)) for x, y in points]

  def colour(self, rgb):
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
    shifted = colorsys.hsv_to_rgb((hue + self.look.hue) % 1, saturation, min(1, value * self.look.light))
    return tuple(round(255 * c) for c in shifted)

  def disc(self, x, y, radius_x, radius_y, rgb):
    (left, top), (right, bottom) = self.at([(x - radius_x, y - radius_y), (x + radius_x, y + radius_y)])
    self.draw.ellipse([left, top, right, bottom], fill=self.colour(rgb))

  def shape(self, points, rgb, angle=0.0):
    self.draw.polygon(self.at(points, angle), fill=self.colour(rgb))

  def box(self, left, top, right, bottom, rgb, angle=0.0):
    self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], rgb, angle)

  def line(self, points, width, rgb, angle=0.0):
    pixels = max(1, round(width * self.look.size * HEIGHT))
    self.draw.line(self.at(points, angle), fill=self.colour(rgb), width=pixels, joint='curve')


def bell(pen, look, t):
  swing = 0.5 * math.sin(look.turn(t, 0.6))
  gold = (218, 165, 32)
  side = [(-0.18, -0.7), (-0.4, -0.4), (-0.45, 0.2), (-0.75, 0.6)]
  pen.shape(side + [(-x, y) for x, y in reversed(side)], gold, swing)
  pen.box(-0.1, -0.95, 0.1, -0.65, (120, 90, 20), swing)
  pen.box(-0.8, 0.55, 0.8, 0.68, (150, 110, 20), swing)
  pen.line([(0, 0.6), (0, 0.9)], 0.22, (90, 60, 20), 1.4 * swing)


def siren(pen, look, t):
  left = math.sin(look.turn(t, 2)) > 0
  for x, on in ((-0.25, left), (0.25, not left)):
    pen.disc(x, -0.4, *((0.32, 0.26, (90, 150, 255)) if on else (0.14, 0.14, (25, 40, 150))))
  pen.box(-1.3, -0.3, 1.3, 0.55, (200, 25, 30))
  pen.box(0.65, -0.2, 1.2, 0.15, (170, 215, 240))
  pen.box(-1.3, 0.2, 1.3, 0.3, (250, 250, 250))
  for x in (-0.8, 0.8):
    pen.disc(x, 0.6, 0.28, 0.28, (25, 25, 25))
    pen.disc(x, 0.6, 0.12, 0.12, (190, 190, 190))


def engine(pen, look, t):
  tilt = look.turn(t, 1)
  pen.box(-1.1, -0.35, 0.8, 0.3, (40, 90, 60))
  pen.box(0.1, -0.85, 0.95, 0.3, (30, 70, 45))
  pen.box(0.25, -0.7, 0.8, -0.35, (240, 220, 130))
  pen.box(-0.9, -0.8, -0.65, -0.35, (40, 40, 40))
  for puff in range(3):
    age = (tilt / (2 * math.pi) + puff / 3) % 1
    pen.disc(-0.75 + 0.7 * age, -0.9 - 0.5 * age, 0.12 + 0.2 * age, 0.1 + 0.16 * age, (205, 205, 205))
  for x in (-0.75, -0.1, 0.55):
    pen.disc(x, 0.45, 0.32, 0.32, (35, 35, 35))
    rim = 0.22 * math.cos(tilt), 0.22 * math.sin(tilt)
    pen.line([(x - rim[0], 0.45 - rim[1]), (x + rim[0], 0.45 + rim[1])], 0.09, (220, 60, 50))


def bird(pen, look, t):
  flap = math.sin(look.turn(t, 2.5))
  pen.line([(-1.5, 0.75), (1.5, 0.65)], 0.14, (110, 75, 40))
  pen.disc(0, 0.1, 0.55, 0.45, (60, 120, 210))
  pen.disc(0.5, -0.35, 0.32, 0.3, (70, 135, 225))
  pen.shape([(0.78, -0.45), (1.15, -0.3), (0.78, -0.2)], (240, 160, 30))
  pen.disc(0.58, -0.42, 0.07, 0.07, (10, 10, 10))
  pen.shape([(-0.45, 0.1), (-1.15, -0.05), (-1.1, 0.3)], (40, 85, 160))
  pen.shape([(-0.3, 0.0), (0.25, 0.0), (-0.25, -0.25 - 0.6 * flap)], (35, 75, 150))


def rain(pen, look, t):
  pen.disc(-0.5, -0.75, 0.6, 0.35, (105, 110, 120))
  pen.disc(0.1, -0.9, 0.7, 0.42, (120, 125, 135))
  pen.disc(0.7, -0.7, 0.55, 0.32, (95, 100, 110))
  for drop in range(36):
    fall = (drop * 0.7321 + look.turn(t, 0.9) / (2 * math.pi)) % 1
    x = -1.1 + 2.2 * ((drop * 0.4142) % 1) - 0.15 * fall
    pen.line([(x, -0.4 + 1.6 * fall), (x - 0.04, -0.2 + 1.6 * fall)], 0.035, (150, 185, 235))


def drum(pen, look, t):
  beat = abs(math.sin(look.turn(t, 1.6)))
  pen.box(-0.9, -0.2, 0.9, 0.6, (180, 40, 90))
  pen.disc(0, 0.6, 0.9, 0.3, (180, 40, 90))
  for x in (-0.9, -0.45, 0, 0.45):
    pen.line([(x, -0.15), (x + 0.22, 0.75), (x + 0.45, -0.15)], 0.04, (245, 225, 180))
  pen.disc(0, -0.2, 0.9, 0.3, (245, 240, 225))
  for side, lift in ((-1, beat), (1, 1 - beat)):
    tip = 0.25 * side, -0.25 - 0.5 * lift
    pen.line([tip, (1.1 * side, -0.85 - 0.2 * lift)], 0.07, (150, 100, 50))
    pen.disc(*tip, 0.09, 0.09, (120, 70, 30))


def clock(pen, look, t):
  pen.disc(0, 0, 0.95, 0.95, (60, 40, 30))
  pen.disc(0, 0, 0.82, 0.82, (250, 248, 235))
  for hour in range(12):
    pen.line([(0, -0.76), (0, -0.64)], 0.06, (30, 30, 30), hour * math.pi / 6)
  second = math.floor(look.turn(t, 4) / (2 * math.pi)) * math.pi / 12
  pen.line([(0, 0), (0, -0.4)], 0.1, (30, 30, 30), second / 12 + 1)
  pen.line([(0, 0), (0, -0.6)], 0.07, (30, 30, 30), second / 4)
  pen.line([(0, 0.15), (0, -0.68)], 0.03, (210, 30, 30), second)


def violin(pen, look, t):
  bow = 0.5 * math.sin(look.turn(t, 0.7))
  wood = (165, 80, 30)
  pen.disc(0, 0.55, 0.5, 0.42, wood)
  pen.disc(0, -0.05, 0.4, 0.34, wood)
  pen.box(-0.28, 0.05, 0.28, 0.5, wood)
  pen.box(-0.08, -1.1, 0.08, 0.45, (35, 20, 15))
  pen.disc(0, -1.12, 0.14, 0.12, (60, 35, 20))
  for x in (-0.05, 0, 0.05):
    pen.line([(x, -1.05), (x, 0.75)], 0.012, (230, 230, 220))
  pen.line([(-1.1 + bow, 0.45), (1.1 + bow, 0.1)], 0.06, (240, 235, 210))


def kettle(pen, look, t):
  pen.disc(0, 0.3, 0.7, 0.55, (190, 195, 205))
  pen.disc(0, -0.2, 0.4, 0.12, (120, 125, 135))
  pen.disc(0, -0.33, 0.1, 0.1, (30, 30, 30))
  pen.shape([(0.5, 0.2), (1.0, -0.3), (1.15, -0.2), (0.62, 0.5)], (170, 175, 185))
  pen.line([(-0.5, -0.15), (-0.4, -0.75), (0.4, -0.75), (0.5, -0.15)], 0.1, (40, 40, 45))
  pen.box(-1.0, 0.85, 1.0, 0.95, (30, 30, 30))
  for flame in range(7):
    height = 0.12 + 0.08 * math.sin(look.turn(t, 3) + 2 * flame)
    x = -0.6 + 0.2 * flame
    pen.shape([(x - 0.08, 0.98), (x + 0.08, 0.98), (x, 0.98 - 2 * height)], (255, 120, 20))
  for puff in range(4):
    age = (look.turn(t, 0.8) / (2 * math.pi) + puff / 4) % 1
    pen.disc(1.1 + 0.25 * age, -0.35 - 0.7 * age, 0.08 + 0.14 * age, 0.06 + 0.12 * age, (240, 240, 245))


def waves(pen, look, t):
  pen.disc(0.9, -0.7, 0.25, 0.25, (250, 215, 90))
  for row, rgb in enumerate([(20, 100, 150), (25, 125, 170), (40, 155, 190)]):
    top = [
      (x, -0.15 + 0.4 * row + 0.13 * math.sin(3.5 * x + (1 + 0.4 * row) * look.turn(t, 0.5) + row))
      for x in np.linspace(-3.5, 3.5, 60)
    ]
    pen.shape([*top, (3.5, 4), (-3.5, 4)], rgb)
    pen.line(top, 0.06, (225, 245, 250))


def picture(draw, look, t_seconds):
  """The picture of a clip at a time: u8 [HEIGHT, WIDTH, 3]."""
  image = Image.new('RGB', (WIDTH, HEIGHT), look.background)
  draw(Pen(image, look), look, t_seconds)
  return np.asarray(image)
