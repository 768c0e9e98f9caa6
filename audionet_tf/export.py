r"""Writes a trained student as a SavedModel for TensorFlow Serving, and as TensorFlow Lite on request.

  python -m audionet_tf.export --run_dir=runs/clips --output=exports/clips --tflite

writes exports/clips/1, or the next free number: signatures `serving_default` and `windows`, `layers` if layers have
steps in time, class names and settings as assets, warm-up requests, model.tflite. What was written is loaded again and
compared with the student first. --model=student.keras exports weights from anywhere, such as audionet_tf.convert.
"""

from absl import flags

from audionet_tf.core import cli
from audionet_tf.models import student_paths

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a run of audionet_tf.train.')
MODEL = flags.DEFINE_string('model', None, 'A student (.keras, its .json beside it), instead of --run_dir.')
OUTPUT = flags.DEFINE_string('output', None, 'Folder of versions, made if missing.')
TFLITE = flags.DEFINE_bool('tflite', False, 'Add model.tflite to the version.')

TOPICS = {'run_dir': 'Student', 'output': 'Results'}
NEEDS = (('--run_dir', '--model'), ('--output',))


def main(argv):
  cli.no_arguments(argv)
  cli.require(not (RUN_DIR.value and MODEL.value), 'export takes --run_dir or --model, not both')
  path = student_paths.resolve(MODEL.value or RUN_DIR.value)
  path = path / student_paths.STUDENT_FILE if path.suffix != '.keras' else path
  student_paths.require_student(path)
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import export

  model, settings = student_file.load(path)
  print(export.export(model, settings, OUTPUT.value, tflite=TFLITE.value))


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
