"""Captions of the sounds in a file: a student's scores over time, and the events in them."""

import dataclasses

import numpy as np

from audionet_tf.captioning import event_detection
from audionet_tf.captioning import rules as tables
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables.class_lists import UNKNOWN
from audionet_tf.inference import predict
from audionet_tf.media import waveforms

PATCH_SECONDS = 0.96  # length of a patch in Caption4Sound's blocks


@dataclasses.dataclass(frozen=True)
class Captions:
  """The sounds in a file.

  Attributes:
    events: list of event_detection.Event, by start.
    cues: list of event_detection.Cue.
    seconds: end of the sound.
    repeats: number of repetitions of a sound that is too short for the student, else 1.
    unknown_seconds: how long the sound is unlike all that the student knows; None for a student without `unknown`.
  """

  events: list
  cues: list
  seconds: float
  repeats: int = 1
  unknown_seconds: float | None = None


def predictor(served, window_seconds=None, hop_seconds=None, blocks=None, batch_size=None, head=None):
  """The predict.FilePredictor whose rows become events; they cover the sound to its end.

  Args:
    served: loader.LoadedExport, or lite_student.LiteStudent.
    window_seconds, hop_seconds: of the rows; None as in `predict.file_predictor`.
    blocks: None, or (patches, hop, total): windows of `patches` patches, one every `hop` patches, each repeated until
      the student gets `total` patches, each as long as its frames reach. A patch is `window_seconds` long, by default
      PATCH_SECONDS.
    batch_size: None chooses.
    head: of the student, whose classes these are; None for the first.

  Raises:
    UserError: a length out of range, or a total that is no multiple of the patches.
  """
  repeats = 1
  if blocks:
    patches, hop, total = blocks
    if not (0 < hop <= patches <= total) or total % patches:
      raise UserError(
        f'blocks is {patches},{hop},{total}, allowed is PATCHES,HOP,TOTAL such as 5,2,10: a hop of at most PATCHES, '
        'and TOTAL a multiple of PATCHES'
      )
    if hop_seconds:
      raise UserError('blocks have their own hop: give a window, the length of a patch, but no hop')
    patch = window_seconds or PATCH_SECONDS
    hop_seconds, repeats = round(patch * hop, 6), total // patches
    window_seconds = round(patch * patches + beyond(served, patch), 6)
  return predict.file_predictor(
    served, ('json',), window_seconds, hop_seconds, batch_size=batch_size, repeats=repeats, to_the_end=True, head=head
  )


def detection_config(settings, class_names, head=None, names=None, thresholds=None, stop=(), join=None, **options):
  """event_detection.DetectionConfig for a student, checked.

  Args:
    settings: its student_settings.StudentConfig.
    class_names: of the head.
    head: its name; None for the first.
    names, thresholds: paths of tables (`rules`), or None.
    stop: names, or one path of a list of them.
    join: key of event_detection.JOINS; None for `default_join`.
    **options: other attributes of the DetectionConfig.

  Raises:
    UserError: a table cannot be read, or a value does not fit.
  """
  config = event_detection.DetectionConfig(
    join=join or default_join(settings, head),
    stop=tables.read_stop(stop),
    names=tables.read_names(names, class_names) if names else {},
    thresholds=tables.read_thresholds(thresholds) if thresholds else {},
    **options,
  )
  event_detection.check(config, class_names)
  return config


def default_join(settings, head=None):
  """Key of event_detection.JOINS for a head, None for the first: 'sum' of exclusive classes, else 'max'."""
  return 'sum' if settings.activation(head or next(iter(settings.classes))) == 'softmax' else 'max'


def beyond(served, patch_seconds):
  """Seconds by which the last frame of a spectrogram patch reaches beyond the patch."""
  if not served.network.spectrogram:
    return 0
  return max(0, served.shortest_samples / served.network.sample_rate_hz - patch_seconds)


def captions(predictor, path, rules=None, progress=None):
  """Captions of a sound or video file, or of a waveforms.Waveform.

  Args:
    predictor: from `predictor`; it can be reused, also by several threads.
    path: of the file, which may be gzipped, or the Waveform.
    rules: event_detection.DetectionConfig; None for its defaults.
    progress: None, or a function (seconds done, declared duration of the file or None).

  Returns:
    Captions.

  Raises:
    MediaError: unreadable, damaged or without sound.
    UserError: scores that are not finite, or rules that do not fit the student.
  """
  rules, class_names = rules or event_detection.DetectionConfig(), predictor.class_names
  event_detection.check(rules, class_names)
  names, groups, thresholds = event_detection.group_classes(class_names, rules)
  frames = score_file(predictor, path, groups, rules.join, progress)
  events = detect(frames, names, thresholds, rules)
  cues = event_detection.cues(events, rules.top, rules.cue_seconds, frames.seconds)
  unknown = unknown_seconds(frames, names, rules) if UNKNOWN in class_names else None
  return Captions(events, cues, frames.seconds, frames.repeats, unknown)


@dataclasses.dataclass(frozen=True)
class FrameScores:
  """A student's scores of a file over time.

  Attributes:
    start_seconds, end_seconds: f64 [rows].
    scores: f16 [rows, names], to save memory.
    seconds, repeats: as in Captions.
  """

  start_seconds: np.ndarray
  end_seconds: np.ndarray
  scores: np.ndarray
  seconds: float
  repeats: int


def score_file(predictor, path, groups, join='sum', progress=None):
  """The FrameScores of a file, for names that are `groups` of classes (`event_detection.group_classes`)."""
  starts, ends, scores = [], [], []
  with waveforms.unpacked(path) as sound:
    declared_seconds = waveforms.seconds(sound) if progress else None
    for block in predict.blocks(predictor, sound):
      starts.append(block['start_seconds'])
      ends.append(block['end_seconds'])
      scores.append(event_detection.pool_scores(block['probabilities'], groups, join).astype(np.float16))
      if progress:
        progress(min(float(ends[-1][-1]), block['sound_seconds'][1]), declared_seconds)
  start, end = np.concatenate(starts), np.concatenate(ends)
  repeats = block['repeats'] // predictor.repeats
  return FrameScores(start, end, np.concatenate(scores), block['sound_seconds'][1], repeats)


def detect(frames, names, thresholds, rules):
  """list of event_detection.Event in FrameScores; other arguments as for `event_detection.detect_events`."""
  scores = event_detection.without_unknown(frames.scores, names, rules)
  thresholds = np.asarray(thresholds, np.float16)  # rounded like the scores
  events = event_detection.detect_events(frames.start_seconds, frames.end_seconds, scores, names, thresholds, rules)
  return event_detection.clip_to_duration(events, frames.seconds)


def unknown_seconds(frames, names, rules):
  """Seconds of the rows in which the sound is unknown; where two overlap, the later one counts."""
  ends = np.minimum(frames.end_seconds, [*frames.start_seconds[1:], frames.seconds])
  lengths = np.maximum(0, ends - frames.start_seconds)
  return round(float(lengths[event_detection.unknown_rows(frames.scores, names, rules)].sum()), 3)
