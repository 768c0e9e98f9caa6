"""Text for terminals and files."""

from audionet_tf.core import text


def test_printable_removes_control_characters():
  assert text.printable('a\x1b[2J\r\n\u202eb é 日本') == 'a?[2J???b é 日本'


def test_aligned_columns():
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


def test_first_of_many_names():
  assert text.first_of(['a', 'b']) == 'a, b'
  assert text.first_of(list('abcdefg')) == 'a, b, c, d, e and 2 more'
  assert text.first_of(['x\x1b', 'y', 'z'], most=2, separator='; ') == 'x?; y and 1 more'


def test_exceptions_fit_on_one_line():
  assert text.brief(ValueError('line 1\n  line 2\x1b[2J')) == 'ValueError: line 1 line 2?[2J'
  assert text.brief(KeyError()) == 'KeyError'
  assert len(text.brief(OSError('x' * 1000))) == len('OSError: ') + 160
