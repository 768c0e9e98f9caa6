"""Text and CSV files as other programs write them: their encodings, separators, comments and quotation marks.

| what      | read as                                                                                             |
|-----------|-----------------------------------------------------------------------------------------------------|
| encoding  | UTF-8; UTF-16 and UTF-32 with a byte order mark, UTF-16 without one; else Windows-1252, with a note |
| separator | comma, semicolon, tab or bar, whichever splits the first row into most cells; Excel's line `sep=;`  |
| cells     | without white space around them; rows without any content are dropped                               |
| end       | a byte 26, the end of a text in DOS, is dropped                                                     |

A quotation mark that does not close would make one cell of many lines: it is an error that names its line.
"""

import codecs
import collections
import csv
import functools
import io
import math
import pathlib
import re
import sys

from audionet_tf.core.errors import UserError

SUFFIXES = ('.csv', '.tsv')
SEPARATORS = ',;\t|'
MARKS = (  # UTF-32's begins as UTF-16's does
  (codecs.BOM_UTF8, 'utf-8-sig'),
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
LONGEST_CELL = csv.field_size_limit()  # characters
LINE = '#line'  # key of a row's number of its line: no column is called so, as it would be a comment
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)


def is_table(path):
  """Whether a file has the suffix of a CSV."""
  return pathlib.Path(path).suffix.lower() in SUFFIXES


def read_text(path, what):
  """Reads a text file.

  Args:
    path: of the file.
    what: description of the expected file, for messages.

  Returns:
    str.

  Raises:
    UserError: there is no such file, or it is not text.
  """
  path = pathlib.Path(path)
  try:
    content = path.read_bytes()
  except IsADirectoryError:
    raise UserError(f'{path}: a folder; expected {what}') from None
  except OSError as error:
    raise UserError(f'{path}: {(error.strerror or "cannot be read").lower()}; expected {what}') from None
  encodings = encodings_of(content)
  for encoding in encodings:
    try:
      text = content.decode(encoding)
    except UnicodeDecodeError:
      continue
    if '\0' in text:
      line = text.count('\n', 0, text.index('\0')) + 1
      raise UserError(f'{path}: line {line} holds a NUL character: damaged, or not a text file; expected {what}')
    if encoding == 'cp1252':
      note(path)
    return text.lstrip('\ufeff').removesuffix('\x1a')  # a mark may have been written twice
  raise UserError(f'{path}: not a text file ({", ".join(encodings)}); expected {what}')


def encodings_of(content):
  """Names of the encodings that the bytes may have, the likeliest first."""
  for mark, encoding in MARKS:
    if content.startswith(mark):
      return [encoding]
  zeros = [content[place::2].count(0) for place in (0, 1)]
  if max(zeros) > len(content) / 8 and min(zeros) < len(content) / 100:  # half of most characters
    return ['utf-16-be' if zeros[0] > zeros[1] else 'utf-16-le']
  return ['utf-8', 'cp1252']


@functools.cache
def note(path):
  """Says once on stderr that a file is not UTF-8: its letters may be of another encoding than the one assumed."""
  print(f'{path}: not UTF-8; read as Windows-1252. If names look wrong, save it as UTF-8', file=sys.stderr)


def read_rows(path, what='a CSV'):
  """Reads the rows of a CSV, comments among them.

  Args:
    path: of the file.
    what: description of the expected file, for messages.

  Returns:
    list of (number of the line, list of cells), the cells str.

  Raises:
    UserError: there is no such file, it is not text, or a quotation mark does not close.
  """
  text = read_text(path, what)
  stated = SEPARATOR_LINE.match(text)
  skipped = 1 if stated else 0
  text = text[stated.end() :] if stated else text
  check_cells(path, text)
  separator = stated[1] if stated else separator_of(text)
  reader = csv.reader(io.StringIO(text, newline=''), delimiter=separator, skipinitialspace=True, strict=True)
  rows, line = [], 1
  while True:
    try:
      row = next(reader, None)
    except csv.Error as error:
      raise UserError(f'{path}: line {line + skipped}: {quote_advice(error)}') from None
    if row is None:
      return rows
    if any('\n' in cell or '\r' in cell for cell in row) and swallows(row, separator):
      raise UserError(f'{path}: line {line + skipped}: {quote_advice("the cell goes on over several rows")}')
    if any(cell.strip() for cell in row):
      rows.append((line + skipped, [cell.strip() for cell in row]))
    line = reader.line_num + 1


def check_cells(path, text):
  """UserError where a line is longer than any cell may be: csv names it as a quotation mark's fault, or not at all."""
  if len(text) > LONGEST_CELL:
    for line, content in enumerate(io.StringIO(text, newline=None), 1):
      if len(content) > LONGEST_CELL:
        raise UserError(
          f'{path}: line {line} has {len(content)} characters, allowed are {LONGEST_CELL}; is it a table?'
        )


def quote_advice(reason):
  """What is wrong with a quotation mark, and what to do."""
  return f'a quotation mark (") does not close, or has text beside it ({reason}); remove it, or write it twice ("")'


def swallows(row, separator):
  """Whether a cell of several lines looks as if it began with a lone quotation mark and ended with the next one.

  The end of its last line then has as many cells as stand up to there in the row.
  """
  for place, cell in enumerate(row):
    lines = cell.splitlines()
    if len(lines) > 1 and lines[-1].count(separator) == place:
      return True
  return False


def separator_of(text):
  """The separator of a CSV, from its first row that is no comment."""
  first = next((line for line in text.splitlines() if line.strip() and not line.lstrip('"').startswith('#')), '')
  cells = {mark: next(csv.reader([first], delimiter=mark, skipinitialspace=True), []) for mark in SEPARATORS}
  return max(SEPARATORS, key=lambda mark: (is_segment(cells[mark]), len(cells[mark])))  # among equals, the first


def is_segment(row):
  """Whether a row has the form of AudioSet's: YTID, start_seconds, end_seconds, labels."""
  return len(row) >= 3 and not is_number(row[0]) and is_number(row[1]) and is_number(row[2])


def is_number(text):
  """Whether a text is a finite number."""
  try:
    return math.isfinite(float(text))
  except ValueError:
    return False


def is_comment(row):
  """Whether a row is a comment."""
  return row[0].startswith('#')


def read_table(path, columns):
  """Reads a CSV with a header; comments may stand before it. Names of columns are in lower case.

  Args:
    path: of the file.
    columns: tuple of tuples of column names; the file must have at least one of each tuple.

  Returns:
    list of dicts, not empty, each with the number of its line under LINE.

  Raises:
    UserError: there is no such file, it is not a CSV, has no rows, lacks a column or has it twice; a row has more cells
      than the header.
  """
  rows = read_rows(path)
  while rows and is_comment(rows[0][1]):
    rows = rows[1:]
  if len(rows) < 2:
    raise UserError(f'{path}: no rows below the header')
  (first, header), *rows = rows
  names = [name.lower() for name in header]
  for alternatives in columns:
    if not set(alternatives) & set(names):
      has = ', '.join(filter(None, header))
      raise UserError(f'{path}: no column {" or ".join(alternatives)}; it has {has[:200]} (the first row names them)')
  if twice := [name for name, count in collections.Counter(filter(None, names)).items() if count > 1]:
    raise UserError(f'{path}: line {first} names two columns {twice[0]}; rename or remove one')
  for line, row in rows:
    if any(row[len(names) :]):
      raise UserError(
        f'{path}: line {line} has {len(row)} cells, the header has {len(names)}; '
        'put quotation marks around a cell that holds the separator'
      )
  return [dict(zip(names, row + [''] * (len(names) - len(row)), strict=False)) | {LINE: line} for line, row in rows]


def required(path, row, column):
  """A cell of a row of `read_table`. UserError where it is empty."""
  if not row[column]:
    raise UserError(f'{path}: line {row[LINE]} has no {column}')
  return row[column]


def whole_number(text):
  """The int of a text of decimal digits, None for any other, or for more digits than a counter has."""
  return int(text) if text.isdecimal() and len(text) < 20 else None
