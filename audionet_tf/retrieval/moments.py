"""The moments of a collection that fit a query best."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moment:
  """A window that was found: `path`, its start and end in seconds, and its cosine with the query."""

  path: str
  start_seconds: float
  end_seconds: float
  cosine: float


def nearest(index, query, top, per_file):
  """The moments whose vectors are nearest to a query, the nearest first.

  Of windows of a file that overlap, the nearest is taken.

  Args:
    index: dict of path to index.Entry.
    query: f32 [width], of length 1.
    top: number of moments.
    per_file: number of moments of one file, at most.

  Returns:
    list of Moment; shorter than `top` if there are not so many.
  """
  from sklearn import neighbors

  numbers = np.repeat(np.arange(len(index)), [len(entry.times) for entry in index.values()])
  vectors = np.concatenate([entry.vectors for entry in index.values()]).astype(np.float32)
  times, paths = np.concatenate([entry.times for entry in index.values()]), list(index)
  search = neighbors.NearestNeighbors(n_neighbors=len(vectors), metric='cosine', algorithm='brute').fit(vectors)
  ((distances,), (order,)) = search.kneighbors(query[None])
  chosen = {}
  found = []
  for distance, row in zip(distances, order, strict=True):
    spans = chosen.setdefault(numbers[row], [])
    start, end = times[row]
    if len(spans) == per_file or any(start < other[1] and other[0] < end for other in spans):
      continue
    spans.append((start, end))
    found.append(Moment(paths[numbers[row]], float(start), float(end), float(1 - distance)))
    if len(found) == top:
      break
  return found
