"""Events from scores: each rule against a plain loop or a case worked out by hand; times with windows that overlap."""

import dataclasses

import numpy as np
import pytest

from audionet_tf.captioning import event_detection
from audionet_tf.core.errors import UserError

PLAIN = event_detection.DetectionConfig(
  threshold=0.5, release=1.0, smooth_seconds=0, merge_seconds=0, shortest_seconds=0, top=0
)


def rules(**changes):
  return dataclasses.replace(PLAIN, **changes)


def find(scores, hop=1.0, window=None, names=None, **changes):
  """[(name, start, end)] of the events of scores [n, names], or [n] of one name."""
  scores = np.array(scores, np.float32)
  scores = scores[:, None] if scores.ndim == 1 else scores
  names = names or [f'name {i}' for i in range(scores.shape[1])]
  starts = np.arange(len(scores)) * hop
  limits = np.full(len(names), changes.get('threshold', PLAIN.threshold))
  detected = event_detection.detect_events(starts, starts + (window or hop), scores, names, limits, rules(**changes))
  return [(event.name, event.start_seconds, event.end_seconds) for event in detected]


def loop(scores, hop, on, release, merge, shortest):
  """The same for one name, as a person would do it: forwards, row by row."""
  runs, open_run = [], None
  for row, score in enumerate([*scores, -1]):
    if score >= on * release:
      open_run = open_run or [row, row, score]
      open_run[1:] = [row, max(open_run[2], score)]
    elif open_run:
      runs += [open_run] if open_run[2] >= on else []
      open_run = None
  spans = [[first * hop, (last + 1) * hop] for first, last, _ in runs]
  joined = spans[:1]
  for start, end in spans[1:]:
    if start - joined[-1][1] <= merge + 1e-9:
      joined[-1][1] = end
    else:
      joined.append([start, end])
  return [(start, end) for start, end in joined if end - start >= shortest - 1e-9]


@pytest.mark.parametrize('seed', range(4))
def test_as_a_loop_finds_them(seed):
  rng = np.random.default_rng(seed)
  scores = np.clip(np.cumsum(rng.normal(0, 0.15, 400)) % 1.3, 0, 1).astype(np.float32)
  on, release, merge, shortest = 0.6, rng.uniform(0.3, 1), rng.uniform(0, 0.5), rng.uniform(0, 0.5)
  detected = find(scores, 0.1, threshold=on, release=release, merge_seconds=merge, shortest_seconds=shortest)
  expected = loop(scores.tolist(), 0.1, on, release, merge, shortest)
  assert len(expected) > 5
  np.testing.assert_allclose([event[1:] for event in detected], expected, atol=1e-6)


def test_scores_are_mean_and_maximum_of_the_rows():
  scores = np.array([[0], [0.6], [0.8], [0.1], [0.7], [0]], np.float32)
  starts = np.arange(6.0)
  (event,) = event_detection.detect_events(starts, starts + 1, scores, ['a'], np.array([0.5]), rules(merge_seconds=1))
  assert (event.start_seconds, event.end_seconds) == (1, 5)
  assert event.score == pytest.approx((0.6 + 0.8 + 0.1 + 0.7) / 4) and event.peak == pytest.approx(0.8)


def test_the_median_is_numpys():
  scores = np.random.default_rng(0).uniform(0, 1, (200, 3)).astype(np.float32)
  medians = event_detection.smoothed(scores, np.arange(200) * 0.04, 0.2)
  padded = np.concatenate([scores[:1], scores[:1], scores, scores[-1:], scores[-1:]])
  np.testing.assert_array_equal(medians, np.median([padded[i : i + 200] for i in range(5)], 0))
  np.testing.assert_array_equal(event_detection.smoothed(scores, np.arange(200) * 0.1, 0.4), medians)  # five rows too
  three = np.median([padded[i + 1 : i + 201] for i in range(3)], 0)
  np.testing.assert_array_equal(event_detection.smoothed(scores, np.arange(200) * 0.1, 0.2), three)
  assert event_detection.smoothed(scores, np.arange(200) * 0.96, 0.4) is scores
  assert event_detection.smoothed(scores[:1], np.zeros(1), 0.4).shape == (1, 3)


def test_seconds_from_row_to_row():
  assert event_detection.hop_of(np.array([3.0])) == np.inf
  assert event_detection.hop_of(np.array([3.0, 3.5])) == 0.5
  assert event_detection.hop_of(np.array([0, 0.25, 0.5, 9])) == 0.25


def test_a_name_that_the_median_takes_away_has_no_event():
  assert find([0] * 5 + [0.9] + [0] * 5, 0.04, smooth_seconds=0.2) == []


def test_scores_at_the_thresholds_and_events_of_the_shortest_length_count():
  assert find([0, 0.5, 0]) == [('name 0', 1, 2)]
  assert find([0.5, 0.25, 0.125], release=0.5) == [('name 0', 0, 2)]
  assert find([0, 0.9, 0, 0.9, 0.9], shortest_seconds=1) == [('name 0', 1, 2), ('name 0', 3, 5)]
  assert find([0, 0.9, 0, 0.9, 0.9], shortest_seconds=2) == [('name 0', 3, 5)]


def test_defaults_in_rows_of_a_tenth_of_a_second():
  """The running median takes five rows; gaps up to 0.5 s are closed; of four names three are left; cues last 1 s."""
  default = event_detection.DetectionConfig()

  def found(*spans, names=1):
    scores = np.zeros([40, names], np.float32)
    for first, last in spans:
      scores[first:last] = 0.5 + 0.1 * np.arange(names)
    starts = np.arange(40) * 0.1
    limits = np.full(names, default.threshold)
    events = event_detection.detect_events(
      starts, starts + 0.1, scores, [str(n) for n in range(names)], limits, default
    )
    return [(event.name, event.start_seconds, event.end_seconds) for event in events]

  assert found((10, 12)) == [] and found((10, 13)) == [('0', 1, 1.3)]  # two of five rows, three of five
  assert found((5, 10), (15, 20)) == [('0', 0.5, 2)] and len(found((5, 10), (16, 20))) == 2
  assert [name for name, *_ in found((10, 20), names=4)] == ['3', '2', '1']
  assert default.cue_seconds == 1
  starts = np.arange(10) * 0.1
  unsmoothed = dataclasses.replace(default, smooth_seconds=0)
  for rows, kept in ((1, 0), (2, 1)):
    scores = np.zeros([10, 1], np.float32)
    scores[3 : 3 + rows] = 0.9
    assert len(event_detection.detect_events(starts, starts + 0.1, scores, ['a'], np.array([0.2]), unsmoothed)) == kept


@pytest.mark.parametrize('seed', range(3))
def test_where_events_begin_and_end_in_rows_of_any_length(seed):
  """By a loop: a quarter of the first row lies in the event, give or take half a hop; it loses at most the overlap."""
  rng = np.random.default_rng(seed)
  starts = np.cumsum(rng.uniform(0.1, 1.0, 40)) + 10
  ends = starts + rng.uniform(0.2, 3.0, 40)
  begin_at, end_at = event_detection.edges(starts, ends)
  inside = 0
  for i in range(40):
    before, behind = starts[i], ends[i]
    if i > 0:
      overlap, share = max(0, ends[i - 1] - starts[i]), 0.75 * (ends[i] - starts[i]) - (starts[i] - starts[i - 1]) / 2
      before += min(max(share, 0), overlap)
      inside += 0 < share < overlap
    if i < 39:
      overlap, share = max(0, ends[i] - starts[i + 1]), 0.75 * (ends[i] - starts[i]) - (starts[i + 1] - starts[i]) / 2
      behind -= min(max(share, 0), overlap)
    np.testing.assert_allclose([begin_at[i], end_at[i]], [before, behind], rtol=1e-12)
  assert inside > 5


def test_a_row_shorter_than_the_hop_is_an_event_of_its_length():
  starts = np.arange(10.0, 13.0)
  scores = np.array([[0], [0.9], [0]], np.float32)
  (event,) = event_detection.detect_events(starts, starts + 0.5, scores, ['a'], np.array([0.5]), PLAIN)
  assert (event.start_seconds, event.end_seconds) == (11, 11.5)


def test_times_of_events_are_whole_microseconds():
  """The middle between two of them need not be one."""
  ((_, begin, end),) = find([0, 0, 0.9, 0, 0], 0.111111, 0.222224)
  assert (begin, end) == (round(begin, 6), round(end, 6))
  middle = (2 * 0.111111 + 2 * 0.111111 + 0.222224) / 2
  np.testing.assert_allclose([begin, end], [middle - 0.111111 / 2, middle + 0.111111 / 2], atol=1e-6)


def test_a_median_leaves_edges_where_they_are():
  scores = np.zeros(100)
  scores[[5, 30]], scores[40:60], scores[50] = 0.9, 0.9, 0
  assert find(scores, 0.04, smooth_seconds=0.2, threshold=0.2) == [('name 0', 1.6, 2.4)]


def test_the_loudest_names_only():
  scores = [[0.9, 0.8, 0.7], [0.9, 0.6, 0.7], [0.1, 0.6, 0.7]]
  assert find(scores, top=2) == [('name 0', 0, 2), ('name 1', 0, 1), ('name 2', 1, 3), ('name 1', 2, 3)]
  assert len(find(scores)) == 3


@pytest.mark.parametrize('share', [0.02, 0.25, 0.5])
@pytest.mark.parametrize('onset', np.arange(3.0, 4.0, 0.07))
def test_windows_that_overlap_by_half_are_right_within_a_hop(share, onset):
  """A class is detected when the sound fills `share` of a window: from a touch to a half."""
  hop, window, end = 0.5, 1.0, onset + 2.9
  starts = np.arange(20) * hop
  filled = np.clip(np.minimum(starts + window, end) - np.maximum(starts, onset), 0, None) / window
  ((_, begins, ends),) = find(np.where(filled >= share, 0.8, 0.1), hop, window)
  assert abs(begins - onset) <= hop and abs(ends - end) <= hop


def test_brief_sound_in_windows_that_overlap_is_one_hop_long_and_in_their_middle():
  assert find([0, 0, 0.9, 0, 0], 0.5, 1.0) == [('name 0', 1.25, 1.75)]
  assert find([0, 0, 0.9, 0.9, 0], 0.5, 1.0) == [('name 0', 1.5, 2.0)]


def test_at_the_ends_of_the_sound_nothing_is_shared():
  assert find([0.9] * 6, 0.5, 1.0) == [('name 0', 0, 3.5)]


def test_windows_with_gaps_between_them_are_one_event():
  assert find([0, 0.9, 0.9, 0], 2.0, 1.0) == [('name 0', 2, 5)]


def test_nothing_and_one_row():
  assert event_detection.detect_events(np.zeros(0), np.zeros(0), np.zeros((0, 1)), ['a'], np.ones(1), PLAIN) == []
  assert find([0.9], 5.0) == [('name 0', 0, 5)]
  assert find(np.zeros((10, 3))) == []


def test_arrays_that_do_not_fit():
  with pytest.raises(ValueError, match='3 starts'):
    event_detection.detect_events(np.arange(3), np.arange(3), np.zeros((2, 1)), ['a'], np.ones(1), PLAIN)


NAMES = ['tabby', 'dog', 'tiger cat', 'rain\r\nWEBVTT']


def test_classes_become_names():
  chosen = rules(
    names={'tabby': 'cat', 'tiger cat': 'cat'}, thresholds={'cat': 0.3, 'dog': 0.4}, stop=('rain\r\nWEBVTT',)
  )
  event_detection.check(chosen, NAMES)
  names, groups, thresholds = event_detection.group_classes(NAMES, chosen)
  assert (names, groups) == (['cat', 'dog', 'rain WEBVTT'], [[0, 2], [1], [3]])
  assert thresholds.tolist() == [0.3, 0.4, np.inf]
  scores = np.array([[0.25, 0.5, 0.125, 0.125], [0.75, 0, 0.5, 0]])
  assert event_detection.pool_scores(scores, groups).tolist() == [[0.375, 0.5, 0.125], [1.0, 0, 0]]
  assert event_detection.pool_scores(scores, groups, 'max').tolist() == [[0.25, 0.5, 0.125], [0.75, 0, 0]]


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'threshold': 0}, 'threshold is 0, allowed is 0 to 1'),
    ({'threshold': float('nan')}, 'threshold is nan'),
    ({'release': 1.5}, 'release is 1.5'),
    ({'merge_seconds': -1}, 'merge_seconds is -1'),
    ({'join': 'mean'}, "join is 'mean', allowed is sum or max"),
    ({'stop': ('dogs',)}, "no class 'dogs'; it has 4, such as 'tabby'"),
    ({'thresholds': {'dog': 2}}, "threshold of 'dog' is 2"),
    ({'thresholds': {'dog': 0}}, "threshold of 'dog' is 0"),
    ({'thresholds': {'cow': 0.1}}, "no class 'cow'"),
    ({'names': {'cow': 'x'}}, 'names are of none'),
  ],
)
def test_rules_that_are_wrong(changes, message):
  with pytest.raises(UserError, match=message):
    event_detection.check(rules(**changes), NAMES)


def test_the_limits_of_rules_are_allowed():
  for changes in ({'threshold': 1}, {'release': 0}, {'top': 0}, {'merge_seconds': 0}, {'thresholds': {'dog': 1}}):
    event_detection.check(rules(**changes), NAMES)


def event(name, start, end, score=0.5):
  return event_detection.Event(start, end, name, score, score)


def test_cues_follow_one_another():
  sounds = [event('a', 0, 4, 0.5), event('b', 1, 3, 0.9), event('c', 2, 6, 0.2), event('a', 7, 8)]
  cues = [(cue.start_seconds, cue.end_seconds, *cue.names) for cue in event_detection.cues(sounds, top=2)]
  assert cues == [(0, 1, 'a'), (1, 3, 'b', 'a'), (3, 4, 'a', 'c'), (4, 6, 'c'), (7, 8, 'a')]


@pytest.mark.parametrize('seed', range(3))
def test_cues_tell_what_sounds_at_every_time(seed):
  rng = np.random.default_rng(seed)
  sounds = [event(f'{rng.integers(5)}', s, s + rng.uniform(0.001, 3), rng.uniform()) for s in rng.uniform(0, 20, 40)]
  cues = event_detection.cues(sounds)
  for cue, following in zip(cues, cues[1:], strict=False):
    assert cue.start_seconds < cue.end_seconds <= following.start_seconds
    assert cue.end_seconds < following.start_seconds or cue.names != following.names
  for time in rng.uniform(0, 23, 200):
    shown = {name for cue in cues if cue.start_seconds <= time < cue.end_seconds for name in cue.names}
    sounding = {e.name for e in sounds if round(e.start_seconds, 3) <= time < round(e.end_seconds, 3)}
    assert shown == sounding


def test_events_end_with_the_sound():
  sounds = [event('a', 0, 4), event('b', 3.5, 3.7)]
  assert event_detection.clip_to_duration(sounds, 2.5) == [event('a', 0, 2.5)]
  assert event_detection.clip_to_duration([event('c', 2.5, 3)], 2.5) == []  # it would have no length


def test_times_of_cues_are_whole_milliseconds():
  cue = event_detection.Cue(0.123, 1.988, ('a',))
  assert event_detection.cues([event('a', 0.12345, 1.98765)]) == [cue]
  assert readable((4.0, 4.1, 'a'), end=4.12345) == [(3.123, 4.123, 'a')]
  brief = [event_detection.Cue(4.0, 4.1, ('a',))]
  for sound_seconds, span in ((60, (4.0, 4.333)), (4.2, (3.867, 4.2))):
    (cue,) = event_detection.readable(brief, 0, 0.33335, sound_seconds)
    assert (cue.start_seconds, cue.end_seconds) == span


SHORTEST = 1.0


def readable(*exact, end=60.0, top=0):
  """[(start, end, *names)] of readable cues; each of `exact` is (start, end, names apart by a space)."""
  exact = [event_detection.Cue(start, stop, tuple(names.split())) for start, stop, names in exact]
  return [
    (cue.start_seconds, cue.end_seconds, *cue.names) for cue in event_detection.readable(exact, top, SHORTEST, end)
  ]


@pytest.mark.parametrize(
  ('exact', 'expected'),
  [
    # Long enough, or alone.
    ([(0, 2, 'a'), (2, 3, 'b')], [(0, 2, 'a'), (2, 3, 'b')]),
    ([(5, 5.3, 'a')], [(5, 6, 'a')]),
    # One ends while the next has begun, one ends before the other, one begins before the other.
    ([(0, 3, 'a'), (3, 3.08, 'a b'), (3.08, 9, 'b')], [(0, 3.08, 'a'), (3.08, 9, 'b')]),
    ([(0, 3, 'a b'), (3, 3.08, 'a')], [(0, 3.08, 'a', 'b')]),
    ([(1, 1.08, 'a'), (1.08, 4, 'a b')], [(1, 4, 'a', 'b')]),
    ([(0, 3, 'a b'), (3, 3.5, 'a'), (3.5, 6, 'a b')], [(0, 6, 'a', 'b')]),
    # A brief sound during a long one, before one, and several in a row.
    ([(0, 3, 'a'), (3, 3.3, 'a b'), (3.3, 9, 'a')], [(0, 3, 'a'), (3, 4, 'a', 'b'), (4, 9, 'a')]),
    ([(2, 2.3, 'a'), (2.5, 9, 'b')], [(2, 3, 'a'), (3, 9, 'b')]),
    ([(2, 2.3, 'a'), (2.3, 2.6, 'b'), (2.6, 9, 'c')], [(2, 3, 'a', 'b'), (3, 9, 'c')]),
    ([(2, 2.3, 'a'), (2.3, 3.4, 'b')], [(2, 3, 'a'), (3, 4, 'b')]),
    ([(0, 0.3, 'a'), (0.3, 1, 'b')], [(0, 1, 'a', 'b')]),  # over when the first has been shown long enough
    ([(2, 2.3, 'b a'), (2.3, 9, 'a b')], [(2, 9, 'a', 'b')]),  # the same in another order
    # The end of the sound, at 60 s.
    ([(50, 59.5, 'a'), (59.5, 60, 'b')], [(50, 59, 'a'), (59, 60, 'b')]),
    ([(59.7, 60, 'a')], [(59, 60, 'a')]),
    ([(58.5, 59.5, 'a'), (59.5, 60, 'b')], [(58.5, 60, 'a', 'b')]),
  ],
)
def test_brief_cues_go_to_their_neighbours_or_last_longer(exact, expected):
  assert readable(*exact) == expected


@pytest.mark.parametrize('shortest_seconds', [0, 1])
def test_without_events_there_are_no_cues(shortest_seconds):
  assert event_detection.cues([], 2, shortest_seconds, 5.0) == []


def test_a_sound_shorter_than_a_cue_has_one_as_long_as_it_is():
  assert readable((0.1, 0.3, 'a'), (0.3, 0.4, 'b'), end=0.4) == [(0, 0.4, 'a', 'b')]
  assert readable((2, 2.1, 'a b'), (2.1, 2.2, 'c d'), top=3) == [(2, 3, 'a', 'b', 'c')]


@pytest.mark.parametrize('seed', range(20))
def test_readable_cues_are_long_enough_and_tell_the_same(seed):
  """Against the exact cues, in steps of 10 ms: what a person would check with a stopwatch."""
  rng = np.random.default_rng(seed)
  lengths = rng.exponential(rng.choice([0.3, 1.5]), 60) + 0.01
  sounds = [
    event(f'{rng.integers(4)}', s, min(20, s + n)) for s, n in zip(rng.uniform(0, 19.9, 60), lengths, strict=True)
  ]
  sounds = sounds[: rng.integers(1, 60)]
  exact, shown = event_detection.cues(sounds), event_detection.cues(sounds, 0, SHORTEST, 20.0)
  assert all(first.end_seconds <= second.start_seconds for first, second in zip(shown, shown[1:], strict=False))
  assert all(cue.end_seconds - cue.start_seconds >= SHORTEST - 1e-6 for cue in shown)
  assert shown[0].start_seconds >= 0 and shown[-1].end_seconds <= 20
  for first, second in ((exact, shown), (shown, exact)):  # every name is shown about when it sounds, and no other
    for cue in first:
      near = [o for o in second if o.start_seconds < cue.end_seconds + 1 and o.end_seconds > cue.start_seconds - 1]
      assert set(cue.names) <= {name for other in near for name in other.names}
  for cue in exact:  # what lasts is late by less than a second and stays until its end, or the last second
    for time in np.arange(cue.start_seconds + SHORTEST, cue.end_seconds - SHORTEST, 0.01):
      assert [set(o.names) for o in shown if o.start_seconds <= time < o.end_seconds] == [set(cue.names)]


IMAGENET = ['book jacket, dust cover, dust jacket', 'maillot', 'maillot, tank suit', 'crane', 'Crane, bird', 'tabby']
AUDIOSET = [
  'Inside, small room',
  'Inside, public space',
  'Roaring cats (lions, tigers)',
  'Vehicle horn, car horn',
  'A,B',
]


def test_classes_of_several_synonyms_have_the_first_unless_two_would_be_one():
  assert event_detection.first_synonyms(IMAGENET) == ['book jacket', *IMAGENET[1:]]
  assert event_detection.first_synonyms(AUDIOSET) == [*AUDIOSET[:3], 'Vehicle horn', 'A,B']
  chosen = rules(names={'tabby': 'A cat, grey'}, thresholds={IMAGENET[0]: 0.1}, stop=('maillot',))
  event_detection.check(chosen, IMAGENET)
  names, groups, thresholds = event_detection.group_classes(IMAGENET, chosen)
  assert names == ['book jacket', *IMAGENET[1:5], 'A cat, grey'] and groups == [[i] for i in range(6)]
  assert thresholds.tolist() == [0.1, np.inf, 0.5, 0.5, 0.5, 0.5]
  event_detection.check(rules(stop=('book jacket',)), IMAGENET)


def test_unknown_silences_the_others_and_itself():
  """Five rows of a second: a dog, nothing known but perhaps a dog, a dog again, and one row that is even."""
  names = ['dog', 'unknown', 'rain']
  scores = np.array([[0.9, 0.1, 0], [0.3, 0.6, 0.1], [0.8, 0.2, 0], [0.45, 0.5, 0.05], [0.51, 0.49, 0]], np.float32)
  starts = np.arange(5.0)

  def found(**options):
    rules = event_detection.DetectionConfig(merge_seconds=0.1, smooth_seconds=0, **options)
    shown, _, thresholds = event_detection.group_classes(names, rules)
    kept = event_detection.without_unknown(scores, shown, rules)
    events = event_detection.detect_events(starts, starts + 1, kept, shown, thresholds, rules)
    return [(event.name, event.start_seconds, event.end_seconds) for event in events]

  dogs = [('dog', 0, 1), ('dog', 2, 3), ('dog', 4, 5)]
  assert found() == dogs
  for options, shown in (
    ({'unknown': True}, ('unknown', 1, 5)),  # it lasts while it has 0.7 of the threshold
    ({'names': {'unknown': 'something else'}}, ('something else', 1, 5)),
    ({'thresholds': {'unknown': 0.6}}, ('unknown', 1, 2)),
  ):
    assert set(found(**options)) == {*dogs, shown}
  assert found(join='max') == [('dog', 0, 5)]  # classes by themselves


def test_rows_are_unknown_from_a_half_on_and_only_of_students_with_that_class():
  rules = event_detection.DetectionConfig()
  scores = np.array([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]], np.float16)
  assert event_detection.unknown_rows(scores, ['dog', 'unknown'], rules).tolist() == [True, True, False]
  assert not event_detection.unknown_rows(scores, ['dog', 'cat'], rules).any()
  np.testing.assert_array_equal(event_detection.without_unknown(scores, ['dog', 'cat'], rules), scores)
