"""Style and saving of figures. They are made without pyplot, so that no window opens and nothing has to be closed.

Colours are those of Okabe and Ito (2008), which colour-blind readers can distinguish; line styles repeat them.
"""

import pathlib
import textwrap

import numpy as np
from matplotlib import ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg

from audionet_tf.core import files
from audionet_tf.core.errors import UserError

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
LINE_STYLES = ('-', (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))  # solid, dashed, dotted, dash-dotted
MOST_LINES = len(COLOURS) * len(LINE_STYLES)
FORMATS = ('.png', '.pdf', '.svg')
DOTS_PER_INCH = 150
MOST_STEPS = 1200  # time steps drawn one by one: about one per pixel


def save(figure, path):
  """Writes a Figure atomically as PNG, PDF or SVG, by the suffix of `path`; makes its folder.

  Raises:
    UserError: the suffix is not in FORMATS.
  """
  path = check_path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path, 'wb') as file:
    figure.savefig(file, format=path.suffix[1:], dpi=DOTS_PER_INCH)


def check_path(path):
  """`path` as a pathlib.Path. UserError where its suffix is not in FORMATS."""
  path = pathlib.Path(path)
  if path.suffix not in FORMATS:
    raise UserError(f'{path}: figures are written as {", ".join(FORMATS)}; give the file one of these suffixes')
  return path


def reduce_groups(values, group, reduce):
  """`reduce` of every `group` successive values; the last group may be smaller."""
  return np.array([reduce(values[i : i + group]) for i in range(0, len(values), group)])


def draw_wave(axes, wave, sample_rate_hz):
  """Draws a dict of `overview.envelope`: the range of the samples in every block."""
  blocks = np.arange(len(wave['low'])) + 0.5
  seconds = (wave['start_sample'] + blocks * wave['block_samples']) / sample_rate_hz
  axes.fill_between(seconds, wave['low'], wave['high'], color='0.3', linewidth=0.5)
  peak = max(np.abs(wave['low']).max(initial=0), np.abs(wave['high']).max(initial=0), 1e-3)
  axes.set_ylim(-1.05 * peak, 1.05 * peak)
  axes.set_ylabel('sound (full scale 1)')


def label_time(axes, length_seconds):
  """Labels a time axis in seconds up to two minutes, then in minutes, then in hours, with ticks at round times."""
  if length_seconds <= 120:
    axes.set_xlabel('time, seconds')
    return
  long = length_seconds > 3600
  step = next((s for s in (15, 30, 60, 120, 300, 600, 900, 1800, 3600) if length_seconds / s <= 10), None)
  axes.xaxis.set_major_locator(ticker.MultipleLocator(step) if step else ticker.MaxNLocator(10))
  axes.xaxis.set_major_formatter(lambda t, _: clock(t, long))
  axes.set_xlabel('time, hours:minutes:seconds' if long else 'time, minutes:seconds')


def clock(seconds, with_hours):
  """3725 as '1:02:05', 65 as '1:05'."""
  minutes, seconds = divmod(round(seconds), 60)
  return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}' if with_hours else f'{minutes}:{seconds:02}'


def line_style(i):
  """Colour and line style of line `i`, a dict: distinct for MOST_LINES lines; neighbours differ in colour."""
  return {'color': COLOURS[i % len(COLOURS)], 'linestyle': LINE_STYLES[i // len(COLOURS) % len(LINE_STYLES)]}


def legend(axes, handles, texts, columns=1):
  """Puts a legend to the right of the axes.

  Texts are set afterwards, as matplotlib before 3.10 leaves out those that begin with '_'.
  """
  box = axes.legend(
    handles,
    [str(i) for i in range(len(handles))],
    loc='upper left',
    bbox_to_anchor=(1.01, 1.02),
    fontsize=8,
    frameon=False,
    handlelength=3.2,
    borderaxespad=0,
    ncols=columns,
  )
  for entry, text in zip(box.get_texts(), texts, strict=True):
    entry.set(text=text, parse_math=False)  # a file name may hold dollar signs


def shorten(text, width=34):
  """`text` on one line of at most `width` characters, its middle replaced by an ellipsis where it is longer."""
  text = ' '.join(text.split())
  left = (width - 1) // 2
  return text if len(text) <= width else f'{text[:left]}…{text[left + 1 - width :]}'


def distinct(names, width=34):
  """`names` shortened to `width`, with numbers where that makes two of them equal."""
  short = [shorten(name, width) for name in names]
  return [f'{text} ({short[: i + 1].count(text)})' if short.count(text) > 1 else text for i, text in enumerate(short)]


def wrap(text, width=30, lines=3):
  """`text` on at most `lines` lines of `width` characters, the remainder left out."""
  return '\n'.join(textwrap.wrap(text, width, max_lines=lines, placeholder=' …'))


def to_rgb(figure):
  """A Figure as an image u8 [H, W, 3]."""
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3]
