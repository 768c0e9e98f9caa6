"""Text for terminals and files. Names and messages come from untrusted files."""

import unicodedata

# Marks that change the direction of text around them, and what no text file can hold.
TURNING = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c')
UNWRITABLE = ('Cc', 'Cs')  # control characters, halves of a surrogate pair
LONGEST_NAME = 120


def printable(text):
  """`text` with '?' for what would move the cursor or change the terminal."""
  return ''.join(c if c.isprintable() else '?' for c in text)


def aligned(rows, text_columns=(0,)):
  """Lines of a table, printable: `text_columns` to the left, all others, numbers, to the right.

  Args:
    rows: lists of str, all of one length.
    text_columns: numbers of columns.
  """
  shown = [[printable(cell) for cell in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
  lines = []
  for row in shown:
    cells = zip(row, widths, strict=True)
    padded = [cell.ljust(width) if i in text_columns else cell.rjust(width) for i, (cell, width) in enumerate(cells)]
    lines.append('  '.join(padded).rstrip())
  return '\n'.join(lines)


def one_line(name):
  """A name as it may stand in any text file: one line, no control characters, not endless, not empty."""
  line = ' '.join(name.split())  # line breaks of every kind
  line = ''.join(c for c in line if unicodedata.category(c) not in UNWRITABLE and c not in TURNING)
  return (line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + '…').strip() or '?'


def first_of(names, most=5, separator=', '):
  """The first few names, printable, and how many more there are: 'a, b and 3 more'."""
  shown = separator.join(printable(str(name)) for name in names[:most])
  return f'{shown} and {len(names) - most} more' if len(names) > most else shown


def brief(error, most=160):
  """The type of an exception and the beginning of its message, printable, on one line."""
  message = printable(' '.join(str(error).split()))
  return f'{type(error).__name__}: {message[:most]}' if message else type(error).__name__
