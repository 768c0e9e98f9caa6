"""Steps of sliding windows, against counting."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import alignment, receptive_field


def slid(samples, table):
  """Indices of the samples that each step hears, by sliding windows over the list of them."""
  heard = [{i} for i in range(samples)]
  for kernel, stride, padding in table:
    padded = [set()] * padding + heard + [set()] * padding
    heard = [set().union(*padded[i : i + kernel]) for i in range(0, len(padded) - kernel + 1, stride)]
  return heard


TABLES = [[(4, 2, 2)], [(8, 8, 0)], [(6, 2, 3), (3, 3, 0), (5, 1, 1)], [(4, 2, 2), (4, 2, 2), (8, 2, 0)]]


@pytest.mark.parametrize('table', TABLES)
def test_length_and_shortest(table):
  counts = [len(slid(samples, table)) for samples in range(1, 120)]
  assert [receptive_field.output_length(samples, table) for samples in range(1, 120)] == counts
  assert receptive_field.minimum_input_length(table) == 1 + next(i for i, count in enumerate(counts) if count)


@pytest.mark.parametrize('table', TABLES)
def test_field_hop_and_center(table):
  steps, heard = receptive_field.receptive_field(table), slid(200, table)
  middle = len(heard) // 2  # far from the padding
  assert max(heard[middle]) - min(heard[middle]) + 1 == steps.field
  assert (max(heard[middle]) + min(heard[middle])) / 2 == steps.first_center + middle * steps.hop


def test_a_step_answers_for_the_pictures_that_it_covers_or_the_nearest():
  weights = alignment.alignment([1.0, 5.0], 2.0, [-0.5, 0.5, 1.5, 3.4])
  np.testing.assert_allclose(weights, [[0, 0.5, 0.5, 0], [0, 0, 0, 1]])


def test_a_step_may_take_the_nearest_picture_or_that_of_its_number():
  centers, times = [1.0, 5.0, 5.2, 9.0], [0.9, 1.2, 4.0, 30.0]
  assert alignment.alignment(centers, 2.0, times, 'nearest').argmax(1).tolist() == [0, 2, 2, 2]
  np.testing.assert_array_equal(alignment.alignment(centers, 2.0, times, 'same'), np.eye(4))
  with pytest.raises(UserError, match='4 steps, the window 3 pictures'):
    alignment.alignment(centers, 2.0, times[:3], 'same')


def test_a_step_may_answer_for_the_whole_window():
  weights = alignment.alignment([1.0, 5.0, 5.2], 2.0, [0.9, 1.2, 4.0, 30.0], 'window')
  np.testing.assert_array_equal(weights, [[0.25] * 4] * 3)
