"""Text for terminals and files. Names and messages come from untrusted files."""

import unicodedata

# Characters that change the direction of the text around them.
DIRECTION_MARKS = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c')
CONTROL_CATEGORIES = ('Cc', 'Cs')  # control characters, unpaired surrogates
LONGEST_NAME = 120


def printable(text):
  """Replaces characters that would move the cursor or change the terminal with '?'."""
  return ''.join(c if c.isprintable() else '?' for c in text)


def aligned(rows, text_columns=(0,)):
  """Formats a table for the terminal.

  Args:
    rows: lists of str, all of the same length.
    text_columns: positions of the columns that are aligned to the left; the others, numbers, are aligned to the right.

  Returns:
    str of printable lines.
  """
  table = [[printable(cell) for cell in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  lines = []
  for row in table:
    cells = zip(row, widths, strict=True)
    padded = [cell.ljust(width) if i in text_columns else cell.rjust(width) for i, (cell, width) in enumerate(cells)]
    lines.append('  '.join(padded).rstrip())
  return '\n'.join(lines)


def one_line(name):
  """Makes a name safe for any text file: a single line without control characters, not empty, of limited length."""
  line = ' '.join(name.split())  # line breaks of every kind
  line = ''.join(c for c in line if unicodedata.category(c) not in CONTROL_CATEGORIES and c not in DIRECTION_MARKS)
  return (line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + '…').strip() or '?'


def first_of(names, most=5, separator=', '):
  """Joins the first few names, made printable, and counts the others: 'a, b and 3 more'."""
  listed = separator.join(printable(str(name)) for name in names[:most])
  return f'{listed} and {len(names) - most} more' if len(names) > most else listed


def brief(error, most=160):
  """The type of an exception and the start of its message, printable, on one line."""
  message = printable(' '.join(str(error).split()))
  return f'{type(error).__name__}: {message[:most]}' if message else type(error).__name__


def brief_value(value, most=60):
  """The start of a value's `repr`, printable: values of untrusted files may be long."""
  shown = printable(repr(value))
  return shown if len(shown) <= most else f'{shown[:most]}…'
