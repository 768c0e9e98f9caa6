"""Accuracy of the teacher on the pictures of clips, and of sound and pictures together.

Source: Aytar et al. 2016 (SoundNet), table 7, concatenates features of both for a classifier. No classifier is trained
on labels here, so the two distributions are averaged instead.
"""

import sys

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import clip_accuracy
from audionet_tf.media import decoding, resizing

PICTURES = 4  # per clip, as in SoundNet


def shown_at(frames, times_seconds):
  """Yields the frame that is shown at each time; after the end of the video, its last frame.

  Args:
    frames: iterable of (start_seconds, end_seconds, frame), as `decoding.decode_frames` yields.
    times_seconds: list of increasing numbers.
  """
  times, frame = iter(times_seconds), None
  time = next(times, None)
  for _, end, frame in frames:
    while time is not None and time < end:
      yield frame
      time = next(times, None)
    if time is None:
      return
  if frame is not None:
    yield from (frame for _ in [time, *times])


def clip_pictures(path, image_size):
  """The pictures at the middles of equal parts of a video, u8 [PICTURES, image_size, image_size, 3]."""
  end = max(float(end) for _, end, _ in decoding.decode_frames(path))
  times = [(i + 0.5) * end / PICTURES for i in range(PICTURES)]
  resize = resizing.frame_resizer(image_size)
  return np.stack([resize(frame) for frame in shown_at(decoding.decode_frames(path), times)])


def clip_probabilities(teacher, path, image_size=224):
  """The teacher's probabilities, averaged over the pictures of a video, f32 [classes]. UserError if it has none."""
  return np.asarray(teacher.probabilities(clip_pictures(path, image_size))).mean(0)


def teacher_top1(teacher, paths):
  """The teacher's top-1 class for each video.

  Args:
    teacher: frozen_teacher.Teacher.
    paths: of the videos.

  Returns:
    list of class names.

  Raises:
    UserError: a video has no pictures.
  """
  bar = tqdm.tqdm(paths, desc='classifying pictures', unit=' clips', delay=1)
  return [teacher.class_names[int(clip_probabilities(teacher, path).argmax())] for path in bar]


def evaluate(teacher, measured, groups, image_size=224):
  """Measures the accuracy of the teacher, and of sound and pictures together, on clips already evaluated by sound.

  Args:
    teacher: frozen_teacher.Teacher with the student's classes.
    measured: from `clip_accuracy.evaluate_clips`.
    groups: dict of category to positions of classes.
    image_size: width and height of the teacher's pictures in pixels.

  Returns:
    dict: `clips`, the number of clips with pictures; `sound`, `vision` and `sound_and_vision`, the accuracies on these.

  Raises:
    UserError: no clip has pictures, or the teacher looks at none.
  """
  if teacher.probabilities is None:
    raise UserError(f'teacher {teacher.description["source"]} looks at no pictures; --vision needs one that does')
  sound, vision, true = [], [], []  # scores [clips, categories] of both, and positions of the true categories
  for result in tqdm.tqdm(measured['results'], desc='classifying pictures', unit=' clips', delay=1):
    try:
      probabilities = clip_probabilities(teacher, result['path'], image_size)
    except (UserError, OSError) as error:
      tqdm.tqdm.write(f'{result["path"]}: {getattr(error, "reason", error)}', file=sys.stderr)
      continue
    vision.append(clip_accuracy.group_scores(probabilities[None], groups)[0])
    sound.append(result['scores'])
    true.append(measured['categories'].index(result['category']))
  if not true:
    raise UserError('none of the clips has pictures: --vision needs videos')

  def accuracy(scores):
    return float((np.argmax(scores, 1) == true).mean())

  both = np.add(sound, vision) / 2
  return {'clips': len(true), 'sound': accuracy(sound), 'vision': accuracy(vision), 'sound_and_vision': accuracy(both)}
