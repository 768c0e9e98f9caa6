"""Which pictures of a window are the targets of each step, against lists by hand."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams
from audionet_tf.models import alignment, registry


def test_covered_takes_pictures_near_the_step_or_the_nearest_one():
  weights = alignment.alignment([1.0, 5.0], 2.0, [-0.5, 0.5, 1.5, 3.4])
  np.testing.assert_allclose(weights, [[0, 0.5, 0.5, 0], [0, 0, 0, 1]])


def test_nearest_and_same_take_one_picture():
  centers, times = [1.0, 5.0, 5.2, 9.0], [0.9, 1.2, 4.0, 30.0]
  assert alignment.alignment(centers, 2.0, times, 'nearest').argmax(1).tolist() == [0, 2, 2, 2]
  np.testing.assert_array_equal(alignment.alignment(centers, 2.0, times, 'same'), np.eye(4))
  with pytest.raises(UserError, match='4 steps, the window 3 pictures'):
    alignment.alignment(centers, 2.0, times[:3], 'same')


def test_window_takes_all_pictures():
  weights = alignment.alignment([1.0, 5.0, 5.2], 2.0, [0.9, 1.2, 4.0, 30.0], 'window')
  np.testing.assert_array_equal(weights, [[0.25] * 4] * 3)


def test_a_picture_half_a_hop_away_is_covered_by_both_steps():
  weights = alignment.alignment([1.0, 3.0], 2.0, [2.0, 3.5])
  np.testing.assert_array_equal(weights, [[1, 0], [0.5, 0.5]])
  assert weights.dtype == np.float32


def test_of_two_pictures_as_near_the_first_is_taken():
  assert alignment.alignment([2.0], 1.0, [1.0, 3.0]).tolist() == [[1, 0]]


def test_the_steps_of_a_student_and_the_times_of_its_pictures():
  """A step covers the pictures within half a hop of its centre: every one of them by a loop."""
  params = RecordParams(window_seconds=20, hop_seconds=20, images_per_window=8, sample_rate_hz=22050)
  weights = alignment.for_student('soundnet5', params)
  centers, hop = registry.step_seconds('soundnet5', params.window_samples, 22050)
  assert len(centers) == len(weights) > 2
  for center, row in zip(centers, weights, strict=True):
    near = [abs((t + 0.5) * 2.5 - center) <= hop / 2 for t in range(8)]
    assert (row > 0).tolist() == near and row.sum() == pytest.approx(1)
  one = alignment.for_student('audionet', RecordParams(), 'nearest')
  assert one.tolist() == [[1]]


def test_a_student_with_a_rate_of_its_own_refuses_others():
  params = RecordParams(window_seconds=5, hop_seconds=5, sample_rate_hz=22050)
  with pytest.raises(UserError, match='yamnet needs 16000 Hz, the records hold 22050 Hz; .* --sample_rate=16000'):
    alignment.for_student('yamnet', params)
  assert alignment.for_student('soundnet5', RecordParams(window_seconds=20, hop_seconds=20, images_per_window=4)).size
