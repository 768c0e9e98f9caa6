"""Receptive-field arithmetic against counting."""

import pytest

from audionet_tf.models import receptive_field


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


def test_the_samples_that_any_layer_covers():
  """Patches without padding drop a remainder; a layer with padding uses all."""
  tables = {'pool': [(10, 4, 0)], 'deep': [(10, 4, 0), (3, 2, 0)]}
  for samples in range(18, 60):
    last = {name: max(covered_indices(samples, table)[-1]) for name, table in tables.items()}
    assert receptive_field.covered_samples(samples, tables) == 1 + max(last.values())
    assert receptive_field.covered_samples(samples, {'deep': tables['deep']}) == 1 + last['deep']
    assert receptive_field.covered_samples(samples, tables | {'padded': [(8, 8, 0), (3, 2, 1)]}) == samples


def test_no_sound_gives_no_step():
  """Padding alone would fill the first kernel."""
  assert receptive_field.output_length(0, [(4, 2, 2)]) == 0
  assert receptive_field.output_length(3, [(4, 2, 0), (4, 2, 2)]) == 0
  assert receptive_field.minimum_input_length([(2, 1, 1)]) == 1
