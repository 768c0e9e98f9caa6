"""Tables of labelled clips, such as those of ESC-10 and ESC-50: CSV with `filename`, `fold`, `target`, `category`."""

import collections
import dataclasses
import pathlib

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import csv_files


@dataclasses.dataclass(frozen=True)
class Clip:
  """A row of the table.

  Attributes:
    path: of the media file.
    category: empty where the table has none.
    fold: empty where the table has none.
    name: what the clip's results are called.
  """

  path: pathlib.Path
  category: str = ''
  fold: str = ''
  name: str = ''


def read(path, audio=None, labelled=False):
  """Reads a table of clips.

  Args:
    path: CSV with a header and a column `filename` or `path`.
    audio: folder that its paths are relative to; None for the folder of the CSV.
    labelled: whether the columns `fold` and `category` or `target` are required. The category is that of `category` if
      there is such a column, else that of `target`.

  Returns:
    list of Clip.

  Raises:
    UserError: there is no such file, it has no rows, or a column or value is missing.
  """
  columns = (('filename', 'path'), ('category', 'target'), ('fold',))
  required = columns if labelled else columns[:1]
  rows = csv_files.read_table(path, required)
  root = pathlib.Path(audio) if audio else pathlib.Path(path).parent
  present = [next((name for name in names if name in rows[0]), None) for names in columns]
  clips = []
  for row in rows:
    for column in present[: len(required)]:
      csv_files.required(path, row, column)
    values = [row[column] if column else '' for column in present]
    file = root / values[0]
    clips.append(Clip(file, *values[1:], name_below(file, root)))
  return clips


def name_below(path, root):
  """The path relative to `root`, str; the file's name alone if it may lie elsewhere: results stay in their folder."""
  below = path.relative_to(root) if path.is_relative_to(root) else pathlib.Path('..')
  return path.name if '..' in below.parts else below.as_posix()


def check_names(names, advice='use a separate --output for each'):
  """Raises UserError if two inputs have the same name and would overwrite each other's results."""
  name, count = collections.Counter(names).most_common(1)[0]
  if count > 1:
    raise UserError(f'{count} inputs are called {name}: their results would overwrite each other; {advice}')


def check_clips(clips):
  """`check_names` for the clips of a table, which are named by their paths below the folder of the media files."""
  check_names([clip.name for clip in clips], 'list each clip once, all below --media_root')
