"""Turns trained weights of another program into a student.

  python -m audionet_tf.convert --from=audionet_512_5000.pth --student=audionet --output=student.keras

reads a PyTorch checkpoint of AudioNet (Bryce 2018; needs pip install 'audionet_tf[torch]') and writes
student.keras with student.json beside it. What was written is read back and compared with PyTorch on silence and
noise of several lengths; the largest difference of a logit is printed. --labels=FILE names the classes, one a line;
without it 1000 classes get ImageNet's names where Keras can tell them, others numbers.
"""

import pathlib

from absl import flags

from audionet_tf import command, params

flags.DEFINE_string('from', None, 'the weights to convert: a .pth file')
flags.DEFINE_string('student', 'audionet', 'the network that the weights are of')
flags.DEFINE_string('output', None, 'the student to write: a .keras file')
flags.DEFINE_string('labels', None, 'file of class names, one a line')
flags.DEFINE_integer('sample_rate', 16000, 'hertz of the sound that the weights were trained on')
flags.DEFINE_float('window_ms', 40, 'length of the windows that the weights were trained on')


def read_audionet(path):
  from audionet_tf import torch_weights

  return torch_weights.read_audionet(path)


# (student, suffix of the weights) to a function: path -> (model, reference), see torch_weights.read_audionet.
IMPORTERS = {('audionet', '.pth'): read_audionet}


def main(argv):
  command.check(len(argv) == 1, f'unexpected argument {argv[-1]!r}; the weights are given as --from=FILE')
  values = command.flag_values(__name__)
  for name in ('from', 'output'):
    command.check(values[name], f'convert needs --{name}')
  output = pathlib.Path(values['output'])
  command.check(output.suffix == '.keras', f'output is {values["output"]}, expected is a name that ends in .keras')
  kind = values['student'], pathlib.Path(values['from']).suffix.lower()
  known = ', '.join(f'{student} from {suffix}' for student, suffix in IMPORTERS)
  command.check(kind in IMPORTERS, f'{kind[0]} from {kind[1] or "a file without suffix"} is not known; known: {known}')
  sound = params.RecordParams(sample_rate_hz=values['sample_rate'], window_seconds=params.seconds(values['window_ms']))

  from audionet_tf import students, torch_weights

  model, reference = IMPORTERS[kind](values['from'])
  names = torch_weights.class_names(values['labels'], model)
  settings = students.StudentSettings(
    student=kind[0],
    sample_rate_hz=sound.sample_rate_hz,
    mono=sound.mono,
    window_seconds=sound.window_seconds,
    classes={torch_weights.HEAD: names},
  )
  difference, largest = torch_weights.convert(model, reference, settings, output)
  print(f'{output}: {model.count_params()} parameters, {len(names)} classes')
  lengths = ', '.join(map(str, torch_weights.COMPARED_SAMPLES))
  print(
    f'compared with PyTorch on sounds of {lengths} samples: '
    f'largest difference {difference:.3g}, largest logit {largest:.4g}'
  )


def run():
  command.run(main)


if __name__ == '__main__':
  run()
