"""Detected events that somebody reviews: their sounds, what was decided, and the labelled sounds that come of it.

| path           | what                                                                                          |
|----------------|-----------------------------------------------------------------------------------------------|
| `events.json`  | `labels`, the names of the student's events, and `events` in order of doubt, the lowest       |
|                | score first                                                                                   |
| `sounds/*.wav` | their sounds                                                                                  |
| `decided.json` | number of an event to the label that it was given; null where it was rejected                 |
| `metadata.csv` | `file_name`, `label` of the sounds that have one: what `audionet_tf.train --sounds` takes     |
"""

import csv
import dataclasses
import json
import math
import pathlib
import re
import sys

import tqdm

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.captioning.review_place import DECIDED, EVENTS, SOUNDS, TABLE
from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.media import wav_file, waveforms
from audionet_tf.media.containers import integrity
from audionet_tf.units.page import cut

COLUMNS = ('file_name', 'label', 'source', 'start_seconds', 'end_seconds', 'detected', 'score')
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 30.0  # of a sound that is cut
MOST_EVENTS = 20_000
MOST_BYTES = 64 << 20


@dataclasses.dataclass
class Review:
  """Events and what was decided about them.

  Attributes:
    folder: pathlib.Path.
    labels: list of str, names of the student's events.
    events: list of dicts of `file_name`, `source`, `start_seconds`, `end_seconds`, `name`, `score`.
    decided: dict of number of an event to its label, None where it was rejected.
  """

  folder: pathlib.Path
  labels: list
  events: list
  decided: dict

  def decide(self, number, label):
    """Gives an event a label, or rejects it (None), and writes that down. ValueError: no such event, or no label."""
    if not 0 <= number < len(self.events):
      raise ValueError(f'event {number} is none of {len(self.events)}')
    if label is not None and label != text.one_line(label):
      raise ValueError('a label is one line of up to 120 characters')
    self.write(self.decided | {number: label})

  def undo(self, number):
    """Takes back what was decided about an event, if anything."""
    self.write({other: label for other, label in self.decided.items() if other != number})

  def write(self, decided):
    """Makes `decided` what is decided, once decided.json and metadata.csv are written."""
    with files.atomic_write(self.folder / TABLE) as file:
      writer = csv.writer(file)
      writer.writerow(COLUMNS)
      for number, label in sorted(decided.items()):
        event = self.events[number]
        keys = ('source', 'start_seconds', 'end_seconds', 'name', 'score')
        if label is not None:
          writer.writerow([event['file_name'], label, *(event[key] for key in keys)])
      files.sync(file)  # where this fails, neither file is replaced
      files.write_json(self.folder / DECIDED, decided)
    self.decided = decided


def read(folder):
  """The Review in a folder. UserError: it is damaged."""
  folder = pathlib.Path(folder)
  try:
    found = json.loads(files.read_bytes(folder / EVENTS, MOST_BYTES, 'events of audionet_tf.review'))
    decided = {}
    if (folder / DECIDED).exists():
      decided = json.loads(files.read_bytes(folder / DECIDED, MOST_BYTES, 'decisions of audionet_tf.review'))
    review = Review(folder, list(found['labels']), list(found['events']), {int(k): v for k, v in decided.items()})
    keys = {'file_name', 'source', 'start_seconds', 'end_seconds', 'name', 'score'}
    valid = all(isinstance(event, dict) and event.keys() == keys and _is_event(event) for event in review.events)
    valid &= all(isinstance(label, str) for label in review.labels)
    valid &= all(isinstance(label, str | None) for label in review.decided.values())
    if not valid or not all(0 <= number < len(review.events) for number in review.decided):
      raise ValueError('events that lack something, or decisions about others')
  except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f'{folder}: not a folder of audionet_tf.review ({text.brief(error)}); choose another') from None
  return review


def _is_event(event):
  """Whether the values of an event are texts and finite numbers, as the page needs them."""
  texts, numbers = ('file_name', 'source', 'name'), ('start_seconds', 'end_seconds', 'score')
  are_numbers = all(type(event[key]) in (int, float) and math.isfinite(event[key]) for key in numbers)
  return are_numbers and all(isinstance(event[key], str) for key in texts)


def make(folder, predictor, rules, paths):
  """Detects the events in files and writes a folder of them; files that cannot be read are named on stderr.

  Args:
    folder: pathlib.Path; decided.json comes first and events.json last: between them the review is not finished.
    predictor: from `captioner.predictor`.
    rules: event_detection.DetectionConfig.
    paths: of sound or video files.

  Returns:
    Review.

  Raises:
    UserError: no file can be read, no event in any, or more than MOST_EVENTS.
  """
  names, _, thresholds = event_detection.group_classes(predictor.class_names, rules)
  (folder / SOUNDS).mkdir(parents=True, exist_ok=True)
  files.write_json(folder / DECIDED, {})
  events, unreadable = [], 0
  for path in tqdm.tqdm(paths, desc='detecting', unit=' files', delay=1):
    try:
      found = captioner.captions(predictor, path, rules).events
      events += write_sounds(folder, path, found, len(events), predictor.served.settings)
    except (UserError, OSError) as error:
      unreadable += 1
      print(text.printable(f'{path}: {getattr(error, "reason", error)}'), file=sys.stderr)
    if len(events) > MOST_EVENTS:
      raise UserError(f'more than {MOST_EVENTS} events; review fewer files, or raise --threshold')
  if unreadable == len(paths):
    raise UserError(f'none of {len(paths)} files can be read')
  if not events:
    raise UserError(f'no event in {len(paths) - unreadable} files; a lower --threshold finds more')
  events.sort(key=lambda event: event['score'])
  labels = [name for name, threshold in zip(names, thresholds, strict=True) if threshold <= 1]
  review = Review(folder, labels, events, {})
  review.write({})
  files.write_json(folder / EVENTS, {'labels': labels, 'events': events})
  return review


def write_sounds(folder, path, events, first, settings):
  """Writes the sounds of the events of a file; returns the rows of `Review.events`.

  Args:
    folder: pathlib.Path of the review.
    path: of the file.
    events: list of event_detection.Event.
    first: number of events of earlier files, which their names count on from.
    settings: student_settings.StudentConfig.
  """
  if not events:
    return []
  rate, source = settings.sample_rate_hz, pathlib.Path(path)
  stem = re.sub(r'[^\w-]', '-', source.name.partition('.')[0])[:80] or 'sound'  # the recording, as `--sounds` tells it
  with integrity.decompressed(source) as opened:
    sounds = cut(waveforms.chunks(opened, rate, settings.mono), [span(event, rate) for event in events])
  rows = []
  for number, (event, pcm) in enumerate(zip(events, sounds, strict=True), first):
    name = f'{SOUNDS}/{stem}_{number:05}.wav'
    wav_file.write(folder / name, pcm, rate)
    times = {'start_seconds': event.start_seconds, 'end_seconds': event.end_seconds}
    rows.append(
      {'file_name': name, 'source': source.name} | times | {'name': event.name, 'score': round(event.score, 6)}
    )
  return rows


def span(event, rate_hz):
  """(begin, end) in samples of the sound of an event, of at least SHORTEST_SECONDS around its middle."""
  middle = (event.start_seconds + event.end_seconds) / 2
  begin = max(0.0, min(event.start_seconds, middle - SHORTEST_SECONDS / 2))
  end = max(event.end_seconds, begin + SHORTEST_SECONDS)
  return round(begin * rate_hz), round(min(end, begin + LONGEST_SECONDS) * rate_hz)
