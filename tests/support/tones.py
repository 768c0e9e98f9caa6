"""A student that knows two tones, and sound of them with known onsets."""

import numpy as np

from audionet_tf.data.tables import word_tables
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.saved_model import loader, signatures

RATE = 16000
NAMES = ['silence', 'low', 'high']
HERTZ = {'low': 1000, 'high': 3000}


def network(head, count):
  """The keras.Model of `student`: its head gives silence, the two tones, and `count - 3` classes that never sound."""
  model = registry.build('audionet', {head: count})
  taps = np.arange(64) / RATE
  kernel = np.zeros([64, 1, 16], np.float32)
  dense = np.zeros([16, count], np.float32)
  for number, hertz in enumerate(HERTZ.values()):
    kernel[:, 0, number] = np.cos(2 * np.pi * hertz * taps) * np.hanning(64) / 16
    dense[number, 1 + number] = 60.0
  bias = np.full(count, -6.0, np.float32)
  bias[0] = 0
  model.get_layer('conv').set_weights([kernel, np.zeros(16, np.float32)])
  model.get_layer(f'dense_{head}').set_weights([dense, bias])
  return model


def student(names=NAMES, window_seconds=0.04):
  """loader.LoadedExport of an AudioNet whose filters are the two tones: its scores are near 0 or 1."""
  model = network('teacher', len(names))
  settings = student_settings.StudentConfig('audionet', RATE, 'mean', window_seconds, {'teacher': list(names)})
  return loader.LoadedExport(settings, list(names), signatures.all_signatures(model, settings), model)


def write_embedding_student(folder, names):
  """Writes folder/run, whose student knows vectors and no words, and folder/words.npz with words for NAMES."""
  settings = student_settings.StudentConfig('audionet', RATE, 'mean', 0.04, {}, embeddings={'space': len(NAMES)})
  (folder / 'run').mkdir()
  student_file.save(folder / 'run/student.keras', network('space', len(NAMES)), settings)
  word_tables.write(folder / 'words.npz', word_tables.make(names, np.eye(len(NAMES))))


def sound(seconds, *stretches):
  """f32 [n]: silence, but for stretches of (name, start, end)."""
  time = np.arange(round(seconds * RATE)) / RATE
  samples = np.zeros(len(time), np.float32)
  for name, start, end in stretches:
    samples += np.where((time >= start) & (time < end), 0.4 * np.sin(2 * np.pi * HERTZ[name] * time), 0)
  return samples.astype(np.float32)
