"""Whether a teacher's answers to pictures say anything.

A model that gets pixels in another range than it was trained on answers, but nearly the same to every picture, or
nearly uniformly; a student would learn that for hours.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf

from audionet_tf.core.stores import object_store, store_mirror
from audionet_tf.data import batch_keys, input_pipeline, records
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.teachers import teacher_config

PICTURES = 16
SHARDS_IN_STORE = 2  # that are fetched for them
AT_ONCE = 4  # pictures per call, as large models need much memory for each
UNIFORM = 0.02  # of the entropy of a uniform distribution, lacking
SAME = 0.01  # total variation distance
DIFFERENT_LEVELS = 4  # mean distance of pixels from those of the mean picture
KERAS_RANGE, TFLITE_RANGE, SAVED_MODEL_RANGE = '0,255', '-1,1', '0,1'


def check(folder, manifest, teachers):
  """Warns of teachers (`warn`), by some pictures of records. Damaged records are reported by whoever reads them all.

  Args:
    folder: of the records.
    manifest: of the records.
    teachers: list of frozen_teacher.Teacher; random weights, for trials, may answer as they like.
  """
  teachers = [t for t in teachers if t.needs_pictures and t.description.get('weights') != 'none']
  if not teachers:
    return
  try:
    pictures = pictures_of(folder, manifest)
  except (ValueError, KeyError, IndexError, OSError, tf.errors.OpError):
    return
  for teacher in teachers:
    warn(teacher, pictures)


def pictures_of(folder, manifest):
  """Up to PICTURES different pictures, spread over the records: u8 [N, S, S, 3] (NumPy)."""
  encoded, paths = {}, records.shard_paths(folder, manifest)
  most = min(len(paths), SHARDS_IN_STORE if store_mirror.is_remote(paths[0]) else PICTURES)
  each = -(-PICTURES // most)
  for path in (paths[i] for i in np.linspace(0, len(paths) - 1, most).astype(int)):
    offsets = tfrecord_io.record_offsets(path)
    for number in np.unique(np.linspace(0, max(0, len(offsets) - 1), each).astype(int))[: len(offsets)]:
      encoded |= dict.fromkeys(records.example_at(path, *offsets[number])['image/encoded'].bytes_list.value[:1])
  chosen = [list(encoded)[i] for i in np.unique(np.linspace(0, len(encoded) - 1, PICTURES).astype(int))]
  return np.stack([input_pipeline.decode_picture(picture).numpy() for picture in chosen])


def warn(teacher, pictures):
  """Warns on stderr, once, of answers that are nearly uniform, or the same to different pictures.

  Args:
    teacher: frozen_teacher.Teacher of pictures.
    pictures: u8 [N, H, W, 3].
  """
  parts = [pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)]
  rows = np.concatenate([np.asarray(teacher.probabilities(part)) for part in parts])
  is_embedding = teacher.description['outputs'] == batch_keys.EMBEDDING
  seen = what_is_alike(rows, pictures) if is_embedding else what_is_wrong(rows, pictures)
  if seen:
    print(f'warning: teacher {teacher.name} {seen}. {advice(teacher.description)}', file=sys.stderr)


def what_is_wrong(rows, pictures):
  """What is wrong with answers f32 [N, classes] to pictures u8 [N, H, W, 3], as text; None if nothing is."""
  rows = rows.astype(np.float64)
  classes = rows.shape[1]
  missing = 1 + (rows * np.log(np.maximum(rows, 1e-30))).sum(1).mean() / np.log(classes)  # 0 if uniform, 1 if certain
  if missing < UNIFORM:
    return (
      f'answers nearly uniformly: of {classes} classes the first has a probability of {rows.max(1).mean():.3f} on '
      f'average over {len(rows)} pictures, {1 / classes:.3f} would be uniform'
    )
  return what_is_alike(rows, pictures)


def what_is_alike(rows, pictures):
  """Whether answers f32 [N, width] to different pictures u8 [N, H, W, 3] are nearly the same, as text; else None."""
  distance = np.abs(rows - rows.mean(0)).sum(1).max() / 2
  levels = np.abs(pictures - pictures.mean(0)).mean()
  if distance < SAME and levels > DIFFERENT_LEVELS and len(rows) > 1:
    return f'answers nearly the same to all of {len(rows)} different pictures: they differ by {distance:.1g} at most'
  return None


def default_range(path):
  """The range of pixels that a model in a file or folder gets unless one is given; None for other paths."""
  if teacher_config.is_keras_model(path):
    return KERAS_RANGE
  if path.is_dir():
    return SAVED_MODEL_RANGE
  return TFLITE_RANGE if path.suffix == '.tflite' else None


def advice(description):
  """What to do, from `Teacher.description`."""
  if 'prompts' in description:
    return 'Try other --classes, or a lower --teacher_temperature: 0.01 is that of most models'
  if 'temperature' in description:
    return 'Its --teacher_temperature may be too high: leave it out, or take a lower one'
  source = description['source'].removeprefix(teacher_config.EMBEDDING)
  default = default_range(pathlib.Path(source))
  if default is None and object_store.is_elsewhere(source):
    return 'If it expects pixels of another range, pass --teacher_input_range, such as 0,1'
  if default is None:
    return 'Its weights may be damaged, or not trained'
  given = ','.join(f'{side:g}' for side in description['input_range'] or ()) or default
  others = ' or '.join(text for text in ('0,255', '0,1', '-1,1') if text != given)
  return (
    f'Unless it takes whole numbers, it gets pixels from {given.replace(",", " to ")}; if it expects others, or '
    f'rescales them itself, pass --teacher_input_range={others}'
  )
