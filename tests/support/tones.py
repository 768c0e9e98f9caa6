"""A student that knows two tones, and sound of them with known onsets."""

import numpy as np

from audionet_tf.models import registry, student_file
from audionet_tf.saved_model import loader, signatures

RATE = 16000
NAMES = ['silence', 'low', 'high']
HERTZ = {'low': 1000, 'high': 3000}


def student(names=NAMES, window_seconds=0.04):
  """loader.LoadedExport of an AudioNet whose filters are the two tones: its scores are near 0 or 1."""
  model = registry.build('audionet', {'teacher': len(names)})
  taps = np.arange(64) / RATE
  kernel = np.zeros([64, 1, 16], np.float32)
  dense = np.zeros([16, len(names)], np.float32)
  for number, hertz in enumerate(HERTZ.values()):
    kernel[:, 0, number] = np.cos(2 * np.pi * hertz * taps) * np.hanning(64) / 16
    dense[number, 1 + number] = 60.0
  bias = np.full(len(names), -6.0, np.float32)
  bias[0] = 0
  model.get_layer('conv').set_weights([kernel, np.zeros(16, np.float32)])
  model.get_layer('dense_teacher').set_weights([dense, bias])
  settings = student_file.StudentConfig('audionet', RATE, 'mean', window_seconds, {'teacher': list(names)})
  return loader.LoadedExport(settings, list(names), signatures.all_signatures(model, settings), model)


def sound(seconds, *stretches):
  """f32 [n]: silence, but for stretches of (name, start, end)."""
  time = np.arange(round(seconds * RATE)) / RATE
  samples = np.zeros(len(time), np.float32)
  for name, start, end in stretches:
    samples += np.where((time >= start) & (time < end), 0.4 * np.sin(2 * np.pi * HERTZ[name] * time), 0)
  return samples.astype(np.float32)
