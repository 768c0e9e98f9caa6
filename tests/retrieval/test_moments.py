"""The nearest moments and their page, against sorting in NumPy."""

import html.parser
import urllib.parse

import numpy as np

from audionet_tf.retrieval import index, moments, page

RNG = np.random.default_rng(0)


def collection(counts, width=5):
  entries = {}
  for name, count in counts.items():
    vectors = RNG.normal(size=(count, width))
    starts = np.arange(count) * 0.5
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    entries[name] = index.Entry((0, 0), np.stack([starts, starts + 1], 1), vectors)
  return entries


def test_the_best_that_do_not_overlap_come_first():
  entries = collection({'/a': 9, '/b': 1, '/c': 6})
  query = np.float32([1, 0, 0, 0, 0])
  rows = [
    (float(vector[0]), name, start, end)
    for name, entry in entries.items()
    for vector, (start, end) in zip(entry.vectors.astype(np.float64), entry.times, strict=True)
  ]
  expected, taken = [], []
  for cosine, name, start, end in sorted(rows, reverse=True):
    same = [other for other in taken if other[0] == name]
    if len(same) < 2 and all(end <= other[1] or other[2] <= start for other in same):
      taken.append((name, start, end))
      expected.append((name, start, end, cosine))
  found = moments.nearest(entries, query, top=100, per_file=2)
  assert [(m.path, m.start_seconds, m.end_seconds) for m in found] == [row[:3] for row in expected]
  np.testing.assert_allclose([m.cosine for m in found], [row[3] for row in expected], atol=1e-3)
  assert moments.nearest(entries, query, top=3, per_file=2) == found[:3]


class Players(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.sources, self.tags = [], []

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.sources += [dict(attributes)['src']] if tag == 'audio' else []


def test_the_page_plays_the_files_where_they_are(tmp_path):
  path = tmp_path / 'sounds' / 'a "b" <i>#1.wav'
  parser = Players()
  parser.feed(page.page('<script>rain', [moments.Moment(str(path), 1.25, 2.5, 0.5)], tmp_path / 'found'))
  (source,) = parser.sources
  address, fragment = source.split('#')
  assert (tmp_path / 'found' / urllib.parse.unquote(address)).resolve() == path
  assert fragment == 't=1.250,2.500' and not {'script', 'i'} & set(parser.tags)
