r"""Joins trained students into one that predicts the mean of what they predict.

  python -m audionet_tf.join --model=runs/best --model=runs/soundnet --output=runs/joined

Networks that err on different sounds, such as one on the spectrogram and one on the waveform, name more together than
each alone (docs/transfer.md). They need the same classes, sample rate and windows. runs/joined then is like a run:
student.keras with student.json, and export/1; every command takes it as --model, train as --init. It is as large, and
takes as long, as its students together.
"""

from absl import flags

from audionet_tf.core import cli, files
from audionet_tf.core.stores import hub

MODEL = flags.DEFINE_multi_string(
  'model', [], 'A run or a student (.keras, its .json beside it), or its address; repeated, two or more.'
)
OUTPUT = flags.DEFINE_string('output', None, 'Folder of the joined student, made if missing; or its address.')

TOPICS = {'model': 'Students', 'output': 'Results'}
NEEDS = (('--model',), ('--output',))


def main(argv):
  cli.no_arguments(argv)
  files.require_utf8(OUTPUT.value)
  cli.require(not hub.is_address(OUTPUT.value), f'--output={OUTPUT.value}: export the joined student to the Hub')
  from audionet_tf.saved_model import joined_run

  model, settings, exported = joined_run.write(MODEL.value, OUTPUT.value)
  cli.tell(f'student: {OUTPUT.value}/student.keras, {settings.student}, {model.count_params():,} parameters')
  cli.tell(f'SavedModel: {exported}')


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
