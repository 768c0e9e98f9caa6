"""The models of a run: its teachers, its student, the Distiller of both, and the student's file and export."""

import contextlib
import dataclasses
import sys

import keras
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys
from audionet_tf.data.tables import class_lists, csv_files
from audionet_tf.models import alignment, registry, student_file, student_settings
from audionet_tf.models.networks import soundnet
from audionet_tf.saved_model import export
from audionet_tf.teachers import keras_applications, labelling, output_kinds, teacher_config
from audionet_tf.training import warm_start
from audionet_tf.training.config import PRECISIONS
from audionet_tf.training.steps import losses, optimizers
from audionet_tf.training.steps.distiller import AutoencoderTrainer, Distiller, MultiLabelTrainer


def load_teachers(records_folder, config, manifest, devices):
  """Loads the teachers of the config. UserError if one does not fit the records, the mode or the loss."""
  teacher_config.check(config.teachers, config.teacher_mode, manifest)  # before half a gigabyte is loaded
  # A teacher in the step needs its weights on every device; one whose outputs are stored does not.
  with devices.scope() if config.teacher_mode == 'online' else contextlib.nullcontext():
    teachers = [labelling.load_teacher(teacher, records_folder, manifest) for teacher in config.teachers]
  for teacher in teachers:
    if teacher.description['outputs'] == batch_keys.MULTI_LABEL and config.loss not in losses.MULTI_LABEL_LOSSES:
      allowed = ' or '.join(losses.MULTI_LABEL_LOSSES)
      raise UserError(f'teacher {teacher.name} gives a clip several labels or none; use --loss={allowed}')
    if is_embedding(teacher) and config.loss in losses.MULTI_LABEL_LOSSES:
      raise UserError(
        f'teacher {teacher.name} gives vectors, which are learned by cosine; leave out --loss={config.loss}'
      )
  return teachers


def is_embedding(teacher):
  """Whether the outputs of a Teacher are vectors."""
  return teacher.description['outputs'] == batch_keys.EMBEDDING


def classes_of(teachers):
  """dict of head to class names, of the teachers that have classes."""
  return {teacher.name: list(teacher.class_names) for teacher in teachers if not is_embedding(teacher)}


def without_weights(teachers):
  """The teachers without their networks: once the outputs are stored, half a gigabyte of VGG16 can be freed."""
  return [dataclasses.replace(teacher, probabilities=None) for teacher in teachers]


def report_class_names(configs, teachers):
  """Reports on stderr, before hours of training, which names are given to classes of a teacher without names.

  Args:
    configs: list of TeacherConfig.
    teachers: list of Teacher.
  """
  for config, teacher in zip(configs, teachers, strict=True):
    if teacher.description['outputs'] == output_kinds.SCORES:
      print(
        f'warning: teacher {teacher.name} gives scores from 0 to 1 that do not sum to 1, as sigmoids do: they are '
        'divided by their sum, as the student learns a distribution over the classes',
        file=sys.stderr,
      )
    count = len(teacher.class_names)
    if is_embedding(teacher):
      continue
    if config.labels or config.texts or csv_files.is_table(config.source):
      continue
    if teacher.class_names == class_lists.numbered_class_names(count):
      print(
        f'warning: teacher {teacher.name} comes without class names: they are class 0 to class {count - 1}; '
        '--teacher_labels=FILE, one name per line, gives others, audionet_tf.export --labels=FILE later',
        file=sys.stderr,
      )
    elif not keras_applications.find(config.source):
      print(
        f"teacher {teacher.name} comes without class names: its {count} classes are named as ImageNet's; "
        '--teacher_labels=FILE, one name per line, gives others',
        file=sys.stderr,
      )


def warn_of_sample_rate(student, rate_hz):
  """Warns on stderr if a SoundNet gets another sample rate than the paper's: allowed, but rarely intended."""
  if student.startswith('soundnet') and rate_hz != soundnet.RATE_HZ:
    print(
      f'{student} is made for {soundnet.RATE_HZ:,} Hz and the records hold {rate_hz:,} Hz: its steps are '
      f'{soundnet.RATE_HZ / rate_hz:.2f} times as long; tfrecords.build --sample_rate={soundnet.RATE_HZ} makes records '
      'at its own rate',
      file=sys.stderr,
    )


def build_student(manifest, teachers, config):
  """Builds the student of the config, with its initial weights."""
  keras.utils.set_random_seed(config.seed)  # here, since loading the teachers may have drawn numbers
  with precision(PRECISIONS[config.mixed_precision]):
    student = registry.build(config.student, {teacher.name: len(teacher.class_names) for teacher in teachers})
  if config.init:
    copied, new = warm_start.copy_matching_layers(student, config.init, manifest['params'])
    print(f'from {config.init}: {", ".join(copied)}; new: {", ".join(new) or "nothing"}', file=sys.stderr)
  if config.trainable == 'head':
    warm_start.freeze_backbone(student)
  return student


@contextlib.contextmanager
def precision(policy):
  """A context in which Keras layers get a dtype policy."""
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy(policy)
  try:
    yield
  finally:
    keras.config.set_dtype_policy(before)


def build_distiller(manifest, teachers, config, student=None):
  """A compiled Distiller whose student (None: from `build_student`) and optimizer are built."""
  student = student or build_student(manifest, teachers, config)
  distiller = new_distiller(student, manifest, teachers, config)
  distiller.compile(
    optimizer=optimizers.optimizer(config, config.steps_per_epoch(manifest['windows'])),
    jit_compile=False,  # XLA makes the step no faster, and fails on several replicas
  )
  samples = student.input.shape[1] or manifest['params'].window_samples
  distiller(tf.zeros([1, samples]))  # unbuilt, it would lose the optimizer's state on loading
  distiller.optimizer.build(student.trainable_variables)
  return distiller


def new_distiller(student, manifest, teachers, config):
  """The Distiller, MultiLabelTrainer or AutoencoderTrainer of a student, not compiled.

  Args:
    student: keras.Model.
    manifest: of the records that it trains on or evaluates.
    teachers: list of frozen_teacher.Teacher.
    config: TrainingConfig.
  """
  common = {
    'videos': len(manifest['videos']),
    'loss_reduction': config.loss_reduction,
    'videos_windows': [(v['first_window'], v['windows']) for v in manifest['videos']] if config.per_frame else None,
  }
  if registry.network(config.student).is_autoencoder:
    return AutoencoderTrainer(student, **common)
  multi_label = config.loss in losses.MULTI_LABEL_LOSSES
  return (MultiLabelTrainer if multi_label else Distiller)(
    student,
    heads=[teacher.name for teacher in teachers],
    loss=config.loss,
    loss_weights={
      t.name: t.head_weight(len(loaded.class_names)) for t, loaded in zip(config.teachers, teachers, strict=True)
    },
    teacher_fns={teacher.name: teacher.probabilities for teacher in teachers},
    alignment=alignment.for_student(config.student, manifest['params'], config.target_steps),
    embeddings=[teacher.name for teacher in teachers if is_embedding(teacher)],
    **({'label_smoothing': config.label_smoothing} if multi_label else {}),
    **common,
  )


def finish(run_dir, student, manifest, teachers, config, settings):
  """Writes RUN/student.keras and RUN/export/1; a prolonged run is exported again, as the next version.

  A student.keras that is there is kept if it holds the same: Keras writes a date into it, and a run that starts from it
  knows it by its digest. An export that is there is kept if it is whole.

  Args:
    run_dir: pathlib.Path of the run.
    student: keras.Model.
    manifest: of the records.
    teachers: list of frozen_teacher.Teacher.
    config: TrainingConfig.
    settings: dict, the content of settings.json.

  Returns:
    pathlib.Path of the export.
  """
  params = manifest['params']
  described = student_settings.StudentConfig(
    student=config.student,
    sample_rate_hz=params.sample_rate_hz,
    mono=params.mono,
    window_seconds=params.window_seconds,
    classes=classes_of(teachers),
    teachers={teacher.name: teacher.description for teacher in teachers},
    target_steps=config.target_steps,
    activations=dict.fromkeys(classes_of(teachers), losses.activation_of(config.loss)),
    embeddings={teacher.name: len(teacher.class_names) for teacher in teachers if is_embedding(teacher)},
  )
  path = run_dir / 'student.keras'
  if config.mixed_precision != 'none':
    weights = student.get_weights()
    student = registry.build(config.student, {teacher.name: len(teacher.class_names) for teacher in teachers})
    student.set_weights(weights)
  for layer in student.layers:
    layer.trainable = True  # what was frozen in this run is no property of the weights
  # The export is made from the file, not from memory: without the strategy's mirrored variables, and as
  # `audionet_tf.export` does it. It holds Keras's names, which count what was loaded: each run loads the file once.
  saved = student_file.saved(path, student, described)
  if saved is None:
    student_file.save(path, student, described)
    saved = student_file.load(path)
  exported = run_dir / 'export' / str(1 + len(settings['prolonged']))
  if exported.exists() and not export.is_whole(exported, student, described):
    print(f'{exported}: damaged; it is made again', file=sys.stderr)
    export.remove(exported)
  if not exported.exists():
    exported = export.export(*saved, run_dir / 'export')
  return exported
