"""Tables of labelled clips, in the form of ESC-10 and ESC-50: a CSV with `filename`, `fold`, `target`, `category`."""

import collections
import csv
import dataclasses
import pathlib

from audionet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Clip:
  """A row. `path`; `category` and `fold`, str, empty where the table has none."""

  path: pathlib.Path
  category: str = ''
  fold: str = ''


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
  path = pathlib.Path(path)
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      rows = list(csv.DictReader(file, restval=''))
  except (FileNotFoundError, IsADirectoryError):
    raise UserError(f'{path}: no such file; expected is a CSV of clips') from None
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f'{path}: not a CSV ({error})') from None
  if not rows:
    raise UserError(f'{path}: no rows below its header')
  needed = [('filename', 'path')] + [('fold',), ('category', 'target')] * labelled
  columns = [next((name for name in names if name in rows[0]), None) for names in needed]
  for names, column in zip(needed, columns, strict=True):
    if not column:
      raise UserError(f'{path}: no column {" or ".join(names)}; it has {", ".join(filter(None, rows[0]))}')
  root = pathlib.Path(audio) if audio else path.parent
  clips = []
  for number, row in enumerate(rows, 2):
    values = [row[column].strip() for column in columns]
    if not all(values):
      raise UserError(f'{path}: row {number} has no {columns[values.index("")]}')
    clips.append(Clip(root / values[0], *reversed(values[1:])))
  return clips


def check_names(paths):
  """Raises UserError where two files have the same name: their results would be one file."""
  name, count = collections.Counter(pathlib.Path(path).name for path in paths).most_common(1)[0]
  if count > 1:
    raise UserError(f'{count} inputs are called {name}: their results would be one file; use two --output')
