"""Compares what is stored beside records, answers of teachers or codec variants, with its manifest and the records."""

from collections.abc import Callable
from typing import NamedTuple

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data.record_manifest import MANIFEST_NAME
from tfrecords import hashed_order


class Kind(NamedTuple):
  """What is stored.

  Attributes:
    pattern: of the names of its files.
    parse_manifest: function of a folder that returns its manifest; UserError if it is damaged.
    strange: function of (folder, its manifest, that of the records, whether it is of these records) that yields what
      does not fit, without the path.
    problem: function of (path of a file, its row in the manifest, the manifest or None, places) that returns what is
      wrong with the file, or None. Without a manifest the row is only the name. `places`: int64 [windows, 2],
      positions of videos and numbers of windows that the file should hold in this order, or None if not known.
  """

  pattern: str
  parse_manifest: Callable
  strange: Callable
  problem: Callable


def inspect(kind, folder, manifest, progress=lambda count: None):
  """Reads all files of a kind in a folder. Those for other records are compared with their own manifest only.

  Args:
    kind: Kind.
    folder: pathlib.Path.
    manifest: of the records beside it, from `record_manifest.read`.
    progress: function that is called with the number of windows read since the last call.

  Returns:
    list of (pathlib.Path of the damaged file, fault of one line). A folder that is not finished has files without a
    manifest.
  """
  path, stored, faults = folder / MANIFEST_NAME, None, []
  if path.is_file():
    try:
      stored = kind.parse_manifest(folder)
    except UserError as error:
      faults.append((path, str(error)))
  of_these = stored is not None and stored['records_digest'] == manifest['digest']
  if stored is not None:
    faults += [(path, f'{path}: {problem}') for problem in kind.strange(folder, stored, manifest, of_these)]
  expected = hashed_order.Windows(manifest['videos']) if of_these and not faults else None
  rows = stored['shards'] if stored else [{'name': name} for name in store_mirror.names(folder, kind.pattern)]
  for row in rows:
    windows, file = row.get('windows', 0), folder / row['name']
    places = expected.take(windows) if expected else None
    problem = 'missing' if store_mirror.size(file) is None else kind.problem(file, row, stored, places)
    if problem:
      faults.append((file, f'{file}: {problem}'))
    progress(windows)
  return faults
