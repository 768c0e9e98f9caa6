r"""Joins trained students into one that predicts the mean of what they predict.

  python -m audionet_tf.join --model=runs/log_mel --model=runs/soundnet --output=runs/joined

Networks that err on different sounds, such as one on the spectrogram and one on the waveform, name more together than
each alone (docs/transfer.md). They need the same classes, sample rate and windows. runs/joined is then like a run:
student.keras with student.json, and export/1, which commands take as --model. It predicts windows, is as large as its
students together, and takes as long. audionet_tf.train --members trains students and joins them.
"""

from absl import flags

from audionet_tf import api
from audionet_tf.core import cli

MODEL = flags.DEFINE_multi_string(
  'model', [], 'A run or a student (.keras, its .json beside it), or its address; repeated, two or more.'
)
OUTPUT = flags.DEFINE_string('output', None, 'Folder of the joined student, made if missing; or its address.')

TOPICS = {'model': 'Students', 'output': 'Results'}
NEEDS = (('--model',), ('--output',))


def main(argv):
  cli.no_arguments(argv)
  api.join(MODEL.value, OUTPUT.value)
  print(f'student: {OUTPUT.value}/student.keras\nSavedModel: {OUTPUT.value}/export/1')


def run():
  cli.run(main, TOPICS, NEEDS, addresses=('output',))


if __name__ == '__main__':
  run()
