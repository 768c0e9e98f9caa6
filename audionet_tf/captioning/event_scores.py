"""Detected events against annotated ones: segment-based and event-based F1, as DCASE's Task 4 counts them.

Segment-based: which classes are active in each second. Event-based: an event counts if its label is right, its onset
within COLLAR_SECONDS, and its offset within that or OFFSET_SHARE of its length. The counts are those of sed_eval; this
is the only module that imports it. Source: Mesaros, Heittola, Virtanen 2016, "Metrics for polyphonic sound event
detection".
"""

import math
import sys
import warnings

import numpy as np
import tqdm

from audionet_tf.captioning import captioner, event_detection, event_tables, psds
from audionet_tf.core import text
from audionet_tf.core.errors import UserError, missing_extra

SEGMENT_SECONDS = 1.0
COLLAR_SECONDS = 0.2
OFFSET_SHARE = 0.2


def sound_events():
  """The module sed_eval.sound_event. UserError if it is not installed."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of pkg_resources, which it still uses
      import sed_eval.sound_event
  except ImportError as error:
    raise missing_extra('--events', f'sed_eval ({error})', 'events') from None
  return sed_eval.sound_event


def plain(name):
  """A label as it is compared: case and underscores do not matter."""
  return ' '.join(name.casefold().replace('_', ' ').split())


def in_classes(annotated, names, path):
  """The annotated events, with labels as the student's events are called.

  Args:
    annotated: dict from `event_tables.read`.
    names: list of str, names of events.
    path: of the table, for messages.

  Raises:
    UserError: the student has no event of a label, or there is no event at all.
  """
  by_name = {plain(name): name for name in reversed(names)}
  labels = {event.label for events in annotated.values() for event in events}
  unknown = sorted(label for label in labels if plain(label) not in by_name)
  if unknown:
    raise UserError(
      f'{path}: the student has no events called {text.first_of(unknown)}; it has {text.first_of(names)}; --names=CSV '
      '(class_name, display_name) renames its classes'
    )
  if not labels:
    raise UserError(f'{path}: holds no event')
  return {
    file: [event_tables.Annotation(event.onset, event.offset, by_name[plain(event.label)]) for event in events]
    for file, events in annotated.items()
  }


def evaluate(predictor, rules, annotated, path, root):
  """Detects the events in every annotated file by the rules of `audionet_tf.caption`, and compares.

  Files that are missing or unreadable are named on stderr and left out.

  Args:
    predictor: from `captioner.predictor`.
    rules: event_detection.DetectionConfig.
    annotated: dict from `event_tables.read`.
    path: of the table, for messages.
    root: pathlib.Path of the folder of the files.

  Returns:
    dict of `score`, and `psds`, that of `psds.score`; `files`, their number; `missing` and `unreadable`, dicts of name
    to reason; `others`, number of detected events of classes that the table does not have.

  Raises:
    UserError: `in_classes` refuses the table, no file can be read, or sed_eval is not installed.
  """
  sound_events()
  event_detection.check(rules, predictor.class_names)
  groups = event_detection.group_classes(predictor.class_names, rules)
  annotated = in_classes(annotated, groups[0], path)
  labels = sorted({event.label for events in annotated.values() for event in events})
  found, missing = event_tables.locate(annotated, root)
  files = event_tables.by_file(annotated, found)
  pairs, sounds, unreadable, others = [], [], {}, 0
  for name, expected in tqdm.tqdm(files.items(), desc='detecting', unit=' files', delay=1):
    try:
      seconds, events, at_thresholds = detected(predictor, rules, groups, found[name])
    except (UserError, OSError) as error:
      unreadable[name] = str(getattr(error, 'reason', error))
      continue
    others += sum(event.label not in labels for event in events)
    pairs.append((name, seconds, expected, [event for event in events if event.label in labels]))
    sounds.append((name, seconds, expected, at_thresholds))
  for name, reason in (missing | unreadable).items():
    print(f'{text.printable(name)}: {reason}', file=sys.stderr)
  if not pairs:
    raise UserError(f'{path}: none of {len(annotated)} files can be read below {root}; --media_root names their folder')
  counts = {'files': len(pairs), 'missing': missing, 'unreadable': unreadable, 'others': others}
  return score(pairs, labels) | {'psds': psds.score(sounds)} | counts


def detected(predictor, rules, groups, path):
  """(length in seconds, events by the rules, list of the events at each of psds.THRESHOLDS) of a file.

  Args:
    predictor, rules: as for `evaluate`.
    groups: from `event_detection.group_classes`.
    path: of the file.
  """
  names, classes, thresholds = groups
  frames = captioner.score_file(predictor, path, classes, rules.join)

  def events(values):
    found = captioner.detect(frames, names, values, rules)
    return [event_tables.Annotation(event.start_seconds, event.end_seconds, event.name) for event in found]

  shown = np.isfinite(thresholds)  # the others have no events at any threshold
  return frames.seconds, events(thresholds), [events(np.where(shown, value, np.inf)) for value in psds.THRESHOLDS]


def score(pairs, labels):
  """Compares events.

  Args:
    pairs: list of (name of a file, its length in seconds, annotated events, detected events), lists of
      event_tables.Annotation.
    labels: list of str, the classes to compare.

  Returns:
    dict of `segment` and `event`, each a dict of `f1`, `precision` and `recall` over all classes together; `macro_f1`,
    the mean of the F1 of the classes; `classes`, dict of label to dict of `f1`, `precision`, `recall`, `annotated` and
    `detected`, their numbers of segments or events. None where there is nothing to divide by.
  """
  module = sound_events()
  measures = {
    'segment': module.SegmentBasedMetrics(labels, time_resolution=SEGMENT_SECONDS),
    'event': module.EventBasedMetrics(labels, t_collar=COLLAR_SECONDS, percentage_of_length=OFFSET_SHARE),
  }
  for name, length, annotated, detected in pairs:
    rows = [as_rows(events, name) for events in (annotated, detected)]
    measures['segment'].evaluate(*rows, evaluated_length_seconds=length)
    measures['event'].evaluate(*rows)
  return {kind: numbers(metric) for kind, metric in measures.items()}


def as_rows(events, name):
  """Events in the form of sed_eval."""
  return [{'filename': name, 'onset': e.onset, 'offset': e.offset, 'event_label': e.label} for e in events]


def numbers(metric):
  """The part of `score` of one of sed_eval's metrics."""
  overall, by_class = metric.results_overall_metrics(), metric.results_class_wise_metrics()
  classes = {
    label: shares(values) | {'annotated': int(values['count']['Nref']), 'detected': int(values['count']['Nsys'])}
    for label, values in sorted(by_class.items())
  }
  known = [values['f1'] for values in classes.values() if values['f1'] is not None]
  return shares(overall) | {'macro_f1': sum(known) / len(known) if known else None, 'classes': classes}


def shares(values):
  """f1, precision and recall of sed_eval's results; None for what is no number."""
  measured = values['f_measure']
  pairs = {'f1': measured['f_measure'], 'precision': measured['precision'], 'recall': measured['recall']}
  return {key: None if value is None or math.isnan(value) else float(value) for key, value in pairs.items()}


def report(measured):
  """A row per class with both scores, the totals, and what was left out, as text. `measured`: from `evaluate`."""

  def cells(values):
    return ['-' if values[key] is None else f'{values[key]:.1%}' for key in ('precision', 'recall', 'f1')]

  segment, event = measured['segment'], measured['event']
  rows = [['class', 'annotated', 'detected', 'segment P', 'R', 'F1', 'event P', 'R', 'F1']]
  for label, values in event['classes'].items():
    rows.append(
      [label, str(values['annotated']), str(values['detected']), *cells(segment['classes'][label]), *cells(values)]
    )
  total = [str(sum(values[key] for values in event['classes'].values())) for key in ('annotated', 'detected')]
  rows.append(['all together', *total, *cells(segment), *cells(event)])
  mean = ['-' if part['macro_f1'] is None else f'{part["macro_f1"]:.1%}' for part in (segment, event)]
  lines = [text.aligned(rows), f'mean F1 of the classes: {mean[0]} of segments, {mean[1]} of events']
  scores = ['-' if value is None else f'{value:.3f}' for value in measured['psds'].values()]
  lines.append(f'PSDS, over all thresholds: {scores[0]} (events in their place), {scores[1]} (no confusion)')
  if measured['others']:
    lines.append(f'{measured["others"]} detected events are of classes that the table does not have, and do not count')
  left_out = [*measured['missing'], *measured['unreadable']]
  if left_out:
    lines.append(f'{len(left_out)} files left out: {text.first_of(left_out)}')
  return '\n'.join(lines)
