"""Receptive-field arithmetic against counting, and target alignment."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import alignment, receptive_field


def covered_indices(samples, table):
  """Set of indices of the samples that each step covers, by sliding windows over the list of samples."""
  covered = [{i} for i in range(samples)]
  for kernel, stride, padding in table:
    padded = [set()] * padding + covered + [set()] * padding
    covered = [set().union(*padded[i : i + kernel]) for i in range(0, len(padded) - kernel + 1, stride)]
  return covered


TABLES = [[(4, 2, 2)], [(8, 8, 0)], [(6, 2, 3), (3, 3, 0), (5, 1, 1)], [(4, 2, 2), (4, 2, 2), (8, 2, 0)]]


@pytest.mark.parametrize('table', TABLES)
def test_output_length_and_minimum_input_length(table):
  counts = [len(covered_indices(samples, table)) for samples in range(1, 120)]
  assert [receptive_field.output_length(samples, table) for samples in range(1, 120)] == counts
  assert receptive_field.minimum_input_length(table) == 1 + next(i for i, count in enumerate(counts) if count)


@pytest.mark.parametrize('table', TABLES)
def test_size_stride_and_center(table):
  field, covered = receptive_field.receptive_field(table), covered_indices(200, table)
  middle = len(covered) // 2  # far from the padding
  assert max(covered[middle]) - min(covered[middle]) + 1 == field.size
  assert (max(covered[middle]) + min(covered[middle])) / 2 == field.first_center + middle * field.stride


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
