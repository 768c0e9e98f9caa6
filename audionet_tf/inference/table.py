"""Predictions over time as a table for the screen; for a long file, means over equal spans of windows."""

import numpy as np

from audionet_tf.core import text

MOST_ROWS = 24


class Table:
  """Collects blocks of rows, as of `predict.blocks`, in at most 2 x MOST_ROWS spans, however long the sound is."""

  def __init__(self):
    self.spans = []  # [start_seconds, end_seconds, f64 [classes] sum of probabilities, windows]
    self.windows = 1  # per span

  def add(self, block):
    """Adds the windows of a block, in order."""
    rows = zip(block['start_seconds'], block['end_seconds'], block['probabilities'], strict=True)
    for start, end, probabilities in rows:
      if self.spans and self.spans[-1][3] < self.windows:
        self.spans[-1] = merged(self.spans[-1], [start, end, probabilities, 1])
      else:
        self.spans.append([start, end, probabilities.astype(np.float64), 1])
      if len(self.spans) > 2 * MOST_ROWS:
        self.halve()

  def halve(self):
    """Merges pairs of spans, which then have twice as many windows."""
    pairs = (self.spans[number : number + 2] for number in range(0, len(self.spans), 2))
    self.spans = [merged(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    self.windows *= 2

  def text(self, class_names, top):
    """The table as text: start, end, and the `top` classes with their probabilities per row."""
    while len(self.spans) > MOST_ROWS:
      self.halve()
    top = min(top, len(class_names))
    rows = [['start', 'end', *(word for number in range(top) for word in (f'class {number + 1}', ''))]]
    for start, end, total, windows in self.spans:
      best = (-total).argsort(kind='stable')[:top]
      cells = (cell for i in best for cell in (class_names[i], f'{total[i] / windows:.2f}'))
      rows.append([f'{start:.2f}', f'{end:.2f}', *cells])
    note = f'\neach row is the mean of {self.windows} windows; --output=DIR keeps every one' * (self.windows > 1)
    return text.aligned(rows, range(2, 2 + 2 * top, 2)) + note


def merged(first, second):
  """Two consecutive spans as one."""
  return [first[0], second[1], first[2] + second[2], first[3] + second[3]]
