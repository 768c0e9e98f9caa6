"""What the service keeps of a file: scores over time, from which events follow, and a picture for the timeline."""

import base64
import dataclasses
import math

import numpy as np

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.data.tables.class_lists import UNKNOWN
from audionet_tf.media import overview

LEAST_THRESHOLD = 0.05  # names that never reach it are not kept: most of a thousand classes
MOST_COLUMNS = 1200  # of the timeline
TIMELINE_CLASSES = 10
TOP = 5
PICTURE_BANDS = 48
FLOOR_DECIBELS = -70
WAV_HEADER_BYTES = 44
PIECE_SAMPLES = 1 << 18


@dataclasses.dataclass(frozen=True)
class KeptScores:
  """A student's scores of a file.

  Attributes:
    frames: captioner.FrameScores of the names that reach LEAST_THRESHOLD.
    names: list of str.
    timeline: dict from `classes_over_time`.
    unknown_seconds: as of captioner.Captions.
    rules: event_detection.DetectionConfig of the events in them.
  """

  frames: captioner.FrameScores
  names: list
  timeline: dict
  unknown_seconds: float | None = None
  rules: event_detection.DetectionConfig = event_detection.DetectionConfig()


def score(predictor, path, report):
  """The KeptScores of the sound at `path`.

  Args:
    predictor: from captioner.predictor.
    path: of a sound file.
    report: called with the seconds done so far; may raise to stop.

  Raises:
    UserError: no sound in the file, or scores that are not finite.
  """
  rules = event_detection.DetectionConfig(join=captioner.default_join(predictor.served.settings, predictor.head))
  names, groups, _ = event_detection.group_classes(predictor.class_names, rules)
  frames = captioner.score_file(predictor, path, groups, rules.join, lambda seconds, _: report(seconds))
  ends = np.minimum(frames.end_seconds, frames.seconds)
  timeline = classes_over_time(frames.start_seconds, ends, frames.scores, names)
  unknown = captioner.unknown_seconds(frames, names, rules) if UNKNOWN in names else None
  kept = np.flatnonzero(frames.scores.max(0) >= LEAST_THRESHOLD)
  frames = dataclasses.replace(frames, scores=frames.scores[:, kept])
  return KeptScores(frames, [names[i] for i in kept], timeline, unknown, rules)


def detect(kept, threshold):
  """(list of Event, list of Cue), of event_detection, from KeptScores; `threshold` is at least LEAST_THRESHOLD."""
  if not kept.names:
    return [], []
  rules = dataclasses.replace(kept.rules, threshold=threshold)
  thresholds = [np.inf if name == UNKNOWN else threshold for name in kept.names]
  events = captioner.detect(kept.frames, kept.names, thresholds, rules)
  return events, event_detection.cues(events, rules.top, rules.cue_seconds, kept.frames.seconds)


def pcm_pieces(path):
  """Yields (start_sample, int16 [n]) pieces of a WAV from `decoder`."""
  pcm = np.memmap(path, '<i2', 'r', WAV_HEADER_BYTES)
  for start in range(0, len(pcm), PIECE_SAMPLES):
    yield start, np.asarray(pcm[start : start + PIECE_SAMPLES])


def picture(path, sample_rate_hz):
  """The sound of a WAV from `decoder`, reduced for a drawing.

  Returns:
    dict: `wave`: `low`, `high`, lists of -100 to 100, `block_seconds`; `mel`: `columns`, `bands`, `column_seconds`,
    `levels`, base64 of u8 [columns, bands], 255 the loudest, 0 for FLOOR_DECIBELS or less, and `edges_hz`.
  """
  mel = overview.MelPicture(sample_rate_hz, PICTURE_BANDS)
  wave = overview.envelope(mel.watch(pcm_pieces(path)), 2 * MOST_COLUMNS)
  drawn = mel.picture()
  group = math.ceil(len(drawn['decibels']) / MOST_COLUMNS)
  decibels = grouped(drawn['decibels'], group, np.max)  # [columns, bands]
  levels = np.clip(255 * (1 - decibels / FLOOR_DECIBELS), 0, 255).astype(np.uint8)
  return {
    'wave': {
      'low': np.rint(100 * wave['low']).astype(int).tolist(),
      'high': np.rint(100 * wave['high']).astype(int).tolist(),
      'block_seconds': wave['block_samples'] / sample_rate_hz,
    },
    'mel': {
      'columns': len(levels),
      'bands': PICTURE_BANDS,
      'column_seconds': mel.frames_per_column * mel.hop * group / sample_rate_hz,
      'levels': base64.b64encode(levels.tobytes()).decode(),
      'edges_hz': np.rint(drawn['edges_hz']).astype(int).tolist(),
    },
  }


def grouped(values, size, reduce):
  """`reduce` over successive groups of `size` rows; the last group may be smaller."""
  return np.stack([reduce(values[begin : begin + size], 0) for begin in range(0, len(values), size)])


def classes_over_time(start_seconds, end_seconds, scores, names):
  """The scores of a timeline.

  Args:
    start_seconds, end_seconds: f64 [rows].
    scores: float [rows, names].
    names: list of str.

  Returns:
    dict: `start_seconds`, `end_seconds`: lists, one value per column; `names`: those that the other keys refer to;
    `bars`: list of {`name`: index into `names`, `values`: list of percentages}, the highest scores first; `top`: per
    column a list of [index into `names`, percentage], the highest first.
  """
  group = math.ceil(len(start_seconds) / MOST_COLUMNS)
  columns = 100 * grouped(scores, group, np.max).astype(np.float32)  # [columns, names]
  best = np.argsort(-columns, axis=1, kind='stable')[:, :TOP]
  bars = np.argsort(-(columns.max(0) + columns.mean(0)), kind='stable')[:TIMELINE_CLASSES]
  used = sorted({*best.ravel().tolist(), *bars.tolist()})
  place = {number: i for i, number in enumerate(used)}
  top = [[[place[n], round(float(row[n]), 1)] for n in most] for most, row in zip(best.tolist(), columns, strict=True)]
  return {
    'start_seconds': np.round(start_seconds[::group], 3).tolist(),
    'end_seconds': np.round(grouped(end_seconds, group, np.max), 3).tolist(),
    'names': [names[number] for number in used],
    'bars': [
      {'name': place[n], 'values': np.round(columns[:, n].astype(np.float64), 1).tolist()} for n in bars.tolist()
    ],
    'top': top,
  }
