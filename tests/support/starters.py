"""A starter of the same form as the one in the package, but small, and commands that use it.

  python starters.py FOLDER MODULE ARGUMENT...

runs a command with the starter in FOLDER in place of the package's.
"""

import pathlib
import runpy
import sys

import commands
import keras
import numpy as np
import soundnets

from audionet_tf.models import categories, student_file, student_paths
from audionet_tf.models.networks import logmel_cnn
from audionet_tf.saved_model import tflite

TABLE = (('conv1', 3, (7, 5), (4, 2)), ('pool1', None, 2, 2), ('conv2', 8, 3, 1))
GROUPS = {'dog_bark': [0, 2], 'rain': [3]}
NAMES = [*GROUPS, 'unknown']
KNOWS_ALL, KNOWS_NOTHING = -9.0, 9.0  # thresholds of a familiarity that is between -1 and 1


def write(folder, threshold=KNOWS_ALL, lite=False):
  """Writes student.keras and student.json, of windows of a second, to a folder; returns the path of the first.

  `lite`: whether to write student.tflite too.
  """
  keras.utils.set_random_seed(0)
  plain = logmel_cnn.logmel_cnn({'teacher': 7}, TABLE, name='logmel_cnn_level', same_level=True)
  rng = np.random.default_rng(0)
  layer = categories.familiarity_of(*(rng.uniform(0.1, 1, [count, 8]).astype(np.float32) for count in (6, 4)))
  made = categories.added(plain, soundnets.settings('logmel_cnn_level', 1.0), GROUPS, layer, threshold, 4.0)
  folder.mkdir(parents=True, exist_ok=True)
  student_file.save(folder / 'student.keras', *made)
  if lite:
    tflite.write_file(folder / 'student.tflite', tflite.of_any_length(*made))
  return folder / 'student.keras'


def run(folder, module, *arguments, **options):
  """`commands.run` of a command with the starter in `folder`."""
  return commands.run(pathlib.Path(__file__), folder, module, *arguments, **options)


if __name__ == '__main__':
  student_paths.STARTER_FOLDER = pathlib.Path(sys.argv[1])
  sys.argv = sys.argv[2:]
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
