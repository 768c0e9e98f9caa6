"""Polyphonic sound detection scores: how well events are detected over all thresholds, not at one.

The score is the area under the share of annotated events that are found, over the false alarms per hour, up to
MOST_PER_HOUR; a share is the mean over classes less their standard deviation. An event is found by how much of it
detections cover, not by its edges. The two scenarios are those of DCASE's Task 4: the first wants events in their
place, the second wants no confusion with other classes. The counts are those of psds_eval; this is the only module that
imports it. Source: Bilen et al. 2020, "A framework for the robust evaluation of sound event detection".
"""

import warnings

from audionet_tf.captioning.event_tables import Annotation

COUNT = 50
THRESHOLDS = tuple((number + 0.5) / COUNT for number in range(COUNT))  # as the baseline of Task 4 has them
MOST_PER_HOUR = 100
# Name to what an event must fulfil, and to the weights of confusions and of differences between classes.
SCENARIOS = {
  'psds1': ({'dtc_threshold': 0.7, 'gtc_threshold': 0.7}, {'alpha_ct': 0.0, 'alpha_st': 1.0}),
  'psds2': (
    {'dtc_threshold': 0.1, 'gtc_threshold': 0.1, 'cttc_threshold': 0.3},
    {'alpha_ct': 0.5, 'alpha_st': 1.0},
  ),
}


def score(sounds):
  """Scores of detected events.

  Args:
    sounds: list of (name of a file, its length in seconds, annotated events, list of the events that were detected at
      each of THRESHOLDS), events as lists of Annotation.

  Returns:
    dict of key of SCENARIOS to float; None where fewer than two classes are annotated, which psds_eval cannot compare.
  """
  import psds_eval

  classes = {event.label for _, _, annotated, _ in sounds for event in annotated}
  if len(classes) < 2:
    return dict.fromkeys(SCENARIOS)
  truth = table([(name, event) for name, _, annotated, _ in sounds for event in joined(annotated)])
  points = {}
  for number in range(COUNT):
    rows = [(name, event) for name, _, _, detected in sounds for event in detected[number] if event.label in classes]
    points[tuple(rows)] = None  # thresholds without an event between them are one
  lengths = frame({'filename': [name for name, *_ in sounds], 'duration': [seconds for _, seconds, *_ in sounds]})
  values = {}
  for key, (criteria, weights) in SCENARIOS.items():
    measure = psds_eval.PSDSEval(**criteria, ground_truth=truth, metadata=lengths)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of means of nothing, which psds_eval expects
      for rows in filter(None, points):
        measure.add_operating_point(table(rows))
      found = measure.num_operating_points()
      values[key] = float(measure.psds(max_efpr=MOST_PER_HOUR, **weights).value) if found else 0.0
  return values


def joined(events):
  """Annotated events of a file, those of one class that overlap joined: psds_eval counts each moment once."""
  found = []
  for event in sorted(events, key=lambda event: (event.label, event.onset)):
    last = found[-1] if found else None
    if last and last.label == event.label and event.onset < last.offset:
      found[-1] = Annotation(last.onset, max(last.offset, event.offset), event.label)
    else:
      found.append(event)
  return found


def table(rows):
  """A table in the form of psds_eval. `rows`: (name of a file, Annotation)."""
  return frame(
    {
      'filename': [name for name, _ in rows],
      'onset': [event.onset for _, event in rows],
      'offset': [event.offset for _, event in rows],
      'event_label': [event.label for _, event in rows],
    }
  )


def frame(columns):
  """pandas.DataFrame of a dict of columns."""
  import pandas

  return pandas.DataFrame(columns)
