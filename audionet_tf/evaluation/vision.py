"""What the teacher itself says of the pictures of clips, and what sound and pictures say together.

Source: Aytar et al. 2016, table 7, sets features of both side by side; here no label is seen, so distributions are
averaged instead.
"""

import sys

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import clip_accuracy
from audionet_tf.media import decoding

PICTURES = 4  # a clip, as the original's four frames a video


def shown_at(frames, times_seconds):
  """Yields the frame that is shown at each of `times_seconds`, increasing; the last one stays.

  Args:
    frames: (start_seconds, end_seconds, frame), as `decoding.decode_frames` yields.
    times_seconds: list of numbers.
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
  """u8 [PICTURES, image_size, image_size, 3]: the pictures in the middles of equal parts of a video."""
  end = max(float(end) for _, end, _ in decoding.decode_frames(path))
  times = [(i + 0.5) * end / PICTURES for i in range(PICTURES)]
  small = decoding.frame_resizer(image_size)
  return np.stack([small(frame) for frame in shown_at(decoding.decode_frames(path), times)])


def seen_in(teacher, path, image_size=224):
  """f32 [classes]: the teacher's answer to the pictures of a video, their mean. UserError where it has none."""
  return np.asarray(teacher.probabilities(clip_pictures(path, image_size))).mean(0)


def teacher_top1(teacher, paths):
  """For every video the name of the class that the teacher sees most. UserError where one has no pictures.

  Args:
    teacher: teachers.Teacher.
    paths: of the videos.
  """
  answers = (seen_in(teacher, path) for path in tqdm.tqdm(paths, desc='looking', unit=' clips', delay=1))
  return [teacher.class_names[int(answer.argmax())] for answer in answers]


def evaluate(teacher, measured, groups, image_size=224):
  """Accuracy of the teacher, and of sound and vision together, on the clips that were judged by sound.

  Args:
    teacher: frozen_teacher.Teacher with the student's classes.
    measured: from clip_accuracy.evaluate_clips.
    groups: dict of category to positions of classes.
    image_size: pixels, of the pictures that the teacher is asked.

  Returns:
    dict: `clips` with pictures, `sound`, `vision` and `sound_and_vision`: accuracies on these.

  Raises:
    UserError: no clip has pictures.
  """
  heard, seen, true = [], [], []
  for result in tqdm.tqdm(measured['results'], desc='looking', unit=' clips', delay=1):
    try:
      answer = seen_in(teacher, result['path'], image_size)
    except (UserError, OSError) as error:
      tqdm.tqdm.write(f'{result["path"]}: {getattr(error, "reason", error)}', file=sys.stderr)
      continue
    seen.append(clip_accuracy.group_scores(answer[None], groups)[0])
    heard.append(result['scores'])
    true.append(measured['categories'].index(result['category']))
  if not true:
    raise UserError('none of the clips has pictures: --vision needs videos')

  def accuracy(scores):
    return float((np.argmax(scores, 1) == true).mean())

  both = np.add(heard, seen) / 2
  return {'clips': len(true), 'sound': accuracy(heard), 'vision': accuracy(seen), 'sound_and_vision': accuracy(both)}
