"""Text for a terminal. Names come from strangers."""


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
