"""Windows, counts and times of the params; class names on disk."""

import pathlib
from fractions import Fraction

import pytest

from audionet_tf.core import durations
from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams
from audionet_tf.data.tables import class_lists


def test_counts_of_the_papers_windows():
  params = RecordParams()
  assert params.window_samples == 640
  assert [params.start_sample(k) for k in (0, 1, 249)] == [0, 640, 159360]
  assert params.image_seconds(3) == [Fraction(14, 100)]


def test_times_do_not_drift():
  params = RecordParams(window_seconds=0.1, hop_seconds=0.1, sample_rate_hz=22050, images_per_window=2)
  assert params.start_sample(36000) == 36000 * 2205  # an hour; 0.1 as a binary float would be off
  assert params.image_seconds(1) == [Fraction(125, 1000), Fraction(175, 1000)]


@pytest.mark.parametrize(
  ('name', 'value'),
  [('window_seconds', 0), ('sample_rate_hz', 10), ('jpeg_quality', 96), ('mono', 'left'), ('image_format', 'gif')],
)
def test_values_out_of_range_are_named(name, value):
  with pytest.raises(UserError, match=f'{name} is .*must be'):
    RecordParams(**{name: value})


def test_milliseconds_are_converted_as_decimals():
  assert [durations.seconds(ms) for ms in (33.3, 40.0, 0.1, None)] == [0.0333, 0.04, 0.0001, None]
  assert 33.3 / 1000 != 0.0333


def test_max_seconds_must_hold_a_window():
  with pytest.raises(UserError, match='must be at least one window'):
    RecordParams(max_seconds=0.03)


def test_class_names_round_trip(tmp_path):
  path = tmp_path / 'names.txt'
  class_lists.write_class_names(path, ['tench, Tinca tinca', 'two\nlines', 'café'])
  assert class_lists.read_class_names(path) == ['tench, Tinca tinca', 'two lines', 'café']


@pytest.mark.parametrize(
  ('content', 'message'), [(b'', 'holds no class names'), (b'\xff\xfe\x00', 'not a text file'), (None, 'no such file')]
)
def test_invalid_class_name_files_are_named(tmp_path, content, message):
  path = pathlib.Path(tmp_path / 'names.txt')
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match=message):
    class_lists.read_class_names(path)
