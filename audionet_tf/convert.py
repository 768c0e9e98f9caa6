r"""Converts trained weights of another program into a student.

  python -m audionet_tf.convert --from=sound8.npy --student=soundnet8 --output=student.keras

writes student.keras with student.json beside it. features, probe, evaluate, plot and train --init take it directly;
infer, caption and serve take the export that audionet_tf.export --model=student.keras makes. With
--output=hf://user/repository the student goes to the Hugging Face Hub with its export and a model card. Supported are

  soundnet8, soundnet5  SoundNet's published weights: sound8.npy, the .t7 of Torch7, ports to PyTorch (.pth, .pt);
                        its heads are called objects and scenes
  audionet              checkpoints of AudioNet (Bryce 2018): .pth, .pt
  vggish                VGGish's checkpoint: vggish_model.ckpt, or the .index of a newer form. It has no classes: use
                        its layers (features, export), or start training from it (train --init). vggish_relu has the
                        embedding after its activation; vggish_pca, with --pca=vggish_pca_params.npz, has the layer pca,
                        AudioSet's form
  yamnet                YAMNet's yamnet.h5; its head is called audioset, and its classes do not exclude each other

PyTorch's files need pip install 'audionet_tf[torch]'. Nothing in a file is ever run. Every array must have the shape
that the student needs and hold finite numbers only; what was written is read back, and must give finite outputs.

--labels=objects=names.txt names the classes of a head, one per line, and may be given once per head; a student of one
head takes --labels=names.txt, or YAMNet's yamnet_class_map.csv. Without it 1000 classes get ImageNet's names, others
numbers.
"""

import contextlib
import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable

from absl import flags

from audionet_tf.core import cli, durations, notices
from audionet_tf.core.stores import hub, object_store, store_flags
from audionet_tf.data import params
from audionet_tf.models import student_paths


@dataclasses.dataclass(frozen=True)
class Importer:
  """A reader of weights of another program.

  Attributes:
    read: (path, student) -> keras.Model; with `takes_pca` (path, student, pca or None).
    suffixes: tuple of str, of the files.
    sound: params.RecordParams of the original training.
    takes_pca: whether --pca may be given.
    activation: key of heads.ACTIVATIONS, of the logits.
  """

  read: Callable
  suffixes: tuple
  sound: params.RecordParams
  takes_pca: bool = False
  activation: str = 'softmax'


def read_audionet(path, student):
  """keras.Model from a checkpoint of AudioNet; this and the following import their reader when called."""
  from audionet_tf.conversion import audionet

  return audionet.read_audionet(path, student)


def read_soundnet(path, student):
  """keras.Model from SoundNet's weights."""
  from audionet_tf.conversion import soundnet

  return soundnet.read(path, student)


def read_vggish(path, student, pca):
  """keras.Model from VGGish's checkpoint and, for vggish_pca, its PCA parameters."""
  from audionet_tf.conversion import vggish_yamnet

  return vggish_yamnet.read_vggish(path, student, pca)


def read_yamnet(path, student):
  """keras.Model from YAMNet's weights."""
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

FROM = flags.DEFINE_string('from', None, 'The weights to convert: a .npy, .t7, .pth, .pt, .ckpt, .index or .h5 file.')
PCA = flags.DEFINE_string('pca', None, "Parameters of VGGish's PCA (.npz), for vggish_pca.")
STUDENT = flags.DEFINE_enum('student', 'audionet', list(IMPORTERS), 'The network that the weights are of.')
SAMPLE_RATE = flags.DEFINE_integer(
  'sample_rate', None, 'Of the sound that the weights were trained on, hertz; default: as published.'
)
WINDOW_MS = flags.DEFINE_float(
  'window_ms', None, 'Length of the windows that they were trained on, milliseconds; default: as published.'
)
OUTPUT = flags.DEFINE_string('output', None, 'The student to write: a .keras file; or hf://user/repository.')
LABELS = flags.DEFINE_multi_string(
  'labels', [], 'HEAD=FILE of class names, one per line; FILE if there is one head. May be given once per head.'
)

TOPICS = {'from': 'Weights', 'student': 'Student', 'output': 'Results'}
NEEDS = (('--from',), ('--output',))


def check_arguments(argv):
  """Raises UserError for mistakes that show before anything is loaded."""
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; the weights are given as --from=FILE')
  if hub.is_address(OUTPUT.value):
    hub.repository(OUTPUT.value)
    hub.library()
  else:
    suffix = pathlib.Path(OUTPUT.value).suffix
    cli.require(suffix == '.keras', f'output is {OUTPUT.value}, expected is a name that ends in .keras')
  for path in (FROM.value, PCA.value, *(label.rpartition('=')[2] for label in LABELS.value)):
    cli.require(not path or pathlib.Path(path).is_file(), f'{path}: no such file')


def chosen_importer():
  """The Importer that the flags select, with their sample rate and window. UserError lists the known ones."""
  student, suffix = STUDENT.value, pathlib.Path(FROM.value).suffix.lower()
  combinations = '; '.join(f'{name} from {", ".join(importer.suffixes)}' for name, importer in IMPORTERS.items())
  importer = IMPORTERS[student]
  supported = suffix in importer.suffixes
  cli.require(supported, f'{student} from {suffix or "a file without suffix"} is not known; known: {combinations}')
  if suffix in ('.pth', '.pt'):
    cli.require_installed(['torch'], 'torch')
  if not importer.takes_pca:
    cli.require(not PCA.value, '--pca goes with --student=vggish_pca')
  flag_values = {'sample_rate_hz': SAMPLE_RATE.value, 'window_seconds': durations.seconds(WINDOW_MS.value)}
  sound = dataclasses.replace(
    importer.sound, **{name: value for name, value in flag_values.items() if value is not None}
  )
  return dataclasses.replace(importer, sound=sound)


def write(model, settings):
  """Writes the student to --output; on the Hub as a run, with its export."""
  from audionet_tf.conversion import converter

  with contextlib.ExitStack() as stack:
    if not hub.is_address(OUTPUT.value):
      in_store = object_store.is_address(OUTPUT.value)
      output = store_flags.output(stack, OUTPUT.value) if in_store else OUTPUT.value
      converter.convert(model, settings, output)
      return
    from audionet_tf.saved_model import export, hub_run

    run = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    converter.convert(model, settings, run / student_paths.STUDENT_FILE)
    notices.quietly(functools.partial(export.export, model, settings, run / student_paths.EXPORT_FOLDER))
    hub_run.publish(run, OUTPUT.value)


def main(argv):
  importer = chosen_importer()
  check_arguments(argv)
  from audionet_tf.conversion import converter
  from audionet_tf.models import student_settings

  pca = [PCA.value] if importer.takes_pca else []
  model = importer.read(FROM.value, STUDENT.value, *pca)
  classes = converter.class_names(LABELS.value, model)
  settings = student_settings.StudentConfig(
    student=STUDENT.value,
    sample_rate_hz=importer.sound.sample_rate_hz,
    mono=importer.sound.mono,
    window_seconds=importer.sound.window_seconds,
    classes=classes,
    activations=dict.fromkeys(classes, importer.activation),
  )
  write(model, settings)
  counts = ', '.join(f'{len(names)} classes ({head})' for head, names in settings.classes.items())
  cli.tell(f'{OUTPUT.value}: {model.count_params()} parameters, {counts or "no classes"}')


def run():
  cli.run(main, TOPICS, NEEDS, addresses=('output',))


if __name__ == '__main__':
  run()
