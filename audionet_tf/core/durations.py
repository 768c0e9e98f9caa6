"""Seconds and milliseconds without the rounding of binary fractions."""

import functools
from fractions import Fraction


def seconds(milliseconds):
  """Milliseconds in seconds: 33.3 gives 0.0333, as far as a float can, not its neighbour. None stays None."""
  return None if milliseconds is None else float(exact(milliseconds) / 1000)


@functools.cache
def exact(seconds):
  """A float as the decimal fraction that a person wrote: 0.04 is 1/25, not its binary neighbour."""
  return Fraction(str(seconds))


def msec(seconds):
  """Milliseconds as a person writes them: 40, not 40.0."""
  value = exact(seconds) * 1000
  return int(value) if value.denominator == 1 else float(value)
