"""Tables with a row for each of many videos, as Parquet: of a manifest, and of the statistics of an epoch.

| table     | columns                                                                     |
|-----------|-----------------------------------------------------------------------------|
| manifest  | `id`, `digest` (string), `windows`, `first_window` (int64), sorted by id    |
| an epoch  | `id` (string), and metrics: a number, or one for each window                |

Up to IN_JSON videos, both are JSON and nothing else.
"""

import collections.abc
import contextlib
import os
import pathlib

from audionet_tf.core import files
from audionet_tf.data import parquet_pages

IN_JSON = 10_000  # videos; a JSON of more takes megabytes in every epoch
BATCH_ROWS = 4096
LONGEST_ROW_BYTES = 8192  # on average, unpacked
MOST_UNPACKED, SMALL_BYTES = 100, 1 << 20  # times the size of a file, or the second if that is more
ENCODINGS = {'PLAIN', 'RLE', 'BIT_PACKED'}  # others, as a dictionary, hold more than the sizes in the file tell
COLUMNS = {'id': 'string', 'digest': 'string', 'windows': 'int64', 'first_window': 'int64'}


class VideoTable(collections.abc.Sequence):
  """The `videos` of a manifest: a sequence of dicts, as a list from JSON is, held as columns.

  Args:
    table: pyarrow.Table with COLUMNS.
    path: pathlib.Path of the file that holds it, or None.
  """

  def __init__(self, table, path=None):
    self.table, self.path = table, path

  def __len__(self):
    return self.table.num_rows

  def __getitem__(self, number):
    if isinstance(number, slice):
      return [self[i] for i in range(*number.indices(len(self)))]
    if not -len(self) <= number < len(self):
      raise IndexError(number)
    return self.table.slice(number % len(self), 1).to_pylist()[0]

  def __iter__(self):
    for batch in self.table.to_batches(BATCH_ROWS):
      yield from batch.to_pylist()

  def __eq__(self, other):
    return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))


def from_rows(rows):
  """The VideoTable of an iterable of dicts with COLUMNS."""
  import pyarrow

  schema, batches = _schema(COLUMNS), []
  columns = {name: [] for name in COLUMNS}

  def flush():
    batches.append(pyarrow.RecordBatch.from_pydict(columns, schema))
    for values in columns.values():
      values.clear()

  for row in rows:
    for name, values in columns.items():
      values.append(row[name])
    if len(columns['id']) == BATCH_ROWS:
      flush()
  flush()
  return VideoTable(pyarrow.Table.from_batches(batches, schema).combine_chunks())


def read(path, rows):
  """Reads the VideoTable of a manifest.

  Args:
    path: pathlib.Path of the file.
    rows: number of rows that it should have.

  Raises:
    ValueError: it is not such a file. OSError: it cannot be read.
  """
  from pyarrow import parquet

  with _damage_as_value_error(), parquet.ParquetFile(path) as file:
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    counts = file.metadata.num_rows, sum(group.num_rows for group in groups)
    if counts != (rows, rows) or size > LONGEST_ROW_BYTES * rows:
      raise ValueError(f'{file.metadata.num_rows} videos in {size} bytes, expected {rows} videos')
    if file.schema_arrow.remove_metadata() != _schema(COLUMNS):
      raise ValueError(f'its columns are not {", ".join(COLUMNS)}')
    used = {name for group in groups for i in range(group.num_columns) for name in group.column(i).encodings}
    if not used <= ENCODINGS:
      raise ValueError(f'its columns are encoded by {", ".join(sorted(used - ENCODINGS))}, expected is PLAIN')
    file_bytes = os.path.getsize(path)
    if rows > max(file_bytes, SMALL_BYTES):  # of equal or missing values
      raise ValueError(f'{rows} videos in a file of {file_bytes} bytes')
    parquet_pages.check(path, file.metadata, min(LONGEST_ROW_BYTES * rows, most_unpacked(file_bytes)))
    table = file.read()
    table.validate(full=True)
  if any(column.null_count for column in table.columns):
    raise ValueError('a value is missing')
  return VideoTable(table, pathlib.Path(path))


def write(path, table):
  """Writes a VideoTable atomically."""
  from pyarrow import parquet

  with files.atomic_write(path, 'wb') as file:
    parquet.write_table(table.table, file, compression='zstd', use_dictionary=False)


def write_epoch(path, columns):
  """Writes the statistics of an epoch atomically.

  Args:
    path: of the file, whose folder is made.
    columns: dict of `id`, list of str, and metrics: f64 [videos], or a list of arrays.
  """
  import pyarrow
  from pyarrow import parquet

  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path, 'wb') as file:
    parquet.write_table(pyarrow.table(columns), file, compression='zstd', use_dictionary=False)


def read_epoch(path, metric):
  """(list of ids, f64 array of a metric) of the statistics of an epoch. ValueError if the file is damaged."""
  from pyarrow import parquet

  with _damage_as_value_error(), parquet.ParquetFile(path) as file:
    parquet_pages.check(path, file.metadata, most_unpacked(os.path.getsize(path)))
    table = file.read(columns=['id', metric])
    return table['id'].to_pylist(), table[metric].to_numpy().astype(float)


def most_unpacked(file_bytes):
  """Most bytes that a table of that size may unpack to: an untrusted file must not exhaust the memory."""
  return max(MOST_UNPACKED * file_bytes, SMALL_BYTES)


@contextlib.contextmanager
def _damage_as_value_error():
  """Context in which what pyarrow raises about a damaged file becomes ValueError; errors of the system stay OSError."""
  import pyarrow

  try:
    yield
  except (pyarrow.ArrowException, KeyError, OSError) as error:
    if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
      raise
    raise ValueError(str(error)) from None


def _schema(columns):
  """pyarrow.Schema of a dict of names to types."""
  import pyarrow

  return pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
