"""A sound as VGGish and YAMNet get it in PyTorch, and the students that are made of their published weights."""

import log_mels
import numpy as np
import torch

from audionet_tf import conversion, log_mel, mel_weights, students

SOUND = np.random.default_rng(3).uniform(-1, 1, 40_000).astype(np.float32)


def patches(preset, hop):
  """torch [T, 1, 96, 64] of SOUND, by the reference of the front end's test."""
  mel = log_mels.reference(SOUND, **log_mel.PRESETS[preset])
  cut = np.stack([mel[start : start + 96] for start in range(0, len(mel) - 95, hop)])
  return torch.from_numpy(cut)[:, None]


def torch_kernel(values):
  return torch.from_numpy(values.astype(np.float64)).permute(3, 2, 0, 1)


def converted(path, student, folder, labels=(), **pca):
  """The student that `convert` writes from a file, read again."""
  read = mel_weights.read_yamnet if student == 'yamnet' else mel_weights.read_vggish
  model, original = read(path, student, **pca)
  settings = students.StudentSettings(student, 16000, 'mean', 0.975, conversion.class_names(list(labels), model))
  found = conversion.convert(model, original, settings, folder / 'student.keras')
  return found, *students.load(folder / 'student.keras')
