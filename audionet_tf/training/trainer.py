"""A training run, from records to an exported student (its models: `run_models`); the `train` command calls it."""

import contextlib
import dataclasses
import json
import sys

import tensorflow as tf

from audionet_tf.core import files, interruption, system
from audionet_tf.core.durations import exact
from audionet_tf.core.errors import UserError
from audionet_tf.data import (
  augmentation,
  balanced_sampling,
  codec_pass,
  input_pipeline,
  records,
  soft_labels,
)
from audionet_tf.data.shards import damage
from audionet_tf.teachers import answers, frozen_teacher, labelling, teacher_config
from audionet_tf.training import callbacks, distribution, embedding_projector, loop, run_checks, run_models, tensorboard
from audionet_tf.training import resume as training_resume
from audionet_tf.training.steps import loudness


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
  teachers = run_models.load_teachers(records_folder, config, manifest, devices)
  config = dataclasses.replace(config, teachers=teacher_config.settled(config.teachers, teachers))
  if run_dir:
    run_models.report_class_names(config.teachers, teachers)
    run_models.warn_of_sample_rate(config.student, manifest['params'].sample_rate_hz)
  variants = codec_pass.ensure(records_folder, manifest) if augmentation.with_variants(config.augment) else None
  settings = training_resume.settings_of(config, manifest, teachers, devices.num_replicas_in_sync, variants)
  settings = agreed_settings(devices, task, run_dir, settings)
  source = training_source(records_folder, manifest, teachers, online)
  held_out_source = held_out and training_source(validation_folder, held_out, teachers, online)
  teachers = teachers if online else run_models.without_weights(teachers)
  with devices.scope():
    distiller = run_models.build_distiller(manifest, teachers, config)
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
  exported = run_dir and run_models.finish(run_dir, distiller.student, manifest, teachers, config, settings)
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
  whole = dataclasses.replace(config, per_frame=False)
  evaluator = run_models.new_distiller(distiller.student, manifest, teachers, whole)
  evaluator.compile(jit_compile=False)
  evaluator(tf.zeros([1, manifest['params'].window_samples]))
  evaluate = loop.evaluator(evaluator)

  def validate():
    with readable(source, folder, manifest):
      batches = input_pipeline.sequential_batches(source, config.batch_size, share).repeat()
      return evaluate(batches, config.steps_per_epoch(manifest['windows']))

  return validate


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
  progress, steps = callbacks.Progress(log, first_epoch, config.epochs), config.steps_per_epoch(manifest['windows'])
  try:
    with interruption.handled(checkpoints.on_signal):
      loop.run(distiller, batches, [*hooks, progress], config.epochs, steps, first_epoch, checkpoints.steps_done)
  finally:
    progress.bar.close()
  if checkpoints.agreed(due=False):
    interruption.interrupt(checkpoints.signal)


def readable(source, records_folder, manifest, variants=None):
  """Context in which a damaged file of the records, or of what is stored with them, raises UserError."""
  stored = variants.paths if variants else []
  paths = dict.fromkeys([*source.paths, *stored, *records.shard_paths(records_folder, manifest)])
  return damage.named(paths, damage.advice(records_folder), input_pipeline.file_reader(source))


def make_summaries(run_dir, records_folder, manifest, source, distiller, teachers, log, settings, profile, graph):
  """The tensorboard.Summaries that writes RUN/tensorboard."""
  candidates = input_pipeline.sequential_batches(source, tensorboard.candidates(manifest['params']))
  examples = tensorboard.pick_examples(records_folder, manifest, candidates, distiller.targets)
  class_names = run_models.classes_of(teachers)
  return tensorboard.Summaries(run_dir / 'tensorboard', log, class_names, examples, settings, profile, graph)


def make_projector(run_dir, writer, records_folder, manifest, source, teachers):
  """The embedding_projector.Projector that writes RUN/tensorboard/projector, and pictures."""
  params, folder = manifest['params'], run_dir / 'tensorboard'
  size = embedding_projector.batch_size(params.window_samples)
  batches = input_pipeline.sequential_batches(source, size)
  encoded = input_pipeline.encoded_pictures(records_folder, manifest, size) if params.images_per_window else None
  class_names = run_models.classes_of(teachers)
  return embedding_projector.Projector(
    folder, writer, batches, class_names, ids_of(manifest), params.sample_rate_hz, manifest['windows'], encoded
  )


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
