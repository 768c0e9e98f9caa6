"""Scores of many clips and classes on disk: they come back a few classes at a time.

Memory is that of MOST_NUMBERS scores, however many clips and classes there are, up to so many clips; past that, that of
one class.
"""

import tempfile

import numpy as np

MOST_NUMBERS = 1 << 22
CHUNK_CLIPS = 256


class ScoreStore:
  """Takes the scores and labels of clips one by one; a context manager, whose end deletes the file."""

  def __init__(self, classes):
    self.clips, self.classes = 0, classes
    self.row = np.dtype([('scores', '<f4', (classes,)), ('labels', '?', (classes,))])

  def __enter__(self):
    self.file = tempfile.TemporaryFile()
    return self

  def __exit__(self, *error):
    self.file.close()

  def add(self, scores, labels):
    """Keeps a clip: scores f32 [classes], labels bool [classes]."""
    row = np.zeros(1, self.row)
    row['scores'], row['labels'] = scores, labels
    self.file.write(row.tobytes())
    self.clips += 1

  def columns(self):
    """Yields (class, scores f32 [clips], labels bool [clips]) of every class in order."""
    at_once = max(1, MOST_NUMBERS // max(1, self.clips))
    for first in range(0, self.classes, at_once):
      some = slice(first, min(first + at_once, self.classes))
      scores, labels = (np.empty([some.stop - first, self.clips], kind) for kind in (np.float32, bool))
      self.file.seek(0)
      for start in range(0, self.clips, CHUNK_CLIPS):
        rows = np.frombuffer(self.file.read(CHUNK_CLIPS * self.row.itemsize), self.row)
        scores[:, start : start + len(rows)] = rows['scores'][:, some].T
        labels[:, start : start + len(rows)] = rows['labels'][:, some].T
      for number in range(some.stop - first):
        yield first + number, scores[number], labels[number]
