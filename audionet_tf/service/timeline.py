"""What was heard in a file, kept small: scores over time from which events follow, and a picture for a timeline."""

import base64
import dataclasses
import math

import numpy as np

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.media import overview

LEAST_THRESHOLD = 0.05  # names that never reach it are not kept: of a thousand classes most
MOST_COLUMNS = 1200  # of the timeline
TIMELINE_CLASSES = 10
TOP = 5
PICTURE_BANDS = 48
FLOOR_DECIBELS = -70
WAV_HEADER_BYTES = 44
PIECE_SAMPLES = 1 << 18


@dataclasses.dataclass(frozen=True)
class Heard:
  """What a student says about a file.

  Attributes:
    scored: captioner.FrameScores, of the names whose scores reach LEAST_THRESHOLD.
    names: list of str.
    timeline: dict of `classes_over_time`.
  """

  scored: captioner.FrameScores
  names: list
  timeline: dict


def heard(listener, path, report):
  """The Heard of the sound at `path`.

  Args:
    listener: of captions.listener.
    path: of a file of sound.
    report: called with the seconds heard so far; may raise to stop.

  Raises:
    UserError: no sound in it, or a student whose answers are not finite.
  """
  names, groups, _ = event_detection.group_classes(listener.class_names, event_detection.DetectionConfig())
  scored = captioner.score_file(listener, path, groups, progress=lambda seconds, _: report(seconds))
  ends = np.minimum(scored.end_seconds, scored.seconds)
  timeline = classes_over_time(scored.start_seconds, ends, scored.scores, names)
  kept = np.flatnonzero(scored.scores.max(0) >= LEAST_THRESHOLD)
  return Heard(dataclasses.replace(scored, scores=scored.scores[:, kept]), [names[i] for i in kept], timeline)


def found(heard, threshold):
  """(list of Event, list of Cue), of event_detection, in a Heard; `threshold` is at least LEAST_THRESHOLD."""
  if not heard.names:
    return [], []
  rules = event_detection.DetectionConfig(threshold=threshold)
  events = captioner.detect(heard.scored, heard.names, [threshold] * len(heard.names), rules)
  return events, event_detection.cues(events, rules.top, rules.cue_seconds, heard.scored.seconds)


def pcm_pieces(path):
  """(start_sample, int16 [n]) pieces of a WAV that `service_decoder` wrote."""
  pcm = np.memmap(path, '<i2', 'r', WAV_HEADER_BYTES)
  for start in range(0, len(pcm), PIECE_SAMPLES):
    yield start, np.asarray(pcm[start : start + PIECE_SAMPLES])


def picture(path, sample_rate_hz):
  """The sound of a WAV that `service_decoder` wrote, to be drawn.

  Returns:
    dict: `wave`: `low`, `high`, lists of -100 to 100, `block_seconds`; `mel`: `columns`, `bands`, `column_seconds`,
    `levels`, base64 of u8 [columns, bands], 255 the loudest, 0 for FLOOR_DECIBELS or less, `edges_hz`.
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
  """The classes for a timeline.

  Args:
    start_seconds, end_seconds: f64 [rows].
    scores: float [rows, names].
    names: list of str.

  Returns:
    dict: `start_seconds`, `end_seconds`: lists, a column each; `names`: those that occur in the rest; `bars`: list of
    {`name`: a number in `names`, `values`: list of percents}, the highest scores first; `top`: for every column a list
    of [number in `names`, percent], the best first.
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
