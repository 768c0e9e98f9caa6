r"""Writes a trained student as a SavedModel for TensorFlow Serving, and as TensorFlow Lite on request.

  python -m audionet_tf.export --model=runs/clips --output=exports/clips --tflite

writes exports/clips/1, or the next free number: signatures `serving_default` and `windows`, `layers` if layers have
steps in time, class names and settings as assets, warm-up requests. What was written is loaded again and compared with
the student first. --labels=FILE renames the classes, one name per line. --model=student.keras exports weights from
anywhere, such as audionet_tf.convert. --classes=words.txt gives a student that learned embeddings of pictures its
classes, in your own words (docs/words.md); the export needs no text model. --tflite adds, for phones and browsers,

  model.tflite             takes one window, f32 [1, samples], and returns probabilities; MediaPipe's audio classifier
                           reads its sample rate and class names, which are in the file
  model_any_length.tflite  takes sound of any length and returns logits and the embedding as well

and --quantize=int8 --sounds=FOLDER model_int8.tflite, about a third of the size, after a comparison on real sound: in
how many windows the most probable class is the same. float16 halves the size. --onnx adds model.onnx for ONNX Runtime.

--card adds README.md, a model card made from the run: data, teachers, student, --figures of audionet_tf.evaluate,
limits, --license. --output=hf://user/repository puts student, export and card on the Hugging Face Hub, where every
command finds it as --model=hf://user/repository.

  python -m audionet_tf.export --web=site

writes the page of audionet_tf.serve as a folder that any web server can serve: the student, without --model the
starter, runs in the browser, and no sound leaves it. The folder is a browser extension too. npm fetches the packages
for it once (@litertjs/core, mediabunny); --web_packages=FOLDER takes what `npm pack` has put there instead.
"""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
import sys
import tempfile

from absl import flags

from audionet_tf.core import cli, files, notices
from audionet_tf.core.stores import hub, object_store, store_folder
from audionet_tf.data.tables import word_tables
from audionet_tf.models import starter, student_paths
from audionet_tf.teachers import student_words

MODEL = flags.DEFINE_string(
  'model',
  None,
  'A run, a student (.keras, its .json beside it), starter, or an address, s3:// or hf://user/repository.',
)
flags.DEFINE_alias('run_dir', 'model')  # the old name
OUTPUT = flags.DEFINE_string(
  'output', None, 'Folder of versions, made if missing; or an address, s3:// or hf://user/repository.'
)
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'For a student of embeddings: classes in your own words, one per line, or a .npz table of their vectors. The export'
  ' holds the vectors, and as assets.extra/words.npz the table.',
)
LABELS = flags.DEFINE_multi_string(
  'labels', [], "FILE, or HEAD=FILE, repeated: other names for the student's classes, one per line."
)
TFLITE = flags.DEFINE_bool('tflite', False, 'Add TensorFlow Lite files to the version.')
ONNX = flags.DEFINE_bool('onnx', False, 'Add model.onnx to the version (extra onnx).')
QUANTIZE = flags.DEFINE_multi_enum(
  'quantize', [], ['float16', 'int8'], 'With --tflite, repeated: a smaller file too, with weights of this type.'
)
SOUNDS = flags.DEFINE_multi_string(
  'sounds', [], 'FILE or FOLDER, repeated: real sound on which --quantize is compared with float32.'
)
CARD = flags.DEFINE_bool('card', False, 'Add README.md, a model card, to the version; to hf:// always.')
FIGURES = flags.DEFINE_string('figures', None, 'For the card: what audionet_tf.evaluate wrote to its --output.')
LICENSE = flags.DEFINE_string(
  'license', None, 'For the card: of the weights, as the Hub spells it, such as apache-2.0.'
)
WEB = flags.DEFINE_string('web', None, 'Folder for the page without a service, which replaces an earlier one.')
WEB_PACKAGES = flags.DEFINE_string(
  'web_packages', None, 'With --web: folder with the packages, as "npm pack" writes them. Default: npm fetches them.'
)

TOPICS = {'model': 'Student', 'output': 'Results', 'tflite': 'Other runtimes', 'card': 'Model card'}
TOPICS |= {'web': 'In the browser'}
NEEDS = (('--output', '--web'),)
MOST_WINDOWS = 1000  # of --sounds: a difference of 1 % is then ten windows


def check_quantize():
  """Raises UserError where --quantize and --sounds do not fit the other flags."""
  if not QUANTIZE.value:
    return
  cli.require(TFLITE.value, '--quantize needs --tflite, whose files it makes smaller')
  cli.require(SOUNDS.value, '--quantize needs --sounds: files or folders of real sound, to compare with float32')
  for path in SOUNDS.value:
    cli.require(pathlib.Path(path).exists(), f'--sounds={path}: no such file or folder')


def check_web():
  """Raises UserError where a flag is for a result that is not asked for, or the packages of --web cannot be had."""
  cli.require(WEB.value or not WEB_PACKAGES.value, '--web_packages goes with --web')
  for name in ('tflite', 'onnx', 'card'):
    cli.require(OUTPUT.value or not flags.FLAGS[name].value, f'--{name} goes with --output')
  if WEB.value:
    from audionet_tf.service import npm_packages

    elsewhere = object_store.is_elsewhere(WEB.value)
    cli.require(not elsewhere, f'--web={WEB.value}: expected is a folder on this machine; upload its files from there')
    files.check_replaceable(WEB.value, npm_packages.LICENSES_FILE)
    npm_packages.check(WEB_PACKAGES.value)


def real_windows(settings):
  """list of int16 [samples], windows of --sounds. `settings`: student_settings.StudentConfig."""
  from audionet_tf.inference import windows
  from audionet_tf.models import registry
  from audionet_tf.units import search

  short_input = registry.network(settings.student).short_input
  return windows.of_files(search.media_files(SOUNDS.value), settings, MOST_WINDOWS, short_input)


def check_arguments():
  """Path of the student's .keras file. Raises UserError for mistakes that show before anything is loaded."""
  cli.require(MODEL.value or not OUTPUT.value, 'export needs --model for --output (--help explains)')
  files.require_utf8(OUTPUT.value or '')
  check_web()
  path = student_paths.resolve(starter.chosen(MODEL.value))
  path = path / student_paths.STUDENT_FILE if path.suffix != '.keras' else path
  student_paths.require_student(path)
  if CLASSES.value:
    student_words.find(MODEL.value, CLASSES.value)
  for value in LABELS.value:
    cli.require(pathlib.Path(value.rpartition('=')[2]).is_file(), f'--labels={value}: no such file')
  check_quantize()
  if ONNX.value:
    cli.require_installed(['tf2onnx', 'onnxruntime'], 'onnx')
  if hub.is_address(OUTPUT.value):
    hub.repository(OUTPUT.value)
    hub.library()
  for name in ('figures', 'license'):
    cli.require(not flags.FLAGS[name].value or is_described(), f'--{name} goes with --card, or an --output of hf://')
  cli.require_files([FIGURES.value] if FIGURES.value else [])
  return path


def is_described():
  """Whether a card is written: the Hub expects one."""
  return CARD.value or hub.is_address(OUTPUT.value)


def load(path):
  """(keras.Model, its settings, table) of a .keras file, with --classes, its classes renamed by --labels.

  The table is the word_tables.WordTable of --classes, else None.
  """
  from audionet_tf.data.tables import class_lists
  from audionet_tf.models import student_file

  model, settings = student_file.load(path)
  table = None
  if CLASSES.value:
    model, settings, table = student_words.with_classes(path, model, settings, CLASSES.value)
  counts = {head: len(names) for head, names in settings.classes.items()}
  renamed = class_lists.class_names_by_head(LABELS.value, counts)
  return model, dataclasses.replace(settings, classes=settings.classes | renamed), table


def describe(path, version, model, settings):
  """Writes the card of the student at `path` beside the files of a version."""
  from audionet_tf.saved_model import card

  figures = card.read_figures(FIGURES.value) if FIGURES.value else None
  others = [file.name for file in version.iterdir() if file.suffix in ('.tflite', '.onnx')]
  card.write(version / card.FILE, model, settings, path.parent, figures, LICENSE.value, others)


def add_table(version, table):
  """Writes the table of --classes, which commands take as --classes in its turn, beside the files of a version."""
  word_tables.write(version / 'assets.extra' / 'words.npz', table)


def main(argv):
  cli.no_arguments(argv)
  path = check_arguments()
  model, settings, table = load(path)
  if WEB.value:
    from audionet_tf.service import web_folder

    web_folder.check(settings)
  if OUTPUT.value:
    write_version(path, model, settings, table)
  if WEB.value:
    write_page(path, model, settings)


def write_version(path, model, settings, table):
  """Writes the next version below --output, and prints where. `table`: as `load` returns it."""
  from audionet_tf.saved_model import export

  windows, notes, quantize = real_windows(settings) if QUANTIZE.value else [], [], sorted({*QUANTIZE.value})
  with contextlib.ExitStack() as stack:
    to_hub = hub.is_address(OUTPUT.value)
    busy = 'another export is running there; wait for it or choose another --output'
    place = tempfile.TemporaryDirectory() if to_hub else store_folder.written(OUTPUT.value, busy, store_folder.nothing)
    run = pathlib.Path(stack.enter_context(place))
    folder = run / student_paths.EXPORT_FOLDER if to_hub else run
    add = [functools.partial(describe, path, model=model, settings=settings)] if is_described() else []
    add += [functools.partial(add_table, table=table)] if table else []
    options = {'quantize': quantize, 'windows': windows, 'report': notes.append, 'onnx': ONNX.value, 'add': add}
    write = functools.partial(export.export, model, settings, folder, TFLITE.value, **options)
    version = notices.quietly(write)  # converters tell what they ignore and which devices there are
    if to_hub:
      publish(run, version, model, settings)
  in_store = object_store.is_address(OUTPUT.value)
  print(OUTPUT.value if to_hub else f'{OUTPUT.value}/{version.name}' if in_store else version)
  for note in notes:
    print(note, file=sys.stderr)


def write_page(path, model, settings):
  """Writes the folder of --web, and prints where."""
  from audionet_tf.service import web_folder

  options = {'is_starter': starter.is_starter(path), 'packages': WEB_PACKAGES.value}
  folder = pathlib.Path(WEB.value)
  size = web_folder.write(model, settings, folder, **options)
  print(f'{WEB.value}: {size / 1e6:.1f} MB; serve it, as by python -m http.server --bind 127.0.0.1 -d {WEB.value}')
  if size > web_folder.MOST_BYTES:
    student = (folder / web_folder.MODEL_FILE).stat().st_size
    limit = f'more than the {web_folder.MOST_BYTES / 1e6:.0f} MB of a page that opens soon'
    print(f'warning: {WEB.value} has {limit}: {student / 1e6:.1f} MB are {settings.student}', file=sys.stderr)


def publish(run, version, model, settings):
  """Uploads a version as a run: with its student, and the card where the Hub looks for it."""
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import card

  student_file.save(run / student_paths.STUDENT_FILE, model, settings)
  shutil.copy(version / card.FILE, run / card.FILE)
  hub.upload(run, OUTPUT.value)


def run():
  cli.run(main, TOPICS, NEEDS, addresses=('output', 'run_dir', 'web'))


if __name__ == '__main__':
  run()
