"""Turns trained weights of another program into a student.

  python -m audionet_tf.convert --from=sound8.npy --student=soundnet8 --output=student.keras

writes student.keras with student.json beside it. features, probe, evaluate, plot and train --init take it as it is;
infer, caption and serve take what audionet_tf.export --model=student.keras makes of it. Known are

  soundnet8, soundnet5  SoundNet's published weights: sound8.npy, the .t7 of Torch7, ports to PyTorch (.pth, .pt);
                        its heads are called objects and scenes
  audionet              checkpoints of AudioNet (Bryce 2018): .pth, .pt
  vggish                VGGish's checkpoint: vggish_model.ckpt, or the .index of a newer form. It has no classes: hear
                        its layers with features, as it is or exported, or begin from it (train --init). vggish_relu has
                        the embedding behind its activation; vggish_pca, with --pca=vggish_pca_params.npz, has the layer
                        pca, AudioSet's form
  yamnet                YAMNet's yamnet.h5; its head is called audioset, and its classes do not exclude each other

PyTorch's files need the extra `torch` (scripts/setup torch). Nothing in a file is ever run. What was written is read
back and compared with another program's arithmetic on silence and noise; the largest difference of each layer is
printed.

--labels=objects=names.txt names the classes of a head, one a line, and may be given once a head; a student of one head
takes --labels=names.txt, or YAMNet's yamnet_class_map.csv. Without it 1000 classes get ImageNet's names where Keras can
tell them, others numbers.
"""

import dataclasses
import pathlib
from collections.abc import Callable

from absl import flags

from audionet_tf.core import cli, durations, text
from audionet_tf.data import params

flags.DEFINE_string('from', None, 'the weights to convert: a .npy, .t7, .pth, .pt, .ckpt, .index or .h5 file')
flags.DEFINE_string('student', 'audionet', 'the network that the weights are of')
flags.DEFINE_string('output', None, 'the student to write: a .keras file')
flags.DEFINE_multi_string('labels', [], 'HEAD=FILE of class names, one a line; FILE where there is one head')
flags.DEFINE_string('pca', None, "parameters of VGGish's PCA (.npz), for vggish_pca")
flags.DEFINE_integer('sample_rate', None, 'hertz of the sound that the weights were trained on; default: as published')
flags.DEFINE_float('window_ms', None, 'length of the windows that they were trained on; default: as published')


@dataclasses.dataclass(frozen=True)
class Importer:
  """How weights of a student are read.

  Attributes:
    read: (path, student) -> (keras.Model, converter.ReferenceModel); with `takes_pca` (path, student, pca or None).
    suffixes: of the files.
    sound: the RecordParams of the original training.
    takes_pca: whether --pca goes with it.
    activation: key of heads.ACTIVATIONS: what its logits are.
  """

  read: Callable
  suffixes: tuple
  sound: params.RecordParams
  takes_pca: bool = False
  activation: str = 'softmax'


def read_audionet(path, student):
  from audionet_tf.conversion import audionet

  return audionet.read_audionet(path, student)


def read_soundnet(path, student):
  from audionet_tf.conversion import soundnet

  return soundnet.read(path, student)


def read_vggish(path, student, pca):
  from audionet_tf.conversion import vggish_yamnet

  return vggish_yamnet.read_vggish(path, student, pca)


def read_yamnet(path, student):
  from audionet_tf.conversion import vggish_yamnet

  return vggish_yamnet.read_yamnet(path, student)


PATCH = params.RecordParams(sample_rate_hz=16000, window_seconds=0.975)
VGGISH = Importer(read_vggish, ('.ckpt', '.index'), PATCH, takes_pca=True)
SOUNDNET = Importer(
  read_soundnet,
  ('.npy', '.t7', '.pth', '.pt'),
  params.RecordParams(sample_rate_hz=22050, mono='first', window_seconds=20),
)
IMPORTERS = {
  'audionet': Importer(read_audionet, ('.pth', '.pt'), params.RecordParams()),
  'soundnet5': SOUNDNET,
  'soundnet8': SOUNDNET,
  'vggish': VGGISH,
  'vggish_pca': VGGISH,
  'vggish_relu': VGGISH,
  'yamnet': Importer(read_yamnet, ('.h5',), PATCH, activation='sigmoid'),
}


def chosen_importer(values):
  """The Importer that the flags mean, its sound as they say. UserError lists the known ones."""
  student, suffix = values['student'], pathlib.Path(values['from']).suffix.lower()
  known = '; '.join(f'{name} from {", ".join(importer.suffixes)}' for name, importer in IMPORTERS.items())
  found = student in IMPORTERS and suffix in IMPORTERS[student].suffixes
  cli.require(found, f'{student} from {suffix or "a file without suffix"} is not known; known: {known}')
  importer = IMPORTERS[student]
  cli.require(importer.takes_pca or not values['pca'], '--pca goes with --student=vggish_pca')
  given = {'sample_rate_hz': values['sample_rate'], 'window_seconds': durations.seconds(values['window_ms'])}
  sound = dataclasses.replace(importer.sound, **{name: value for name, value in given.items() if value is not None})
  return dataclasses.replace(importer, sound=sound)


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; the weights are given as --from=FILE')
  values = cli.flag_values(__name__)
  for name in ('from', 'output'):
    cli.require(values[name], f'convert needs --{name}')
  output = pathlib.Path(values['output'])
  cli.require(output.suffix == '.keras', f'output is {values["output"]}, expected is a name that ends in .keras')
  importer = chosen_importer(values)
  cli.require(pathlib.Path(values['from']).is_file(), f'{values["from"]}: no such file; expected are trained weights')

  from audionet_tf.conversion import converter
  from audionet_tf.models import student_file

  more = [values['pca']] if importer.takes_pca else []
  model, original = importer.read(values['from'], values['student'], *more)
  classes = converter.class_names(values['labels'], model)
  settings = student_file.StudentConfig(
    student=values['student'],
    sample_rate_hz=importer.sound.sample_rate_hz,
    mono=importer.sound.mono,
    window_seconds=importer.sound.window_seconds,
    classes=classes,
    activations=dict.fromkeys(classes, importer.activation),
  )
  found = converter.convert(model, original, settings, output)
  counts = ', '.join(f'{len(names)} classes ({head})' for head, names in settings.classes.items())
  print(f'{output}: {model.count_params()} parameters, {counts or "no classes"}')
  print(f'compared with {original.program} on sounds of {", ".join(map(str, original.samples))} samples:')
  rows = [[layer, f'{difference:.2g}', f'{largest:.4g}'] for layer, (difference, largest) in found.items()]
  print(text.aligned([['layer', 'largest difference', 'largest value'], *rows]))


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
