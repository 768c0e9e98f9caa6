"""Figures of sets of clips: who is taken for whom, and what lies near what."""

import numpy as np
from matplotlib.figure import Figure

from audionet_tf.plots import distinct

MOST_NAMED = 120  # categories whose names and counts can still be read


def confusion(counts, class_names, title=''):
  """Counts of clips: one row a true category, one column what was named; shaded by the share of the row.

  Past MOST_NAMED categories only the shades are drawn, and the categories are numbered.

  Args:
    counts: int [categories, categories].
    class_names: str [categories].
    title: str; below it come the accuracy and the number of clips.
  """
  counts = np.asarray(counts)
  number = len(class_names)
  cell = min(0.5, max(0.2, 8 / number)) if number <= MOST_NAMED else 14 / number  # inches
  side = 2.5 + cell * number
  figure = Figure(figsize=(side + 1, side), layout='constrained')
  axes = figure.add_subplot()
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
  figure.colorbar(image, ax=axes, label='share of the category', shrink=0.8)
  if number <= MOST_NAMED:
    write_counts(axes, counts, share, 20 * cell)
    ticks, size = distinct(class_names, 24), min(10, 36 * cell)
    down = {'rotation': 60, 'ha': 'right', 'rotation_mode': 'anchor'}
    axes.set_xticks(range(number), ticks, fontsize=size, parse_math=False, **down)
    axes.set_yticks(range(number), ticks, fontsize=size, parse_math=False)
  right = f'{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum():,} right'
  axes.set_title(f'{title}\n{right}' if title else right, parse_math=False, fontsize=10)
  axes.set_xlabel('named')
  axes.set_ylabel('true category')
  return figure


def write_counts(axes, counts, share, size):
  """The counts above zero in their cells, in `size` points where they are short."""
  for (row, column), count in np.ndenumerate(counts):
    if count:
      colour = 'white' if share[row, column] > 0.5 else 'black'
      fitting = size * min(1, 3 / len(str(count)))
      axes.text(column, row, str(count), ha='center', va='center', color=colour, fontsize=fitting)
