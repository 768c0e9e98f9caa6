"""Draws the icons of the browser extension from audionet_tf/service/web/icon.svg, as Chromium takes no SVG there.

  python scripts/lib/draw_icons.py

The drawing is rectangles with round corners, which Pillow can do; any other shape is an error.
"""

import pathlib
from xml.etree import ElementTree

from PIL import Image, ImageDraw

WEB = pathlib.Path(__file__).resolve().parents[2] / 'audionet_tf/service/web'
SIZES = (16, 32, 48, 128)
OVERSAMPLING = 16  # drawn this many times larger, then reduced, for smooth edges


def rectangles(svg):
  """Yields (fill, x, y, width, height, radius) of the rectangles in an SVG file, in its own units."""
  for parent in ElementTree.parse(svg).iter():
    for shape in parent:
      kind = shape.tag.rpartition('}')[2]
      if kind not in ('rect', 'g'):
        raise SystemExit(f'{svg}: <{kind}> cannot be drawn, only <rect> and <g>')
      if kind == 'rect':
        numbers = (float(shape.get(name, 0)) for name in ('x', 'y', 'width', 'height', 'rx'))
        yield (shape.get('fill') or parent.get('fill'), *numbers)


def icon(size):
  """The icon as a picture of Pillow, size x size, transparent around it."""
  svg = WEB / 'icon.svg'
  scale = size * OVERSAMPLING / float(ElementTree.parse(svg).getroot().get('viewBox').split()[2])
  picture = Image.new('RGBA', (size * OVERSAMPLING, size * OVERSAMPLING))
  for fill, x, y, width, height, radius in rectangles(svg):
    box = [x * scale, y * scale, (x + width) * scale - 1, (y + height) * scale - 1]
    ImageDraw.Draw(picture).rounded_rectangle(box, radius * scale, fill)
  return picture.resize((size, size), Image.Resampling.BOX)


def main():
  for size in SIZES:
    icon(size).save(WEB / 'extension' / f'icon{size}.png', optimize=True)


if __name__ == '__main__':
  main()
