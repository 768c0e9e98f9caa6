"""Seconds and milliseconds without the rounding of binary fractions."""

import functools
from fractions import Fraction


def seconds(milliseconds):
  """Converts milliseconds to seconds: 33.3 gives the float nearest to 0.0333. None stays None."""
  return None if milliseconds is None else float(exact(milliseconds) / 1000)


@functools.cache
def exact(seconds):
  """The decimal fraction that a float stands for: 0.04 gives 1/25, not the value of its binary representation."""
  return Fraction(str(seconds))


def msec(seconds):
  """Converts seconds to milliseconds for display: 40, not 40.0."""
  value = exact(seconds) * 1000
  return int(value) if value.denominator == 1 else float(value)
