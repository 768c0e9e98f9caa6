"""Tables of labelled clips, in the form of ESC-10 and ESC-50: a CSV with `filename`, `fold`, `target`, `category`."""

import collections
import dataclasses
import pathlib

from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists


@dataclasses.dataclass(frozen=True)
class Clip:
  """A row. `path`; `category` and `fold`, str, empty where the table has none; `name`, what its results are called."""

  path: pathlib.Path
  category: str = ''
  fold: str = ''
  name: str = ''


def read(path, audio=None, labelled=False):
  """List of Clip from a CSV.

  Args:
    path: CSV with a header and a column `filename` or `path`.
    audio: folder that its paths start from; None for the folder of the CSV.
    labelled: whether `fold`, and `category` or `target`, must be there. A category is what `category` says, else the
      `target`.

  Raises:
    UserError: no such file, no rows, a column or a value missing.
  """
  columns = (('filename', 'path'), ('category', 'target'), ('fold',))
  needed = columns if labelled else columns[:1]
  rows = class_lists.read_table(path, needed)
  root = pathlib.Path(audio) if audio else pathlib.Path(path).parent
  there = [next((name for name in names if name in rows[0]), None) for names in columns]
  clips = []
  for number, row in enumerate(rows, 2):
    values = [row[column].strip() if column else '' for column in there]
    if not all(values[: len(needed)]):
      raise UserError(f'{path}: row {number} has no {there[values.index("")]}')
    file = root / values[0]
    clips.append(Clip(file, *values[1:], name_below(file, root)))
  return clips


def name_below(path, root):
  """The path from `root` on, str; the file's name alone where it may lie elsewhere: results stay in their folder."""
  below = path.relative_to(root) if path.is_relative_to(root) else pathlib.Path('..')
  return path.name if '..' in below.parts else below.as_posix()


def check_names(names, advice='use two --output'):
  """Raises UserError where two inputs have the same name: their results would be one file."""
  name, count = collections.Counter(names).most_common(1)[0]
  if count > 1:
    raise UserError(f'{count} inputs are called {name}: their results would be one file; {advice}')


def check_clips(clips):
  """`check_names` of a table's clips, which go by their paths below the folder of the sounds."""
  check_names([clip.name for clip in clips], 'list each once, all below the folder --media_root')
