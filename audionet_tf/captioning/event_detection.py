"""Sound event detection: from scores over time to events, and from events to cues. NumPy and SciPy only.

Median filter and threshold are those of the baseline of DCASE's Task 4; hysteresis, merging of neighbours and a
shortest duration are common additions. A row is a window of sound with a score for every name; an event is a run of
rows. Rows may overlap. The first row of an event then contains only a bit of the sound, at its end, and the event
begins there (`edges`): with windows that overlap by half this is right within a hop, whether the student detects a
class that only touches the window or one that fills half of it.
"""

import collections
import dataclasses
import itertools
import re

import numpy as np
from scipy import ndimage

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables.class_lists import UNKNOWN

EPSILON_SECONDS = 1e-6  # sums of hops are rounded
ONSET_OVERLAP = 0.25  # of a window that a sound fills when its score reaches the threshold: from a touch to a half


@dataclasses.dataclass(frozen=True)
class DetectionConfig:
  """How scores become events, and events cues.

  Attributes:
    threshold: an event has at least one row with this score.
    release: hysteresis: the event lasts while the score is at least this share of the threshold.
    smooth_seconds: length of a running median over the rows; less than three rows change nothing. A median moves no
      edge of an event that is longer than half of it.
    merge_seconds: events of one name are merged across gaps of at most this length.
    shortest_seconds: shorter events are dropped after that.
    top: largest number of names at a time; 0 for all.
    thresholds: dict of name, or class name, to its own threshold.
    stop: names, or class names, without events.
    names: dict of class name to display name; classes with one display name are pooled.
    join: key of JOINS: how the scores of pooled classes become one.
    cue_seconds: shortest time that a cue is shown, so that people can read it.
    unknown: whether the class UNKNOWN has events; it does too where `names` or `thresholds` have it.
  """

  threshold: float = 0.2
  release: float = 0.7
  smooth_seconds: float = 0.4
  merge_seconds: float = 0.5
  shortest_seconds: float = 0.2
  top: int = 3
  thresholds: dict = dataclasses.field(default_factory=dict)
  stop: tuple = ()
  names: dict = dataclasses.field(default_factory=dict)
  join: str = 'sum'
  cue_seconds: float = 1.0
  unknown: bool = False


@dataclasses.dataclass(frozen=True)
class Event:
  """A sound event: seconds since the start of the file, its name, mean and highest score."""

  start_seconds: float
  end_seconds: float
  name: str
  score: float
  peak: float


@dataclasses.dataclass(frozen=True)
class Cue:
  """A caption: the names that are shown from one time to another, the highest score first.

  `speech`: None, or speech.Speech, the spoken cue that it shows too.
  """

  start_seconds: float
  end_seconds: float
  names: tuple
  speech: object = None


# Scores [n, classes] of classes that exclude each other (softmax) are added; those of others are not.
JOINS = {'sum': lambda scores: scores.sum(1).clip(max=1), 'max': lambda scores: scores.max(1)}


def check(rules, class_names):
  """Raises UserError where a rule is out of range or names a class that the student does not have."""
  limits = {'threshold': (0, 1), 'release': (0, 1), 'top': (0, np.inf)}
  limits |= dict.fromkeys(('smooth_seconds', 'merge_seconds', 'shortest_seconds', 'cue_seconds'), (0, np.inf))
  for name, (low, high) in limits.items():
    value = getattr(rules, name)
    if not low <= value <= high or (name == 'threshold' and value == 0):
      raise UserError(f'{name} is {value:g}, allowed is {low} to {high:g}')
  if rules.join not in JOINS:
    raise UserError(f'join is {rules.join!r}, allowed is {" or ".join(JOINS)}')
  for name, value in rules.thresholds.items():
    if not 0 < value <= 1:
      raise UserError(f'the threshold of {name!r} is {value:g}, allowed is 0 to 1')
  if rules.names and not set(rules.names) & set(class_names):
    raise UserError(f"the names are of none of the student's classes, such as {class_names[0]!r}")
  allowed = {*class_names, *first_synonyms(class_names), *rules.names.values()}
  for name in (*rules.thresholds, *rules.stop):
    if name not in allowed:
      raise UserError(f'the student has no class {name!r}; it has {len(class_names)}, such as {class_names[0]!r}')


def group_classes(class_names, rules):
  """Groups classes by their display names.

  Returns:
    (names, groups, thresholds): list of str, each one line, in the order of their first class; for each the indices of
    its classes; f64 [names], inf for names without events.
  """
  groups = {}
  names = [rules.names.get(*pair) for pair in zip(class_names, first_synonyms(class_names), strict=True)]
  for number, name in enumerate(names):
    groups.setdefault(text.one_line(name), []).append(number)
  thresholds = []
  for group in groups.values():
    aliases = {each[number] for number in group for each in (names, class_names)}
    is_hidden = aliases & set(rules.stop) or (UNKNOWN in aliases and not shows_unknown(rules))
    own = [value for key, value in rules.thresholds.items() if key in aliases]
    thresholds.append(np.inf if is_hidden else min(own, default=rules.threshold))
  return list(groups), list(groups.values()), np.array(thresholds, np.float64)


def shows_unknown(rules):
  """Whether UNKNOWN has events. `rules`: DetectionConfig."""
  return rules.unknown or UNKNOWN in rules.names or UNKNOWN in rules.thresholds


def unknown_rows(scores, names, rules):
  """bool [n], whether UNKNOWN is as probable as all others together. Arguments as for `detect_events`.

  Of students that have no such class, and of scores that are not shares of one (`rules.join`), no row is.
  """
  name = rules.names.get(UNKNOWN, UNKNOWN)
  if name not in names or rules.join != 'sum':
    return np.zeros(len(scores), bool)
  return scores[:, names.index(name)] >= 0.5


def without_unknown(scores, names, rules):
  """The scores, but 0 for all other names in the rows where the sound is unknown."""
  rows = unknown_rows(scores, names, rules)
  others = np.array(names) != rules.names.get(UNKNOWN, UNKNOWN)
  return np.where(rows[:, None] & others, scores.dtype.type(0), scores)


def first_synonyms(class_names):
  """Short names of classes: 'book jacket' for ImageNet's 'book jacket, dust cover, dust jacket'.

  A name stays whole where its first synonym is another class's as well (AudioSet has three that begin with 'Inside, '),
  and where its first comma is inside parentheses.
  """
  firsts = [re.match(r'[^,(]+(?=, )|.*', name, re.DOTALL)[0] for name in class_names]
  counts = collections.Counter(first.casefold() for first in firsts)
  return [first if counts[first.casefold()] == 1 else name for first, name in zip(firsts, class_names, strict=True)]


def pool_scores(scores, groups, join='sum'):
  """Scores [n, classes] to scores [n, names]. `groups`: indices of the classes of each name."""
  names = scores[:, [group[0] for group in groups]]
  for column, group in enumerate(groups):
    if len(group) > 1:
      names[:, column] = JOINS[join](scores[:, group])
  return names


def detect_events(start_seconds, end_seconds, scores, names, thresholds, rules):
  """Detects the events in a sound.

  Args:
    start_seconds, end_seconds: float [n] of the rows, both increasing.
    scores: float [n, names], finite.
    names: list of str.
    thresholds: float [names] (`group_classes`).
    rules: Rules.

  Returns:
    list of Event, by start.

  Raises:
    ValueError: the shapes do not match.
  """
  starts, ends = (np.round(np.asarray(times, np.float64), 6) for times in (start_seconds, end_seconds))
  if scores.shape != (len(starts), len(names)) or len(ends) != len(starts) or len(thresholds) != len(names):
    raise ValueError(f'{len(starts)} starts, {len(ends)} ends, {len(names)} names, but scores {scores.shape}')
  if not len(starts):
    return []
  present = np.flatnonzero(scores.max(0) >= thresholds)  # a median is no higher
  thresholds = thresholds[present].astype(np.float64)
  values = smoothed(scores[:, present].astype(np.float32), starts, rules.smooth_seconds)
  active = values >= rules.release * thresholds
  if rules.top:
    crowded = np.flatnonzero(active.sum(1) > rules.top)
    ranked = np.where(active[crowded], -values[crowded], np.inf).argsort(1, kind='stable')
    active[crowded[:, None], ranked[:, rules.top :]] = False
  begin_at, end_at = edges(starts, ends)
  shortest = min(hop_of(starts), (ends - starts).min())
  events = []
  for column, number in enumerate(present):
    begins, last = active_runs(active[:, column], values[:, column], thresholds[column])
    if len(begins):
      spans = begins, last, *at_least(begin_at[begins], end_at[last], shortest)
      events += spans_to_events(spans, values[:, column], names[number], rules)
  return sorted(events, key=lambda event: (event.start_seconds, -event.score, event.name))


def smoothed(scores, starts, seconds):
  """A running median, `seconds` long, over the rows of [n, names]; the first and the last row are repeated outside."""
  length = 2 * int(seconds / hop_of(starts) / 2 + EPSILON_SECONDS) + 1
  if length < 3:
    return scores
  medians = np.empty_like(scores)
  for column, values in enumerate(np.ascontiguousarray(scores.T)):  # one by one, contiguous: SciPy's fast case
    medians[:, column] = ndimage.median_filter(values, length, mode='nearest')
  return medians


def hop_of(starts):
  """Seconds from row to row; inf where there is one row."""
  return max(EPSILON_SECONDS, np.median(np.diff(starts))) if len(starts) > 1 else np.inf


def edges(starts, ends):
  """(begin_at, end_at) f64 [n]: where an event begins whose first row this is, and where one ends whose last row it is.

  A row that overlaps its neighbours is the first because the event fills ONSET_OVERLAP of it, at its end, give or take
  half a hop. The first and last row of the sound overlap nothing outside.
  """
  overlap = np.maximum(0, ends[:-1] - starts[1:])
  hops = np.diff(starts)
  begin_at, end_at = starts.copy(), ends.copy()
  begin_at[1:] += np.clip((1 - ONSET_OVERLAP) * (ends - starts)[1:] - hops / 2, 0, overlap)
  end_at[:-1] -= np.clip((1 - ONSET_OVERLAP) * (ends - starts)[:-1] - hops / 2, 0, overlap)
  return begin_at, end_at


def at_least(begin, end, shortest):
  """(begin, end) of events, each at least one hop, `shortest`, long; those of a row or two lie in the middle of it."""
  middle = (begin + end) / 2
  brief = end - begin < shortest
  return np.where(brief, middle - shortest / 2, begin), np.where(brief, middle + shortest / 2, end)


def active_runs(active, values, threshold):
  """(first, last) rows of the runs of True in bool [n] whose highest value reaches the threshold: two int arrays."""
  steps = np.diff(np.concatenate([[False], active, [False]]).astype(np.int8))
  begins, behind = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
  if not len(begins):
    return begins, behind
  pairs = np.stack([begins, behind], 1).ravel()
  loud = np.maximum.reduceat(np.append(values, -np.inf), pairs)[::2] >= threshold
  return begins[loud], behind[loud] - 1


def spans_to_events(spans, values, name, rules):
  """Merges neighbours, then drops events that are too short.

  Args:
    spans: (first row, last row, start_seconds, end_seconds), one array each.
    values: float [n], the scores.
    name: str.
    rules: Rules.
  """
  first, last, begin, end = spans
  apart = begin[1:] - end[:-1] > rules.merge_seconds + EPSILON_SECONDS
  opens, closes = np.append(True, apart), np.append(apart, True)
  events = []
  for row, last_row, start, stop in zip(first[opens], last[closes], begin[opens], end[closes], strict=True):
    if stop - start >= rules.shortest_seconds - EPSILON_SECONDS:
      inside = values[row : last_row + 1]
      score, peak = float(inside.mean(dtype=np.float64)), float(inside.max())
      events.append(Event(round(float(start), 6), round(float(stop), 6), name, score, peak))
  return events


def clip_to_duration(events, seconds):
  """The events, cut off at the end of the sound: the last window may reach beyond it."""
  kept = [event for event in events if event.start_seconds < seconds]
  return [dataclasses.replace(event, end_seconds=min(event.end_seconds, seconds)) for event in kept]


def cues(events, top=0, shortest_seconds=0.0, sound_seconds=np.inf):
  """Cues that follow one another and never overlap: a new one wherever an event begins or ends.

  Args:
    events: list of Event.
    top: names in a cue, those of the highest score; 0 for all.
    shortest_seconds: shortest length of a cue (`readable`).
    sound_seconds: end of the sound, and of the last cue.

  Returns:
    list of Cue, times rounded to milliseconds.
  """
  changes = {}
  for number, event in enumerate(events):
    begin, end = round(event.start_seconds, 3), round(event.end_seconds, 3)
    if begin < end:
      changes.setdefault(begin, []).append((number, True))
      changes.setdefault(end, []).append((number, False))
  exact, active, times = [], set(), sorted(changes)
  for time, following in zip(times, times[1:], strict=False):
    for number, begins in changes[time]:
      (active.add if begins else active.remove)(number)
    ranked = sorted((events[number] for number in active), key=lambda event: (-event.score, event.name))
    names = tuple(dict.fromkeys(event.name for event in ranked))[: top or None]
    if names and exact and (exact[-1].end_seconds, exact[-1].names) == (time, names):
      exact[-1] = dataclasses.replace(exact[-1], end_seconds=following)
    elif names:
      exact.append(Cue(time, following, names))
  return readable(exact, top, shortest_seconds, sound_seconds) if shortest_seconds else exact


def readable(exact, top, shortest_seconds, sound_seconds):
  """Cues without flicker: each is shown for `shortest_seconds`, unless the whole sound is shorter.

  A shorter cue goes to its neighbours where these show all of its names anyway, such as the 80 ms during which one
  sound ends and the next has begun. Any other is shown longer, and what begins meanwhile is late, by less than
  `shortest_seconds`; what is over by then adds its names to the cue on the screen.

  Args:
    exact: list of Cue, in order, without overlap.
    top, shortest_seconds, sound_seconds: as for `cues`.
  """
  least, shown, early = shortest_seconds - EPSILON_SECONDS, [], None
  for cue, following in itertools.zip_longest(exact, exact[1:]):
    last = shown[-1] if shown else Cue(-np.inf, -np.inf, ())
    start = max(last.end_seconds, cue.start_seconds if early is None else early)
    names, brief, early = set(cue.names), cue.end_seconds - start < least, None
    touches = following and following.start_seconds == cue.end_seconds
    after = following.names if touches and following.end_seconds - following.start_seconds >= least else ()
    before = last.names if last.end_seconds == start else ()
    end = max(cue.end_seconds, round(min(start + shortest_seconds, sound_seconds), 3))
    if cue.end_seconds <= start:
      shown[-1] = with_names(last, cue, top)
    elif before and (cue.names == before or (brief and names <= {*before, *after})):
      shown[-1] = dataclasses.replace(last, end_seconds=cue.end_seconds)
    elif brief and names <= set(after):
      early = start
    elif end - start >= least:
      shown.append(Cue(start, end, cue.names))
    elif end - last.start_seconds < least + shortest_seconds:  # the sound ends: no time for both
      shown[-1] = with_names(last, cue, top)
    else:  # the sound ends: begin earlier
      start = max(0.0, round(end - shortest_seconds, 3))
      if shown:
        shown[-1] = dataclasses.replace(last, end_seconds=min(last.end_seconds, start))
      shown.append(Cue(start, end, cue.names))
  return shown


def with_names(last, cue, top):
  """The Cue `last`, which also shows the names of a later cue and lasts as long."""
  names = tuple(dict.fromkeys(last.names + cue.names))[: top or None]
  return Cue(last.start_seconds, max(last.end_seconds, cue.end_seconds), names)
