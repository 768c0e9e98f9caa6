"""Scores over all thresholds, against areas that are worked out by hand."""

import importlib.util

import pytest

from audionet_tf.captioning import psds
from audionet_tf.captioning.event_tables import Annotation

if importlib.util.find_spec('psds_eval') is None:
  pytest.skip('!!!! PSDS NOT TESTED: psds_eval not installed (scripts/setup events)', allow_module_level=True)

HOUR = 3600.0
TRUTH = [Annotation(0, 10, 'a'), Annotation(100, 110, 'a'), Annotation(200, 210, 'b')]


def at_thresholds(*scored):
  """What is detected at each threshold: events with their scores."""
  return [[event for value, event in scored if value >= threshold] for threshold in psds.THRESHOLDS]


def test_areas_by_hand():
  """An hour of sound: at high thresholds one of two `a` and the `b` are found, at low ones both, and false alarms."""
  scored = at_thresholds(
    (0.9, TRUTH[0]),
    (0.9, Annotation(201, 209, 'b')),  # 80 % of it
    (0.4, Annotation(101, 104, 'a')),  # 30 %: too little in the first scenario
    (0.4, Annotation(1000, 1010, 'a')),
    (0.4, Annotation(2000, 2010, 'a')),
  )
  found = psds.score([('x.wav', HOUR, TRUTH, scored)])
  # First: always a 1/2, b 1; mean 3/4, deviation 1/4.
  assert found['psds1'] == pytest.approx(0.5)
  # Second: the same up to two false alarms of `a` in the hour, from there on a 1, b 1.
  assert found['psds2'] == pytest.approx((2 * 0.5 + 98 * 1) / 100)


def test_confusions_weigh_half_in_the_second_scenario():
  """A `b` where an `a` is: one false alarm per hour, and one per 20 s of `a`, which is 180 per hour, halved."""
  scored = at_thresholds((0.9, TRUTH[0]), (0.9, TRUTH[1]), (0.4, TRUTH[2]), (0.4, Annotation(0, 10, 'b')))
  found = psds.score([('x.wav', HOUR, TRUTH, scored)])
  first = (1 * (0.5 - 0.5) + 99 * 1) / 100
  assert found['psds1'] == pytest.approx(first)
  assert found['psds2'] == pytest.approx((91 * (0.5 - 0.5) + 9 * 1) / 100)  # 1 + 180 / 2 per hour


def test_nothing_detected_and_one_class():
  assert psds.score([('x.wav', HOUR, TRUTH, at_thresholds())]) == {'psds1': 0, 'psds2': 0}
  assert psds.score([('x.wav', HOUR, TRUTH[:2], at_thresholds((0.9, TRUTH[0])))]) == {'psds1': None, 'psds2': None}


def test_annotations_of_a_class_that_overlap_are_one():
  overlapping = [Annotation(0, 6, 'a'), Annotation(4, 10, 'a'), Annotation(100, 110, 'a'), TRUTH[2]]
  scored = at_thresholds(*((0.9, event) for event in TRUTH))
  assert psds.score([('x.wav', HOUR, overlapping, scored)]) == {'psds1': 1, 'psds2': 1}
