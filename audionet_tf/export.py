r"""Writes a trained student as a SavedModel for TensorFlow Serving, and as TensorFlow Lite on request.

  python -m audionet_tf.export --model=runs/clips --output=exports/clips --tflite

writes exports/clips/1, or the next free number: signatures `serving_default` and `windows`, `layers` if layers have
steps in time, class names and settings as assets, warm-up requests, model.tflite. What was written is loaded again and
compared with the student first. --labels=FILE renames the classes, one name per line. --model=student.keras exports
weights from anywhere, such as audionet_tf.convert.
"""

import dataclasses
import pathlib

from absl import flags

from audionet_tf.core import cli
from audionet_tf.models import student_paths

MODEL = flags.DEFINE_string('model', None, 'A run, a student (.keras, its .json beside it), or starter.')
flags.DEFINE_alias('run_dir', 'model')  # the old name
OUTPUT = flags.DEFINE_string('output', None, 'Folder of versions, made if missing.')
LABELS = flags.DEFINE_multi_string(
  'labels', [], "FILE, or HEAD=FILE, repeated: other names for the student's classes, one per line."
)
TFLITE = flags.DEFINE_bool('tflite', False, 'Add model.tflite to the version.')

TOPICS = {'model': 'Student', 'output': 'Results'}
NEEDS = (('--model',), ('--output',))


def main(argv):
  cli.no_arguments(argv)
  path = student_paths.resolve(MODEL.value)
  path = path / student_paths.STUDENT_FILE if path.suffix != '.keras' else path
  student_paths.require_student(path)
  for value in LABELS.value:
    label_file = pathlib.Path(value.rpartition('=')[2])
    cli.require(label_file.is_file(), f'--labels={value}: no such file')
  from audionet_tf.data import class_lists
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import export

  model, settings = student_file.load(path)
  counts = {head: len(names) for head, names in settings.classes.items()}
  renamed = class_lists.class_names_by_head(LABELS.value, counts)
  settings = dataclasses.replace(settings, classes=settings.classes | renamed)
  print(export.export(model, settings, OUTPUT.value, tflite=TFLITE.value))


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
