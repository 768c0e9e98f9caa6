"""Text for a terminal."""

from audionet_tf.core import text


def test_nothing_moves_the_cursor():
  assert text.printable('a\x1b[2J\r\n\u202eb é 日本') == 'a?[2J???b é 日本'


def test_columns_stand_below_one_another():
  rows = [['file', 's', 'class'], ['a\tb.wav', '12.5', 'x'], ['c', '1.0', 'long name']]
  assert text.aligned(rows).splitlines() == [
    'file        s      class',
    'a?b.wav  12.5          x',
    'c         1.0  long name',
  ]
  assert text.aligned(rows, text_columns=(0, 2)).splitlines() == [
    'file        s  class',
    'a?b.wav  12.5  x',
    'c         1.0  long name',
  ]
