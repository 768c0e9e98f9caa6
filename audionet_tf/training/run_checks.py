"""Checks the files of a training run before TensorFlow is imported, which takes seconds."""

import contextlib
import pathlib

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import params, records
from audionet_tf.data.tables import class_lists
from audionet_tf.models import student_names, student_paths
from audionet_tf.teachers import teacher_config

SETTINGS_NAME = 'settings.json'

FOUR_PICTURES = ('--images_per_window=4', '--short_videos=repeat')
SOUNDNET = ('--window_ms=20000', '--sample_rate=22050', '--mono=first', *FOUR_PICTURES)
FIVE_SECONDS = ('--window_ms=5000', *FOUR_PICTURES)
AT_22_KHZ = ('--window_ms=5000', '--sample_rate=22050', *FOUR_PICTURES)
HERSHEY = ('alexnet', 'fc', 'inception_v3', 'resnet50', 'vgg19')

LOG_MEL = ('logmel_attention', 'logmel_cnn', 'logmel_cnn_contrast', 'logmel_cnn_level', 'logmel_steps')

# Name of a student to the flags of tfrecords.build that make records for it.
BUILD_FLAGS = {
  'audionet': (),
  'autoencoder': ('--window_ms=5000', '--images_per_window=0', '--sample_rate=22050', '--short_videos=repeat'),
  **dict.fromkeys(LOG_MEL, AT_22_KHZ),
  **dict.fromkeys(['soundnet5', 'soundnet8'], SOUNDNET),
  **dict.fromkeys(['soundnet8_5s', 'soundnet8_level', 'soundnet8_steps'], AT_22_KHZ),
  'vggish_attention': ('--window_ms=10000', *FOUR_PICTURES),
  **dict.fromkeys(['vggish', 'vggish_pca', 'vggish_relu', 'yamnet'], FIVE_SECONDS),
  **dict.fromkeys([name for body in HERSHEY for name in (body, f'{body}_128')], FIVE_SECONDS),
}


def record_settings(student):
  """Arguments of `api.build_records` for records that a student is made for: window, sample rate and mixdown."""
  student_names.check(student)
  flags = dict(flag.removeprefix('--').split('=') for flag in BUILD_FLAGS[student])
  default = params.RecordParams()
  return {
    'window_seconds': float(flags['window_ms']) / 1000 if 'window_ms' in flags else default.window_seconds,
    'sample_rate_hz': int(flags.get('sample_rate', default.sample_rate_hz)),
    'mono': flags.get('mono', default.mono),
  }


def check(folders, run_dir, resume, student, teachers, teacher_mode, init):
  """UserError for the first file that is missing, damaged or in the way.

  Args:
    folders: of records: those to train on, then those to validate on.
    run_dir: folder of the run; None for a worker that does not use it.
    resume: whether an existing run is resumed.
    student: one of student_names.STUDENTS.
    teachers: tuple of TeacherConfig.
    teacher_mode: 'stored' or 'online'.
    init: None, or the run or student to start from.
  """
  student_names.check(student)
  if run_dir is not None:
    check_run_folder(run_dir, resume)
  pictures = any(teacher_config.needs_pictures(teacher.source) for teacher in teachers)
  for number, folder in enumerate(folders):
    check_records(folder, student, pictures, 'clips' if number == 0 else 'held_out_clips')
  manifest = records.read_manifest(folders[0])
  for each in (manifest, *(validation_manifest(folder, manifest) for folder in folders[1:])):
    teacher_config.check(teachers, teacher_mode, each)
  if init:
    initial_student(init)


def check_run_folder(run_dir, resume):
  """UserError if `run_dir` is a file, is used by another training, or holds a run that is not to be resumed."""
  run_dir = pathlib.Path(run_dir)
  if (run_dir / files.LOCK_NAME).exists():
    with _lock(run_dir):
      pass
  check_content(run_dir, resume)


@contextlib.contextmanager
def locked(run_dir, resume):
  """Locks the folder of a run, made if missing, against a second training; yields its path.

  Raises:
    UserError: as `check_run_folder`.
  """
  run_dir = pathlib.Path(run_dir)
  check_content(run_dir, resume)
  run_dir.mkdir(parents=True, exist_ok=True)
  with _lock(run_dir):
    check_content(run_dir, resume)  # again: another training may have come and gone
    yield run_dir


@contextlib.contextmanager
def _lock(run_dir):
  """Holds the lock of a run folder. UserError if another training does."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(run_dir, wait=False))
    except BlockingIOError:
      raise UserError(
        f'{run_dir}: another training is running there; wait for it, or choose another --run_dir'
      ) from None
    yield


def check_content(run_dir, resume):
  """UserError if `run_dir` cannot be a folder of TensorFlow's, is a file, or holds a run that is not to be resumed."""
  files.require_utf8(run_dir)
  if run_dir.exists() and not run_dir.is_dir():
    raise UserError(f'{run_dir}: not a folder; choose another --run_dir')
  if (run_dir / SETTINGS_NAME).exists() and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')


def check_stored(address, names, resume):
  """UserError if a run in a store, with objects of these names, is not to be resumed."""
  if SETTINGS_NAME in names and not resume:
    raise UserError(f'{address}: holds a run already; go on with --resume, or choose another --run_dir')


def check_records(folder, student, pictures, videos='clips'):
  """UserError with the commands that make records, if `folder` holds none.

  Args:
    folder: of the records.
    student: one of student_names.STUDENTS; the commands make windows for it.
    pictures: whether the records need pictures.
    videos: folder of videos that the commands name; validation needs others than training.
  """
  if (pathlib.Path(folder) / records.MANIFEST_NAME).is_file():
    return
  build_flags = BUILD_FLAGS[student]
  if not pictures:
    build_flags = (*(flag for flag in build_flags if 'images_per_window' not in flag), '--images_per_window=0')
  build = ' '.join([f'python -m tfrecords.build --videos={videos}', f'--output={folder}', *build_flags])
  raise UserError(
    f"{folder}: no records here ({records.MANIFEST_NAME} is missing). Put videos of your own, or the paper's ten by "
    f'python -m audionet_tf.download --output={videos}, into the folder {videos}; then: {build}'
  )


def validation_manifest(folder, manifest):
  """The manifest of records to validate on. UserError unless their windows are like those of `manifest`."""
  held_out = records.read_manifest(folder)
  for name in ('window_seconds', 'images_per_window', 'sample_rate_hz', 'mono'):
    values = getattr(held_out['params'], name), getattr(manifest['params'], name)
    if values[0] != values[1]:
      raise UserError(f'{folder}: {name} is {values[0]}, of the records to train on {values[1]}; build them alike')
  return held_out


def check_embeddings(paths, run_dir, resume, vocabulary, init):
  """UserError for the first file of a run on AudioSet's embeddings that is missing, damaged or in the way.

  Args:
    paths: TFRecord files of embeddings.
    run_dir: folder of the run; None for a worker that does not use it.
    resume: whether an existing run is resumed.
    vocabulary: path of the file of class names.
    init: None, or the run or student to start from.
  """
  if run_dir is not None:
    check_run_folder(run_dir, resume)
  class_lists.vocabulary(vocabulary)
  for path in paths:
    if not pathlib.Path(path).is_file():
      raise UserError(f'{path}: no such file of embeddings')
  if init:
    initial_student(init)


def initial_student(path):
  """The .keras file of the RUN or student that training starts from. UserError if there is none."""
  path = student_paths.resolve(path)
  if not path.is_file():
    raise UserError(f'{path}: no such student to start from; expected is a run or a {student_paths.STUDENT_FILE}')
  return path
