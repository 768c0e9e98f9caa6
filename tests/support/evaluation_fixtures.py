"""Students with known predictions, and tones and tables to evaluate them."""

import csv

import commands
import media_clips
import numpy as np

from audionet_tf.models import registry, student_file, student_settings

NAMES = ['low', 'high', 'golden retriever', 'crane', 'crane', 'German shepherd, German police dog', 'boxer']


def known_student(folder, class_names=tuple('abcde'), scale=40.0, teacher=None, **settings):
  """Writes a student that predicts class 0 for tones of 1 kHz and class 1 for tones of 4 kHz, at 16 kHz."""
  model = registry.build('audionet', {'teacher': len(class_names)})
  n = np.arange(64)
  kernel = np.zeros([64, 1, 16], np.float32)
  kernel[:, 0, 0] = np.cos(2 * np.pi * n * 1000 / 16000) / 32
  kernel[:, 0, 1] = np.cos(2 * np.pi * n * 4000 / 16000) / 32
  model.get_layer('conv').set_weights([kernel, np.zeros(16)])
  dense = np.zeros([16, len(class_names)], np.float32)
  dense[0, 0] = dense[1, 1] = scale
  model.get_layer('dense_teacher').set_weights([dense, np.zeros(len(class_names))])
  described = {'teacher': teacher.description} if teacher else {}
  plain = {'student': 'audionet', 'sample_rate_hz': 16000, 'mono': 'mean', 'window_seconds': 0.04}
  made = student_settings.StudentConfig(
    **(plain | settings), classes={'teacher': list(class_names)}, teachers=described
  )
  folder.mkdir(exist_ok=True)
  student_file.save(folder / 'student.keras', model, made)
  return model, made


def write_csv(path, rows):
  with open(path, 'w', newline='', encoding='utf-8') as file:
    csv.writer(file).writerows(rows)
  return path


def groups_csv(tmp_path, *rows):
  return write_csv(tmp_path / 'groups.csv', [['category', 'imagenet_index', 'class_name'], *rows])


def tone(path, hertz, seconds=0.5, rate_hz=16000):
  n = np.arange(round(seconds * rate_hz))
  sound = (0.5 * np.cos(2 * np.pi * hertz * n / rate_hz)).astype(np.float32)
  media_clips.write(path, seconds=seconds, times=[], sounds=[sound], rate_hz=rate_hz)


def tones(folder):
  """Writes three low and two high tones, videos.csv with one wrong label, groups.csv, and a student in run."""
  rows = [['path', 'fold', 'target', 'category']]
  for name, hertz, fold, category in (
    ('a.wav', 1000, 1, 'deep'),
    ('b.wav', 1000, 1, 'deep'),
    ('c.wav', 1000, 2, 'shrill'),
    ('d.wav', 4000, 2, 'shrill'),
    ('e.wav', 4000, 1, 'shrill'),
  ):
    tone(folder / name, hertz)
    rows.append([name, fold, 0, category])
  write_csv(folder / 'videos.csv', rows)
  groups_csv(folder, ['shrill', '', 'high'], ['deep', '', 'low'], ['dog', '', 'boxer'])
  known_student(folder / 'run', class_names=NAMES)
  return folder


def evaluate(*arguments):
  return commands.run('audionet_tf.evaluate', *arguments)
