"""Sound event detection while the sound arrives: the events of `event_detection`, row by row, in constant memory.

An event is known once nothing can be merged with it any more: `merge_seconds` and half of the running median after its
end. Only one thing differs from a detection afterwards: that a class never reaches its threshold is not known in
advance, so it counts among the `top` names at a time.
"""

import collections
import dataclasses

import numpy as np

from audionet_tf.captioning import event_detection
from audionet_tf.captioning.event_detection import EPSILON_SECONDS


@dataclasses.dataclass
class Span:
  """A time, and of the rows in it the number, the sum and the highest of a class's scores."""

  begin: float = 0.0
  end: float = 0.0
  first_start: float = 0.0  # of the first row: no rule moves the begin before it
  total: float = 0.0
  peak: float = -np.inf
  rows: int = 0

  def add(self, total, peak, rows=1):
    self.total, self.peak, self.rows = self.total + total, max(self.peak, peak), self.rows + rows


class LiveEvents:
  """Takes rows of scores one by one, and returns the events that are over.

  Args:
    class_names: of the student.
    rules: event_detection.DetectionConfig that fits them (`event_detection.check`).
    window_seconds, hop_seconds: of the rows.
  """

  def __init__(self, class_names, rules, window_seconds, hop_seconds):
    self.rules = rules
    self.names, self.groups, thresholds = event_detection.group_classes(class_names, rules)
    self.thresholds = np.asarray(thresholds, np.float16).astype(np.float64)  # rounded like the scores
    self.shortest = min(hop_seconds, window_seconds)
    self.half = int(rules.smooth_seconds / hop_seconds / 2 + EPSILON_SECONDS)  # rows on each side in the running median
    self.scores = collections.deque(maxlen=2 * self.half + 1)
    self.times = collections.deque()  # (start, end) of the rows that are not looked at yet
    self.last = None  # (start, end) of the row before these
    self.runs, self.waiting, self.since = {}, {}, {}  # Span by class: active now; over; the rows after that

  def add(self, start_seconds, end_seconds, probabilities):
    """Adds a row, f32 [classes]; returns a list of event_detection.Event that are over, by start."""
    row = event_detection.pool_scores(probabilities[None], self.groups, self.rules.join).astype(np.float16)
    row = event_detection.without_unknown(row, self.names, self.rules)[0].astype(np.float32)
    self.scores.extend([row] * (1 if self.scores else self.half + 1))  # the first row is repeated before itself
    self.times.append((round(float(start_seconds), 6), round(float(end_seconds), 6)))
    return in_order(self.look()) if len(self.times) > self.half else []

  def end(self, seconds):
    """The events that are not over yet where the sound ends, after so many seconds: list of Event, by start."""
    events = []
    while self.times:
      self.scores.append(self.scores[-1])
      events += self.look()
    for number, run in list(self.runs.items()):
      run.end = self.last[1]
      events += self.finish(number)
    events += [self.event(number) for number in self.waiting]
    self.waiting = {}
    return in_order(event_detection.clip_to_duration([event for event in events if event], seconds))

  def sounding(self):
    """The names of the classes that are active, the highest mean score first."""
    loud = [number for number, run in self.runs.items() if run.peak >= self.thresholds[number]]
    means = {number: self.runs[number].total / self.runs[number].rows for number in loud}
    return [self.names[number] for number in sorted(loud, key=lambda number: -means[number])]

  def look(self):
    """Looks at the next row, whose neighbours in the running median are known; returns a list of Event or None."""
    start, end = self.times.popleft()
    values = np.median(self.scores, 0)
    active = values >= self.rules.release * self.thresholds
    if self.rules.top and active.sum() > self.rules.top:
      active[np.where(active, -values, np.inf).argsort(kind='stable')[self.rules.top :]] = False
    begins, ends = [start], [end]
    if self.last:
      begins, ends = event_detection.edges(*(np.array(pair) for pair in zip(self.last, (start, end), strict=True)))
    events = []
    for number in [number for number in self.runs if not active[number]]:
      self.runs[number].end = float(ends[0])
      events += self.finish(number)
    for number in np.flatnonzero(active).tolist():
      run = self.runs.setdefault(number, Span(float(begins[-1]), first_start=start))
      run.add(float(values[number]), float(values[number]))
    for number in list(self.waiting):
      self.since[number].add(float(values[number]), float(values[number]))
      earliest = self.runs[number].first_start if number in self.runs else start
      if self.is_apart(earliest, self.waiting[number].end):
        events.append(self.event(number))
        del self.waiting[number]
    self.last = start, end
    return events

  def is_apart(self, begin, end):
    return begin - end > self.rules.merge_seconds + EPSILON_SECONDS

  def finish(self, number):
    """Ends the run of a class: it is merged with the one that waits, or waits itself. List of Event or None."""
    run = self.runs.pop(number)
    if run.peak < self.thresholds[number]:
      return []
    run.begin, run.end = map(float, event_detection.at_least(run.begin, run.end, self.shortest))
    waiting, since = self.waiting.get(number), self.since.get(number)
    self.since[number] = Span()
    if waiting and not self.is_apart(run.begin, waiting.end):
      waiting.end = run.end
      waiting.add(since.total, since.peak, since.rows)
      return []
    events = [self.event(number)] if waiting else []
    self.waiting[number] = run
    return events

  def event(self, number):
    """The Event of a class that waits; None where it is too short."""
    span = self.waiting[number]
    if span.end - span.begin < self.rules.shortest_seconds - EPSILON_SECONDS:
      return None
    times = round(span.begin, 6), round(span.end, 6)
    return event_detection.Event(*times, self.names[number], span.total / span.rows, span.peak)


def in_order(events):
  """The events, without None, as `event_detection.detect_events` sorts them."""
  kept = [event for event in events if event]
  return sorted(kept, key=lambda event: (event.start_seconds, -event.score, event.name))
