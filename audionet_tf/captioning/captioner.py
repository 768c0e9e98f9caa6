"""Captions for what a video sounds like: a student's scores over time, and the events in them."""

import dataclasses

import numpy as np

from audionet_tf.captioning import event_detection
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.inference import predict
from audionet_tf.media import decoding, integrity
from audionet_tf.models import registry

PATCH_SECONDS = 0.96  # of the blocks of patches that Caption4Sound hears


@dataclasses.dataclass(frozen=True)
class Captions:
  """What is heard in a file.

  Attributes:
    events: list of event_detection.Event, by their start.
    cues: list of events.Cue.
    seconds: where the sound ends.
    repeats: how often the sound was heard in a row, where it is too short for the student.
  """

  events: list
  cues: list
  seconds: float
  repeats: int = 1


def listener(served, window_seconds=None, hop_seconds=None, blocks=None, batch_size=None):
  """The predict.FilePredictor whose rows become events: all of the sound is in one.

  Args:
    served: serving.Served.
    window_seconds, hop_seconds: of the rows; None as in `predict.file_predictor`.
    blocks: None, or (patches, hop, total): windows of so many patches, one every `hop` patches, each heard so often
      in a row that the student hears `total` patches, each as long as its frames reach. A patch then is
      `window_seconds`, PATCH_SECONDS where None.
    batch_size: None chooses.

  Raises:
    UserError: a length out of range, or blocks that do not go into their total.
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
      raise UserError('blocks have a hop of their own: give a window, the length of a patch, but no hop')
    patch = window_seconds or PATCH_SECONDS
    hop_seconds, repeats = round(patch * hop, 6), total // patches
    window_seconds = round(patch * patches + beyond(served.settings.student, patch), 6)
  return predict.file_predictor(
    served, ('json',), window_seconds, hop_seconds, batch_size=batch_size, repeats=repeats, to_the_end=True
  )


def beyond(student, patch_seconds):
  """Seconds by which what a patch of a spectrogram hears is longer than the patch: its last frame's."""
  network = registry.network(student)
  if not network.spectrogram:
    return 0
  return max(0, registry.shortest_samples(student) / network.sample_rate_hz - patch_seconds)


def captions(listener, path, rules=None, progress=None):
  """What is heard when in a sound or video file.

  Args:
    listener: from `listener`; it can be used again, and by several threads.
    path: of the file, or of one packed as .gz.
    rules: events.Rules.
    progress: None, or a function (seconds heard, seconds that the file claims to have, None where it does not say).

  Returns:
    Captions.

  Raises:
    MediaError: unreadable, damaged or without sound.
    UserError: the student gives numbers that are not finite, or rules that do not fit it.
  """
  rules, class_names = rules or event_detection.DetectionConfig(), listener.class_names
  event_detection.check(rules, class_names)
  names, groups, thresholds = event_detection.group_classes(class_names, rules)
  heard = score_file(listener, path, groups, rules.join, progress)
  found = detect(heard, names, thresholds, rules)
  cues = event_detection.cues(found, rules.top, rules.cue_seconds, heard.seconds)
  return Captions(found, cues, heard.seconds, heard.repeats)


@dataclasses.dataclass(frozen=True)
class FrameScores:
  """What a student says about a file over time.

  Attributes:
    start_seconds, end_seconds: f64 [rows].
    scores: f16 [rows, names]: half the memory.
    seconds, repeats: as of Captions.
  """

  start_seconds: np.ndarray
  end_seconds: np.ndarray
  scores: np.ndarray
  seconds: float
  repeats: int


def score_file(listener, path, groups, join='sum', progress=None):
  """The FrameScores of a file, for names that are `groups` of classes (`event_detection.group_classes`)."""
  starts, ends, scores = [], [], []
  try:
    with integrity.decompressed(path) as sound:
      claimed = decoding.declared_duration(sound) if progress else None
      for block in predict.blocks(listener, sound):
        starts.append(block['start_seconds'])
        ends.append(block['end_seconds'])
        scores.append(event_detection.pool_scores(block['probabilities'], groups, join).astype(np.float16))
        if progress:
          progress(min(float(ends[-1][-1]), block['sound_seconds'][1]), claimed)
  except MediaError as error:
    raise MediaError(path, error.reason) from None
  start, end = np.concatenate(starts), np.concatenate(ends)
  return FrameScores(
    start, end, np.concatenate(scores), block['sound_seconds'][1], block['repeats'] // listener.repeats
  )


def detect(heard, names, thresholds, rules):
  """list of event_detection.Event in a Scored; arguments as of `event_detection.detect_events`."""
  thresholds = np.asarray(thresholds, np.float16)  # rounded as the scores are
  found = event_detection.detect_events(heard.start_seconds, heard.end_seconds, heard.scores, names, thresholds, rules)
  return event_detection.clip_to_duration(found, heard.seconds)
