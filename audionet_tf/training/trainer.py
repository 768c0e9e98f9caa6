"""A training run from records to an exported student: what the `train` command calls."""

import contextlib
import dataclasses
import pathlib
import sys

import keras
import tensorflow as tf

from audionet_tf.core import system
from audionet_tf.core.durations import exact
from audionet_tf.core.errors import UserError
from audionet_tf.data import augmentation, balanced_sampling, batch_keys, input_pipeline, records, soft_labels
from audionet_tf.models import alignment, registry, soundnet, student_file
from audionet_tf.saved_model import export
from audionet_tf.teachers import frozen_teacher, labelling
from audionet_tf.training import callbacks, distribution, embedding_projector, losses, optimizers, warm_start
from audionet_tf.training import resume as training_resume
from audionet_tf.training import tensorboard as training_tensorboard
from audionet_tf.training.distiller import AutoencoderTrainer, Distiller, MultiLabelTrainer

SETTINGS_NAME = 'settings.json'


def train(
  records_folder, run_dir, options, resume=False, checkpoint_every=0, profile=None, graph=False, projected=False
):
  """Trains a student and writes the run folder; see the `train` command for what lies in it.

  Args:
    records_folder: what tfrecords.build wrote.
    run_dir: new, or with `resume` that of a run with the same options.
    options: Options.
    resume: go on from the newest checkpoint.
    checkpoint_every: epochs between checkpoints; 0: at the first epoch's end after every minute.
    profile: None or (first, last) epoch to profile.
    graph: write the graph for TensorBoard.
    projected: show embeddings of windows: in its projector and in pictures (`projector`).

  Returns:
    Path of the exported model.

  Raises:
    UserError: records, teacher or run folder do not serve; a loss that is not finite.
  """
  system.keep_freed_memory()
  run_dir = pathlib.Path(run_dir)
  settings_path = run_dir / SETTINGS_NAME
  manifest = records.read_manifest(records_folder)
  if settings_path.exists() and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')
  devices = distribution.make(options.replicas)
  online = options.teacher_mode == 'online'
  # A teacher in the step needs its weights on every device; one that is asked beforehand does not.
  with devices.scope() if online else contextlib.nullcontext():
    teachers = load_teachers(options, manifest)
  settings = training_resume.settings_of(options, manifest, teachers, devices.num_replicas_in_sync)
  if settings_path.exists():
    training_resume.check_same(settings_path, settings)
  source = training_source(records_folder, manifest, teachers, online)
  if not online:  # their answers are stored: half a gigabyte of VGG16 can go
    teachers = [dataclasses.replace(teacher, probabilities=None) for teacher in teachers]
  with devices.scope():
    distiller = build_distiller(manifest, teachers, options)
  tell_rate(options.student, manifest['params'].sample_rate_hz)
  run_dir.mkdir(parents=True, exist_ok=True)
  training_resume.write(settings_path, settings)
  log = callbacks.RunLog(run_dir, stats_header(manifest, options), ids_of(manifest), manifest['windows'])
  checkpoints = callbacks.Checkpoints(run_dir, distiller, checkpoint_every)
  first_epoch = checkpoints.restore()
  log.begin(first_epoch)
  if first_epoch:
    print(f'resuming after epoch {first_epoch} of {options.epochs}', file=sys.stderr)
  if first_epoch < options.epochs:
    with readable(source):
      shown = tensorboard(run_dir, records_folder, manifest, source, distiller, teachers, log, profile, graph)
      hooks = [callbacks.Guard(ids_of(manifest)), log, checkpoints, shown]
      if projected:
        hooks.append(projection(run_dir, shown.writer, records_folder, manifest, source, teachers))
      hooks.append(callbacks.Progress(log, first_epoch, options.epochs))
      drawn = training_batches(records_folder, manifest, source, options, first_epoch, devices.num_replicas_in_sync)
      fit(distiller, drawn, manifest, options, first_epoch, hooks)
  return finish(run_dir, distiller.student, manifest, teachers, options)


def tell_rate(student, rate_hz):
  """Says on stderr that a SoundNet hears sound of another rate than the paper's: allowed, but hardly ever meant."""
  if student.startswith('soundnet') and rate_hz != soundnet.RATE_HZ:
    print(
      f'{student} is made for {soundnet.RATE_HZ:,} Hz and the records hold {rate_hz:,} Hz: its steps are '
      f'{soundnet.RATE_HZ / rate_hz:.2f} times as long; tfrecords.build --sample_rate={soundnet.RATE_HZ} makes what it '
      'is made for',
      file=sys.stderr,
    )


def training_batches(records_folder, manifest, source, options, first_epoch, replicas):
  """The batches from `first_epoch` on: every window once a pass, or classes in turn."""
  how = options.batch_size, options.seed, first_epoch, replicas, augmentation.augmenter(options.augment)
  if not options.balance:
    return input_pipeline.training_batches(source, *how)
  (teacher,) = options.teachers
  windows = balanced_sampling.of_records(records_folder, manifest, source, teacher.name)
  return balanced_sampling.training_batches(windows, teacher.name, *how)


def fit(distiller, batches, manifest, options, first_epoch, hooks):
  """Trains from `first_epoch` on."""
  distiller.fit(
    batches,
    initial_epoch=first_epoch,
    epochs=options.epochs,
    steps_per_epoch=steps_per_epoch(manifest, options),
    callbacks=hooks,
    verbose=0,
    shuffle=False,
  )


def steps_per_epoch(manifest, options):
  """Every window once: the last batch may be small."""
  return -(-manifest['windows'] // options.batch_size)


@contextlib.contextmanager
def readable(source):
  """Within, files of the source that turn out to be damaged are a UserError."""
  try:
    yield
  except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
    if isinstance(error, tf.errors.InvalidArgumentError) and balanced_sampling.DAMAGED not in error.message:
      raise
    folder = pathlib.Path(source.paths[0]).parent
    raise UserError(f'{folder}: damaged ({error.message[:100]}); delete it and make it again') from error


def tensorboard(run_dir, records_folder, manifest, source, distiller, teachers, log, profile, graph):
  """The callback that writes RUN/tensorboard."""
  candidates = input_pipeline.sequential_batches(source, training_tensorboard.candidates(manifest['params']))
  examples = training_tensorboard.pick_examples(records_folder, manifest, candidates, distiller.targets)
  class_names = {teacher.name: teacher.class_names for teacher in teachers}
  return training_tensorboard.Summaries(run_dir / 'tensorboard', log, class_names, examples, profile, graph)


def projection(run_dir, writer, records_folder, manifest, source, teachers):
  """The callback that writes RUN/tensorboard/projector, and pictures with it."""
  params, folder = manifest['params'], run_dir / 'tensorboard'
  size = embedding_projector.batch_size(params.window_samples)
  batches = input_pipeline.sequential_batches(source, size)
  encoded = input_pipeline.encoded_pictures(records_folder, manifest, size) if params.images_per_window else None
  class_names = {teacher.name: teacher.class_names for teacher in teachers}
  return embedding_projector.Projector(
    folder, writer, batches, class_names, ids_of(manifest), params.sample_rate_hz, manifest['windows'], encoded
  )


def load_teachers(options, manifest):
  """The teachers of the options. UserError where one cannot be asked as they say."""
  looking = [teacher.name for teacher in options.teachers if not frozen_teacher.is_given(teacher.source)]
  labelling.check_pictures(manifest, looking)  # before half a gigabyte is loaded
  teachers = [frozen_teacher.load(**teacher.arguments()) for teacher in options.teachers]
  for teacher in teachers:
    if options.teacher_mode == 'online' and not teacher.in_graph:
      what = 'answers from a file' if teacher.given else 'a .tflite file'
      raise UserError(f'teacher {teacher.name}: {what} cannot be asked in the step; use --teacher_mode=stored')
    if teacher.description['outputs'] == batch_keys.MULTI_LABEL and options.loss not in losses.MULTI_LABEL_LOSSES:
      allowed = ' or '.join(losses.MULTI_LABEL_LOSSES)
      raise UserError(f'teacher {teacher.name} gives a clip several labels or none; use --loss={allowed}')
  return teachers


def stats_header(manifest, options):
  """What stats.json says of the whole run."""
  return {
    'num_epochs': options.epochs,
    'video_sample_period_msec': float(exact(manifest['params'].hop_seconds) * 1000),
    'batch_size': options.batch_size,
    'learning_rate': options.learning_rate,
  }


def ids_of(manifest):
  return [video['id'] for video in manifest['videos']]


def training_source(records_folder, manifest, teachers, online):
  """Source of the input pipeline: the records, or stored labels, made first where they are missing.

  Without teachers these are the sound without its pictures.
  """
  if online:
    return input_pipeline.record_source(records_folder, manifest)
  folder = labelling.ensure(records_folder, manifest, teachers)
  return soft_labels.label_source(folder, soft_labels.read_manifest(folder))


def build_student(manifest, teachers, options):
  """The student of the options, with the weights that it begins from."""
  keras.utils.set_random_seed(options.seed)  # here: what was loaded before may have drawn numbers
  student = registry.build(options.student, {teacher.name: len(teacher.class_names) for teacher in teachers})
  if options.init:
    taken, new = warm_start.copy_matching_layers(student, options.init, manifest['params'])
    print(f'from {options.init}: {", ".join(taken)}; new: {", ".join(new) or "nothing"}', file=sys.stderr)
  if options.trainable == 'head':
    warm_start.freeze_backbone(student)
  return student


def build_distiller(manifest, teachers, options, student=None):
  """A compiled Distiller whose student (None: `build_student`'s) and optimizer have their variables."""
  student = student or build_student(manifest, teachers, options)
  kept = {
    'videos': len(manifest['videos']),
    'loss_reduction': options.loss_reduction,
    'videos_windows': [(v['first_window'], v['windows']) for v in manifest['videos']] if options.per_frame else None,
  }
  if registry.network(options.student).is_autoencoder:
    distiller = AutoencoderTrainer(student, **kept)
  else:
    labelled = options.loss in losses.MULTI_LABEL_LOSSES
    distiller = (MultiLabelTrainer if labelled else Distiller)(
      student,
      heads=[teacher.name for teacher in teachers],
      loss=options.loss,
      loss_weights={
        t.name: t.head_weight(len(loaded.class_names)) for t, loaded in zip(options.teachers, teachers, strict=True)
      },
      ask={teacher.name: teacher.probabilities for teacher in teachers},
      alignment=alignment.for_student(options.student, manifest['params'], options.target_steps),
      **({'label_smoothing': options.label_smoothing} if labelled else {}),
      **kept,
    )
  distiller.compile(
    optimizer=optimizers.optimizer(options, steps_per_epoch(manifest, options)),
    jit_compile=False,  # the step gains nothing from XLA and fails with it on several replicas
  )
  heard = student.input.shape[1] or manifest['params'].window_samples
  distiller(tf.zeros([1, heard]))  # else loading drops the optimizer's state
  distiller.optimizer.build(student.trainable_variables)
  return distiller


def finish(run_dir, student, manifest, teachers, options):
  """Writes RUN/student.keras and RUN/export/1; returns the latter's path."""
  params = manifest['params']
  settings = student_file.StudentConfig(
    student=options.student,
    sample_rate_hz=params.sample_rate_hz,
    mono=params.mono,
    window_seconds=params.window_seconds,
    classes={teacher.name: list(teacher.class_names) for teacher in teachers},
    teachers={teacher.name: teacher.description for teacher in teachers},
    target_steps=options.target_steps,
    activations={teacher.name: losses.activation_of(options.loss) for teacher in teachers},
  )
  path = run_dir / 'student.keras'
  for layer in student.layers:
    layer.trainable = True  # what this run left as it was is nothing that a file of weights should say
  student_file.save(path, student, settings)
  exported = run_dir / 'export' / '1'
  if not exported.exists():
    # From the file, not from memory: free of the strategy's mirrored variables, and what a user would export.
    export.export(*student_file.load(path), run_dir / 'export')
  return exported
