"""A training run, from records to an exported student; the `train` command calls it."""

import contextlib
import dataclasses
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.core import files, interruption, system
from audionet_tf.core.durations import exact
from audionet_tf.core.errors import UserError
from audionet_tf.data import (
  augmentation,
  balanced_sampling,
  batch_keys,
  class_lists,
  codec_pass,
  csv_files,
  damage,
  input_pipeline,
  records,
  soft_labels,
)
from audionet_tf.models import alignment, registry, soundnet, student_file
from audionet_tf.saved_model import export
from audionet_tf.teachers import answers, frozen_teacher, keras_applications, labelling, teacher_config
from audionet_tf.training import (
  callbacks,
  distribution,
  embedding_projector,
  loop,
  losses,
  loudness,
  optimizers,
  run_checks,
  tensorboard,
  warm_start,
)
from audionet_tf.training import resume as training_resume
from audionet_tf.training.config import PRECISIONS
from audionet_tf.training.distiller import AutoencoderTrainer, Distiller, MultiLabelTrainer


def train(
  records_folder,
  run_dir,
  config,
  resume=False,
  checkpoint_every=0,
  profile=None,
  graph=False,
  projected=False,
  validation_folder=None,
  checkpoint_minutes=1.0,
  task=None,
):
  """Trains a student and writes the run folder (docs/training.md lists its files).

  Args:
    records_folder: folder that tfrecords.build wrote.
    run_dir: a new folder, or with `resume` that of a run with the same config; more epochs prolong a run whose learning
      rate is constant.
    config: TrainingConfig.
    resume: go on from the newest checkpoint.
    checkpoint_every: epochs between checkpoints; 0: by `checkpoint_minutes`.
    profile: None, or (first, last) epoch to profile, counted from 0.
    graph: whether to write the student's graph for TensorBoard.
    projected: whether to show embeddings of windows in TensorBoard (`embedding_projector`).
    validation_folder: None, or a folder of held-out records, which are evaluated after every epoch.
    checkpoint_minutes: between checkpoints, which are taken at the end of an epoch, or inside one that takes longer.
    task: None, or the cluster.Task of this worker. TensorFlow must not have computed anything in this process.

  Returns:
    Path of the exported model; None for a worker that is not the chief.

  Raises:
    UserError: records, teacher or run folder cannot be used, or a loss is not finite.
    interruption.Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
    DiskFullError: no space in the run folder, or for the teachers' outputs.
  """
  system.keep_freed_memory()
  with (
    files.space_in(run_dir),
    run_folder(run_dir, resume, task) as locked_dir,
    distribution.losses_named(task),
  ):
    # Both before TensorFlow computes anything in this process.
    for teacher in config.teachers:
      frozen_teacher.try_loading(teacher.source, teacher.weights, teacher.dtype, teacher.input_range)
    devices = distribution.make(config.replicas, task)
    checkpointing = {'every_epochs': checkpoint_every, 'minutes': checkpoint_minutes}
    shown = {'profile': profile, 'graph': graph, 'projected': projected}
    return train_locked(records_folder, locked_dir, config, devices, task, checkpointing, validation_folder, **shown)


def run_folder(run_dir, resume, task):
  """Context with the locked folder of the run; None for a worker that is not the chief, which alone uses the folder."""
  return contextlib.nullcontext() if task and not task.is_chief else run_checks.locked(run_dir, resume)


def train_locked(
  records_folder, run_dir, config, devices, task, checkpointing, validation_folder, profile, graph, projected
):
  """`train`, in a run folder that no other training uses; None for workers that write nothing."""
  manifest = records.read_manifest(records_folder)
  held_out = validation_folder and run_checks.validation_manifest(validation_folder, manifest)
  share = distribution.share_of(devices, task)
  online = config.teacher_mode == 'online'
  teachers = load_teachers(records_folder, config, manifest, devices)
  config = dataclasses.replace(config, teachers=teacher_config.settled(config.teachers, teachers))
  if run_dir:
    report_class_names(config.teachers, teachers)
    warn_of_sample_rate(config.student, manifest['params'].sample_rate_hz)
  variants = codec_pass.ensure(records_folder, manifest) if augmentation.with_variants(config.augment) else None
  settings = training_resume.settings_of(config, manifest, teachers, devices.num_replicas_in_sync, variants)
  settings = agreed_settings(devices, task, run_dir, settings)
  source = training_source(records_folder, manifest, teachers, online)
  held_out_source = held_out and training_source(validation_folder, held_out, teachers, online)
  teachers = teachers if online else without_weights(teachers)
  with devices.scope():
    distiller = build_distiller(manifest, teachers, config)
    validate = held_out and validator(distiller, validation_folder, held_out, held_out_source, teachers, config, share)
  if run_dir:
    training_resume.write(run_dir / run_checks.SETTINGS_NAME, settings)
  log = callbacks.RunLog(run_dir, stats_header(manifest, config), ids_of(manifest), manifest['windows'], validate)
  checkpoints, first_epoch = restored(run_dir, distiller, log, checkpointing, config)
  if first_epoch < config.epochs:
    with readable(source, records_folder, manifest, variants):
      hooks = [checkpoints.guard, log, checkpoints]
      if run_dir:
        summaries = make_summaries(
          run_dir, records_folder, manifest, source, distiller, teachers, log, settings, profile, graph
        )
        hooks.append(summaries)
        if projected:
          hooks.append(make_projector(run_dir, summaries.writer, records_folder, manifest, source, teachers))
      first_step = checkpoints.steps_done
      batches = training_batches(records_folder, manifest, source, config, first_epoch, share, variants, first_step)
      fit(distiller, batches, manifest, config, first_epoch, hooks, log, checkpoints)
  exported = run_dir and finish(run_dir, distiller.student, manifest, teachers, config, settings)
  distribution.total(devices, [0])  # a worker that ended would look lost to the chief, which still exports
  return exported


def agreed_settings(devices, task, run_dir, settings):
  """The settings of the run, as the chief found them. UserError if they do not fit the run, or this worker."""
  message, found = '', settings
  if run_dir:
    try:
      found = training_resume.resumed(run_dir / run_checks.SETTINGS_NAME, settings)
    except UserError as error:
      message = str(error)
  message, found = json.loads(distribution.text_of_chief(devices, bool(run_dir), json.dumps([message, found])))
  if message:
    raise UserError(message)
  before, after = training_resume.flat(found), training_resume.flat(settings)
  differences = [name for name in after if name in before and before[name] != after[name]]
  if distribution.total(devices, [len(differences)]) != [0]:
    listed = '; '.join(f'{name} is {before[name]} there, {after[name]} here' for name in differences)
    raise UserError(
      f'{task.name}: other settings than the first worker ({listed or "seen by another worker"}); '
      'give all the same flags and records'
    )
  return found


def without_weights(teachers):
  """The teachers without their networks: once the outputs are stored, half a gigabyte of VGG16 can be freed."""
  return [dataclasses.replace(teacher, probabilities=None) for teacher in teachers]


def restored(run_dir, distiller, log, checkpointing, config):
  """(Checkpoints, number of completed epochs), after restoring the newest checkpoint of the run, if there is one.

  Args:
    run_dir: folder of the run; None for a worker that writes nothing.
    distiller: Distiller.
    log: callbacks.RunLog.
    checkpointing: dict of `every_epochs` and `minutes` of callbacks.Checkpoints.
    config: TrainingConfig.
  """
  guard = callbacks.Guard(log.video_ids)
  checkpoints = callbacks.Checkpoints(run_dir, distiller, guard=guard, **checkpointing)
  first_epoch = checkpoints.restore(log.whole_epochs)
  log.begin(first_epoch, checkpoints.seconds)
  if run_dir and (first_epoch or checkpoints.steps_done):
    inside = f' and {checkpoints.steps_done} steps of the next' if checkpoints.steps_done else ''
    print(f'resuming after epoch {first_epoch} of {config.epochs}{inside}', file=sys.stderr)
  return checkpoints, first_epoch


def validator(distiller, folder, manifest, source, teachers, config, share):
  """A function that evaluates the student on held-out records and returns a dict of metric to float."""
  evaluator = new_distiller(distiller.student, manifest, teachers, dataclasses.replace(config, per_frame=False))
  evaluator.compile(jit_compile=False)
  evaluator(tf.zeros([1, manifest['params'].window_samples]))
  evaluate = loop.evaluator(evaluator)

  def validate():
    with readable(source, folder, manifest):
      batches = input_pipeline.sequential_batches(source, config.batch_size, share).repeat()
      return evaluate(batches, steps_per_epoch(manifest, config))

  return validate


def report_class_names(configs, teachers):
  """Reports on stderr, before hours of training, which names are given to classes of a teacher without names.

  Args:
    configs: list of TeacherConfig.
    teachers: list of Teacher.
  """
  for config, teacher in zip(configs, teachers, strict=True):
    if teacher.description['outputs'] == frozen_teacher.SCORES:
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


def training_batches(records_folder, manifest, source, config, first_epoch, share, variants=None, first_step=0):
  """Dataset of a Share of the batches from an epoch and step on: every window once per pass, or balanced by class."""
  augment = augmentation.augmenter(config.augment, manifest['params'].sample_rate_hz, variants)
  if config.gate == 'loudness':
    augment = loudness.gated(manifest['videos'], loudness.window_weights(source, manifest), augment)
  arguments = config.batch_size, config.seed, first_epoch, share, augment, first_step
  if not config.balance:
    return input_pipeline.training_batches(source, *arguments)
  (teacher,) = config.teachers
  windows = balanced_sampling.of_records(records_folder, manifest, source, teacher.name)
  return balanced_sampling.training_batches(windows, teacher.name, *arguments)


def fit(distiller, batches, manifest, config, first_epoch, hooks, log, checkpoints):
  """Trains from `first_epoch` on.

  Args:
    distiller: compiled Distiller.
    batches: from `training_batches`.
    manifest: of the records.
    config: TrainingConfig.
    first_epoch: number of completed epochs.
    hooks: list of callbacks; the progress bar is appended.
    log, checkpoints: the callbacks.RunLog and callbacks.Checkpoints in `hooks`.

  Raises:
    interruption.Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
  """
  progress, steps = callbacks.Progress(log, first_epoch, config.epochs), steps_per_epoch(manifest, config)
  try:
    with interruption.handled(checkpoints.on_signal):
      loop.run(distiller, batches, [*hooks, progress], config.epochs, steps, first_epoch, checkpoints.steps_done)
  finally:
    progress.bar.close()
  if checkpoints.agreed(due=False):
    interruption.interrupt(checkpoints.signal)


def steps_per_epoch(manifest, config):
  """Number of batches that hold every window once; the last may be smaller."""
  return -(-manifest['windows'] // config.batch_size)


def readable(source, records_folder, manifest, variants=None):
  """Context in which a damaged file of the records, or of what is stored with them, raises UserError."""
  stored = variants.paths if variants else []
  paths = dict.fromkeys([*source.paths, *stored, *records.shard_paths(records_folder, manifest)])
  return damage.named(paths, damage.advice(records_folder), input_pipeline.file_reader(source))


def make_summaries(run_dir, records_folder, manifest, source, distiller, teachers, log, settings, profile, graph):
  """The tensorboard.Summaries that writes RUN/tensorboard."""
  candidates = input_pipeline.sequential_batches(source, tensorboard.candidates(manifest['params']))
  examples = tensorboard.pick_examples(records_folder, manifest, candidates, distiller.targets)
  class_names = classes_of(teachers)
  return tensorboard.Summaries(run_dir / 'tensorboard', log, class_names, examples, settings, profile, graph)


def make_projector(run_dir, writer, records_folder, manifest, source, teachers):
  """The embedding_projector.Projector that writes RUN/tensorboard/projector, and pictures."""
  params, folder = manifest['params'], run_dir / 'tensorboard'
  size = embedding_projector.batch_size(params.window_samples)
  batches = input_pipeline.sequential_batches(source, size)
  encoded = input_pipeline.encoded_pictures(records_folder, manifest, size) if params.images_per_window else None
  class_names = classes_of(teachers)
  return embedding_projector.Projector(
    folder, writer, batches, class_names, ids_of(manifest), params.sample_rate_hz, manifest['windows'], encoded
  )


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


def stats_header(manifest, config):
  """The part of stats.json about the whole run."""
  return {
    'num_epochs': config.epochs,
    'video_sample_period_msec': float(exact(manifest['params'].hop_seconds) * 1000),
    'batch_size': config.batch_size,
    'learning_rate': config.learning_rate,
  }


def ids_of(manifest):
  """list of str, the ids of the videos in the order of the manifest."""
  return [video['id'] for video in manifest['videos']]


def training_source(records_folder, manifest, teachers, online):
  """Source of the input pipeline: the records, or stored soft labels, which are made first if missing.

  Without teachers, the stored files hold the sound without pictures.
  """
  if online or not labelling.is_stored(records_folder, manifest, teachers):
    answers.check(records_folder, manifest, teachers)
  if online:
    return input_pipeline.record_source(records_folder, manifest)
  folder = labelling.ensure(records_folder, manifest, teachers)
  return soft_labels.label_source(folder, soft_labels.read_manifest(folder))


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
    optimizer=optimizers.optimizer(config, steps_per_epoch(manifest, config)),
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
  student_settings = student_file.StudentConfig(
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
  saved = saved_student(path, student, student_settings)
  if saved is None:
    student_file.save(path, student, student_settings)
    saved = student_file.load(path)
  exported = run_dir / 'export' / str(1 + len(settings['prolonged']))
  if exported.exists() and not export.is_whole(exported, student, student_settings):
    print(f'{exported}: damaged; it is made again', file=sys.stderr)
    export.remove(exported)
  if not exported.exists():
    exported = export.export(*saved, run_dir / 'export')
  return exported


def saved_student(path, student, settings):
  """What `student_file.load` reads, if a .keras file holds the weights of a student, and its .json the settings."""
  try:
    saved, saved_settings = student_file.load(path)
  except UserError:
    return None
  weights, saved_weights = student.get_weights(), saved.get_weights()
  same = saved_settings == settings and len(saved_weights) == len(weights)
  return (saved, saved_settings) if same and all(map(np.array_equal, saved_weights, weights)) else None
