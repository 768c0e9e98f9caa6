"""Events while the sound is heard: those that are found afterwards, in constant memory, as early as can be."""

import dataclasses
import pickle

import numpy as np
import pytest

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.captioning.live_events import LiveEvents

NAMES = ['dog', 'rain', 'door', 'unknown']


def rows(count, window, hop, seed):
  """(starts, ends, probabilities f32 [count, 4]): each class rises and falls slowly, with noise."""
  rng = np.random.default_rng(seed)
  time = np.arange(count) * hop
  waves = 3 * np.sin(np.arange(count)[:, None] * rng.uniform(0.05, 0.6, 4) + rng.uniform(0, 6, 4))
  waves += rng.normal(size=[count, 4])
  powers = np.exp(waves)
  starts = np.round(time, 6)
  return starts, np.round(starts + window, 6), (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def heard(starts, ends, scores, rules, window, hop):
  live = LiveEvents(NAMES, rules, window, hop)
  events = [event for row in zip(starts, ends, scores, strict=True) for event in live.add(*row)]
  return events + live.end(float(ends[-1]))


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize(
  ('window', 'hop', 'options'),
  [
    (0.04, 0.04, {}),
    (1.0, 0.25, {}),
    (1.0, 0.5, {'smooth_seconds': 2.0, 'merge_seconds': 3.0}),
    (5.0, 1.0, {'top': 1, 'unknown': True}),
    (5.0, 1.0, {'threshold': 0.6, 'release': 0.3, 'shortest_seconds': 3.0, 'thresholds': {'dog': 0.2}}),
    (0.5, 0.5, {'names': {'dog': 'animal', 'door': 'animal'}, 'stop': ('rain',)}),
  ],
)
def test_events_are_those_of_the_whole(seed, window, hop, options):
  rules = event_detection.DetectionConfig(**options)
  starts, ends, scores = rows(400, window, hop, seed)
  names, groups, thresholds = event_detection.group_classes(NAMES, rules)
  pooled = event_detection.pool_scores(scores, groups, rules.join).astype(np.float16)
  frames = captioner.FrameScores(starts, ends, pooled, float(ends[-1]), 1)
  expected = captioner.detect(frames, names, thresholds, rules)
  found = sorted(heard(starts, ends, scores, rules, window, hop), key=lambda event: (event.start_seconds, event.name))
  expected = sorted(expected, key=lambda event: (event.start_seconds, event.name))
  assert len(expected) > 5
  assert [event.name for event in found] == [event.name for event in expected]
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(dataclasses.astuple(one)[:2], dataclasses.astuple(other)[:2], atol=2e-6)
    np.testing.assert_allclose((one.score, one.peak), (other.score, other.peak), atol=1e-6)


def test_an_event_comes_as_soon_as_nothing_can_be_merged_with_it():
  """Half a second of dog; a gap of at most 0.5 s would be merged."""
  live = LiveEvents(NAMES, event_detection.DetectionConfig(smooth_seconds=0), 0.1, 0.1)
  came = []
  for number in range(30):
    scores = np.array([0.9, 0.05, 0.05, 0] if 5 <= number < 10 else [0.1, 0.05, 0.05, 0.8], np.float32)
    events = live.add(number / 10, (number + 1) / 10, scores)
    came += [(number, event) for event in events]
    assert live.sounding() == (['dog'] if 5 <= number < 10 else [])
  ((row, event),) = came
  assert (event.start_seconds, event.end_seconds, event.name) == (0.5, 1.0, 'dog')
  assert row == 16  # begins at 1.6, the first more than half a second behind


def test_memory_does_not_grow_with_time():
  live = LiveEvents(NAMES, event_detection.DetectionConfig(), 1.0, 0.1)
  scores = np.array([0.9, 0.1, 0, 0], np.float32)
  sizes = []
  for number in range(3000):
    live.add(number / 10, number / 10 + 1, scores if number % 20 < 9 else scores[::-1])
    sizes.append(len(pickle.dumps(live)))
  assert max(sizes[-200:]) <= max(sizes[200:400]) + 16
