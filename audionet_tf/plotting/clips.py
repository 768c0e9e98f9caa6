"""Figures of sets of clips: who is taken for whom, and what lies near what."""

import numpy as np
from matplotlib.figure import Figure

from audionet_tf.plotting.style import COLOURS, distinct, legend

MOST_NAMED = 120  # categories whose names and counts can still be read
GROUP_COLOURS = (*COLOURS, '#F0E442', '#000000')
MARKERS = 'osD^vP*X'
MOST_GROUPS = len(GROUP_COLOURS) * len(MARKERS)


def confusion(counts, class_names, title='', words=('true category', 'named', 'right')):
  """Counts of clips: one row a true category, one column what was named; shaded by the share of the row.

  Past MOST_NAMED categories only the shades are drawn, and the categories are numbered.

  Args:
    counts: int [categories, categories].
    class_names: str [categories].
    title: str; below it come the accuracy and the number of clips.
    words: what the rows, the columns and the diagonal are called.
  """
  counts = np.asarray(counts)
  number = len(class_names)
  cell = min(0.5, max(0.2, 8 / number)) if number <= MOST_NAMED else 14 / number  # inches
  side = 2.5 + cell * number
  figure = Figure(figsize=(side + 1, side), layout='constrained')
  axes = figure.add_subplot()
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  figure.colorbar(image, ax=axes, label='share of the category', shrink=0.8, aspect=30)
  if number <= MOST_NAMED:
    write_counts(axes, counts, share, min(10, 32 * cell))
    ticks, size = distinct(class_names, 24), min(10, 36 * cell)
    down = {'rotation': 60, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(range(number), ticks, fontsize=size, parse_math=False, **down)
    axes.set_yticks(range(number), ticks, fontsize=size, parse_math=False)
  right = f'{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum():,} {words[2]}'
  axes.set_title(f'{title}\n{right}' if title else right, parse_math=False, fontsize=10)
  axes.set_xlabel(words[1])
  axes.set_ylabel(words[0])
  return figure


def write_counts(axes, counts, share, size):
  """The counts above zero in their cells, in `size` points where they are short."""
  for (row, column), count in np.ndenumerate(counts):
    if count:
      colour = 'white' if share[row, column] > 0.5 else 'black'
      fitting = size * min(1, 3 / len(str(count)))
      axes.text(column, row, str(count), ha='center', va='center', color=colour, fontsize=fitting)


def plane(points, groups, title=''):
  """Clips as points, coloured by group, the largest groups first in the legend (Aytar 2016, figure 5).

  Colour and shape tell MOST_GROUPS groups apart; the others, the smallest, are grey dots.

  Args:
    points: f32 [clips, 2].
    groups: list of str [clips].
    title: str.
  """
  names, of_clip, sizes = np.unique(np.asarray(groups, object).astype(str), return_inverse=True, return_counts=True)
  order = np.argsort(-sizes, kind='stable')
  columns = 1 if min(len(order), MOST_GROUPS) <= 25 else 2
  figure = Figure(figsize=(7.2 + 2.6 * columns, 6.6), layout='constrained')
  axes = figure.add_subplot()
  few = max(1.0, min(4.0, 150 / len(points)))  # large dots where there is room
  handles = []
  for rank, group in enumerate(order[:MOST_GROUPS]):
    chosen = points[of_clip == group]
    style = {'color': GROUP_COLOURS[rank % len(GROUP_COLOURS)], 'marker': MARKERS[rank // len(GROUP_COLOURS)]}
    handles.append(axes.scatter(*chosen.T, s=16 * few, linewidth=0.3, edgecolor='white', **style))
  texts = [f'{name} ({sizes[group]})' for name, group in zip(distinct(names[order]), order, strict=True)][:MOST_GROUPS]
  if len(order) > MOST_GROUPS:
    rest = points[np.isin(of_clip, order[MOST_GROUPS:])]
    handles.append(axes.scatter(*rest.T, s=8 * few, color='0.75', zorder=0))
    texts.append(f'{len(order) - MOST_GROUPS} others ({len(rest)})')
  axes.set_xticks([])
  axes.set_yticks([])
  axes.set_title(title, parse_math=False, fontsize=10)
  legend(axes, handles, texts, columns)
  return figure
