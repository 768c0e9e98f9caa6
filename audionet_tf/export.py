"""Writes a trained student as a SavedModel for TensorFlow Serving, and as TensorFlow Lite on request.

  python -m audionet_tf.export --run_dir=runs/paper --output=exports/paper --tflite

writes exports/paper/1, or the next free number: signatures `serving_default` and `windows`, `layers` where layers have
steps in time, class names and settings as assets, warm-up requests, model.tflite. What was written is loaded again and
compared with the student first. --model=student.keras exports weights from anywhere, such as audionet_tf.convert.
"""

import pathlib

from absl import flags

from audionet_tf.core import cli

flags.DEFINE_string('run_dir', None, 'folder that audionet_tf.train has written')
flags.DEFINE_string('model', None, 'a student (.keras, its .json beside it), instead of --run_dir')
flags.DEFINE_string('output', None, 'folder of versions, made when missing')
flags.DEFINE_bool('tflite', False, 'add model.tflite to the version')

STUDENT_FILE = 'student.keras'


def main(argv):
  values = cli.flag_values(__name__)
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; flags begin with --')
  cli.require(values['output'], 'export needs --output')
  chosen = [name for name in ('run_dir', 'model') if values[name]]
  cli.require(len(chosen) == 1, f'export needs one of --run_dir and --model, got {" and ".join(chosen) or "neither"}')
  path = values['model'] or pathlib.Path(values['run_dir']) / STUDENT_FILE

  from audionet_tf.models import student_file
  from audionet_tf.saved_model import export

  model, settings = student_file.load(path)
  print(export.export(model, settings, values['output'], tflite=values['tflite']))


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
