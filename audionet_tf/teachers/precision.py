"""The arithmetic of a teacher where a user leaves it to the program: bfloat16 where it pays and changes nothing.

Processors with AMX, or AVX-512 with bfloat16, run large networks faster in it, and small ones slower. So both are tried
on pictures of the records. What was chosen is kept beside the outputs, so that resumed runs, other shares and other
machines take the same.
"""

import dataclasses
import os
import pathlib
import re
import sys
import time

import numpy as np
import tensorflow as tf

from audionet_tf.core import files, sealed_json
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import soft_labels
from audionet_tf.teachers import answers, frozen_teacher, keras_applications, teacher_config

NAME = 'dtypes.json'  # dict of the digest of a teacher to its dtype
CPU_INFO = pathlib.Path('/proc/cpuinfo')
INSTRUCTIONS = {'amx_bf16', 'avx512_bf16'}
LEAST_PICTURES = 2000  # of fewer, a trial would cost more than it saves
MOST_KL = 1e-3  # of the answers in bfloat16 from those in float32, in nats
LEAST_GAIN = 1.2
BATCH, TURNS = 16, 3


def chosen(config, teacher, records_folder, manifest, is_stored=False):
  """The teacher itself, or the same in bfloat16; a line on stderr says which, where there was a choice.

  Args:
    config: its TeacherConfig.
    teacher: frozen_teacher.Teacher in float32.
    records_folder: of the records whose pictures it is to be asked about.
    manifest: of the records.
    is_stored: whether its outputs in float32 are stored: then they decide, unless a choice was made before.
  """
  if not is_choosable(config.source):
    return teacher
  path = pathlib.Path(records_folder) / soft_labels.FOLDER / NAME
  if teacher.digest not in kept_choices(path):
    pictures = manifest['windows'] * manifest['params'].images_per_window
    if is_stored or pictures < LEAST_PICTURES or not can_keep(records_folder):
      return teacher
    choose(path, config, teacher, manifest)
  return in_bfloat16(config) if kept_choices(path)[teacher.digest] == 'bfloat16' else teacher


def can_keep(records_folder):
  """Whether a choice can be written beside the records: not where they are a copy of a store's, or read-only."""
  return not store_mirror.mirror_of(records_folder) and os.access(records_folder, os.W_OK)


def choose(path, config, teacher, manifest):
  """Adds the dtype of a teacher to the file of choices, unless another process has done so meanwhile."""
  folder = path.parent
  with files.space_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
  with files.locked(folder, name=f'.{NAME}.lock'), files.space_in(folder):
    kept = kept_choices(path)
    if teacher.digest not in kept:
      can = has_instructions()
      dtype = tried(teacher, in_bfloat16(config), folder.parent, manifest) if can else 'float32'
      sealed_json.write(path, kept | {teacher.digest: dtype})


def is_choosable(source):
  """Whether `source` is a Keras model, which can compute in bfloat16, whose answers are distributions."""
  if teacher_config.is_embedding(source):
    return False
  path = pathlib.Path(source)
  is_model = teacher_config.is_keras_model(path)
  return is_model or teacher_config.is_picture_text(source) or bool(keras_applications.find(source) and not path.suffix)


def kept_choices(path):
  """What was chosen before, dict of digest to dtype. UserError if the file is damaged."""
  return sealed_json.read(path, 'the dtypes of teachers', 'delete it') if path.exists() else {}


def has_instructions():
  """Whether the processor computes in bfloat16, and no GPU does the work."""
  try:
    found = re.search(r'^flags\s*:(.*)$', CPU_INFO.read_text(), re.MULTILINE)
  except OSError:
    return False
  return bool(found and INSTRUCTIONS & set(found[1].split())) and not tf.config.list_physical_devices('GPU')


def in_bfloat16(config):
  """The Teacher of a TeacherConfig, in bfloat16."""
  return frozen_teacher.load(**dataclasses.replace(config, dtype='bfloat16').arguments())


def tried(teacher, half, records_folder, manifest):
  """'bfloat16' or 'float32', after a trial of both Teachers on pictures of the records; says why on stderr."""
  try:
    pictures = answers.pictures_of(records_folder, manifest)
  except (ValueError, KeyError, IndexError, OSError, tf.errors.OpError):  # whoever reads all records reports it
    return 'float32'
  images = tf.constant(np.resize(pictures, [BATCH, *pictures.shape[1:]]))  # repeated if there are fewer
  functions = [tf.function(each.probabilities) for each in (teacher, half)]
  divergence = kl(*(function(images).numpy() for function in functions))
  gain = speed_gain(functions, images)
  dtype = 'bfloat16' if divergence <= MOST_KL and gain >= LEAST_GAIN else 'float32'
  measured = f'bfloat16 is {gain:.1f} times as fast here, its KL from float32 {divergence:.1e}'
  print(f'teacher {teacher.name} computes in {dtype}: {measured} (--teacher_dtype)', file=sys.stderr)
  return dtype


def kl(expected, rows):
  """Mean KL divergence, in nats, of distributions f32 [N, classes] from those expected."""
  logs = [np.log(np.maximum(each.astype(np.float64), 1e-30)) for each in (expected, rows)]
  return float((expected * (logs[0] - logs[1])).sum(-1).mean())


def speed_gain(functions, images):
  """How many times as fast the second function is as the first, which have run before: of several turns the fastest."""
  seconds = [[], []]
  for _ in range(TURNS):
    for function, times in zip(functions, seconds, strict=True):
      start = time.perf_counter()
      function(images).numpy()
      times.append(time.perf_counter() - start)
  return min(seconds[0]) / min(seconds[1])
