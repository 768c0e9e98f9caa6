"""Figures of sets of clips: confusion matrix and map of features."""

import numpy as np
from matplotlib.figure import Figure

from audionet_tf.plotting.style import COLOURS, distinct, legend

MOST_NAMED = 120  # categories whose names and counts are still readable
GROUP_COLOURS = (*COLOURS, '#F0E442', '#000000')
MARKERS = 'osD^vP*X'
MOST_GROUPS = len(GROUP_COLOURS) * len(MARKERS)


def confusion(counts, class_names, title='', words=('true category', 'predicted category', 'correct')):
  """A confusion matrix: one row per true category, one column per predicted one, shaded by the share of the row.

  With more than MOST_NAMED categories only the shades are drawn, and the categories are numbered.

  Args:
    counts: int [categories, categories], numbers of clips.
    class_names: str [categories].
    title: str; the accuracy and the number of clips are written below it.
    words: labels of the rows, of the columns, and of the diagonal.

  Returns:
    matplotlib Figure.
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
    slanted = {'rotation': 60, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(range(number), ticks, fontsize=size, parse_math=False, **slanted)
    axes.set_yticks(range(number), ticks, fontsize=size, parse_math=False)
  accuracy = f'{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum():,} {words[2]}'
  axes.set_title(f'{title}\n{accuracy}' if title else accuracy, parse_math=False, fontsize=10)
  axes.set_xlabel(words[1])
  axes.set_ylabel(words[0])
  return figure


def write_counts(axes, counts, share, size):
  """Writes the counts above zero into their cells, in at most `size` points."""
  for (row, column), count in np.ndenumerate(counts):
    if count:
      colour = 'white' if share[row, column] > 0.5 else 'black'
      points = size * min(1, 3 / len(str(count)))
      axes.text(column, row, str(count), ha='center', va='center', color=colour, fontsize=points)


def plane(points, groups, title=''):
  """Clips as points, coloured by group, with the largest groups first in the legend.

  Colour and shape distinguish MOST_GROUPS groups; all smaller ones are grey dots. Source: Aytar et al. 2016, figure 5.

  Args:
    points: f32 [clips, 2].
    groups: str [clips].
    title: str.

  Returns:
    matplotlib Figure.
  """
  names, of_clip, sizes = np.unique(np.asarray(groups, object).astype(str), return_inverse=True, return_counts=True)
  order = np.argsort(-sizes, kind='stable')
  columns = 1 if min(len(order), MOST_GROUPS) <= 25 else 2
  figure = Figure(figsize=(7.2 + 2.6 * columns, 6.6), layout='constrained')
  axes = figure.add_subplot()
  scale = max(1.0, min(4.0, 150 / len(points)))  # larger dots for few points
  handles = []
  for rank, group in enumerate(order[:MOST_GROUPS]):
    members = points[of_clip == group]
    style = {'color': GROUP_COLOURS[rank % len(GROUP_COLOURS)], 'marker': MARKERS[rank // len(GROUP_COLOURS)]}
    handles.append(axes.scatter(*members.T, s=16 * scale, linewidth=0.3, edgecolor='white', **style))
  texts = [f'{name} ({sizes[group]})' for name, group in zip(distinct(names[order]), order, strict=True)][:MOST_GROUPS]
  if len(order) > MOST_GROUPS:
    others = points[np.isin(of_clip, order[MOST_GROUPS:])]
    handles.append(axes.scatter(*others.T, s=8 * scale, color='0.75', zorder=0))
    texts.append(f'{len(order) - MOST_GROUPS} others ({len(others)})')
  axes.set_xticks([])
  axes.set_yticks([])
  axes.set_title(title, parse_math=False, fontsize=10)
  legend(axes, handles, texts, columns)
  return figure
