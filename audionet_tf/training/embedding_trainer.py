"""Trains the layers above VGGish's embeddings on AudioSet's released embeddings.

The student is complete: VGGish's weights come with `init`, so that a student trained on embeddings takes sound.
"""

import keras

from audionet_tf.core import digests, files
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings, balanced_sampling, batch_keys, input_pipeline
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import damage
from audionet_tf.data.tables import class_lists
from audionet_tf.models.networks import vggish_attention
from audionet_tf.models.networks.patch_classifier import RATE_HZ
from audionet_tf.teachers import frozen_teacher
from audionet_tf.training import callbacks, distribution, run_checks, run_models, trainer
from audionet_tf.training import resume as training_resume
from audionet_tf.training.steps import losses

STUDENT = 'vggish_attention'
SECONDS = 10.0  # of a clip


def check(config):
  """UserError for a TrainingConfig that embeddings cannot be trained with."""
  for name, allowed, why in (
    ('student', STUDENT, 'has the embeddings in it'),
    ('augment', {}, 'there is no sound to change'),
    ('gate', 'none', 'there is no sound to measure'),
    ('per_frame', False, 'a clip is one window'),
    ('trainable', 'all', 'VGGish stays as it is'),
  ):
    if getattr(config, name) != allowed:
      raise UserError(f'{name} is {getattr(config, name)!r}, with embeddings allowed is {allowed!r}: {why}')
  if config.loss not in losses.MULTI_LABEL_LOSSES:
    raise UserError(f'loss is {config.loss!r}, with embeddings allowed is {" or ".join(losses.MULTI_LABEL_LOSSES)}')


def above_embeddings(student):
  """The layers above VGGish as a model with the same variables: f32 [B, 10 x 128] in [-1, 1) to the outputs."""
  upper = keras.Model(student.get_layer(vggish_attention.SCALED).output, student.output)
  flat = keras.Input([audioset_embeddings.STEPS * audioset_embeddings.WIDTH], name='embeddings')
  steps = keras.layers.Reshape([audioset_embeddings.STEPS, audioset_embeddings.WIDTH], name='steps')(flat)
  return keras.Model(flat, upper(steps), name=student.name)


def train(paths, run_dir, config, resume=False, checkpoint_every=0, checkpoint_minutes=1.0, task=None):
  """Trains on TFRecord files of embeddings, as `trainer.train` does on records, without TensorBoard.

  Args:
    paths: TFRecord files.
    run_dir: a new folder, or with `resume` that of a run with the same config.
    config: TrainingConfig with one teacher, of which only `name` and `labels`, the file of the classes, are used.
    resume: go on from the newest checkpoint.
    checkpoint_every, checkpoint_minutes, task: as in `trainer.train`.

  Returns:
    Path of the exported model; None for a worker that is not the chief.

  Raises:
    UserError: a config that embeddings cannot be trained with, or damaged files.
    DiskFullError: no space in the run folder.
  """
  check(config)
  with (
    files.space_in(run_dir),
    trainer.run_folder(run_dir, resume, task) as locked_dir,
    distribution.losses_named(task),
  ):
    devices = distribution.make(config.replicas, task)
    checkpointing = {'every_epochs': checkpoint_every, 'minutes': checkpoint_minutes}
    return train_locked(paths, locked_dir, config, devices, task, checkpointing)


def train_locked(paths, run_dir, config, devices, task, checkpointing):
  """`train`, in a run folder that no other training uses."""
  (teacher,) = config.teachers
  class_names = [name for name, _ in class_lists.vocabulary(teacher.labels)]
  manifest = audioset_embeddings.read_manifest(paths, len(class_names))
  digest = digests.of_text(''.join(map(digests.of_file, paths)))
  manifest |= {'digest': digest, 'params': RecordParams(SECONDS, SECONDS, RATE_HZ, images_per_window=0)}
  description = {'source': 'embeddings', 'name': teacher.name, 'outputs': batch_keys.MULTI_LABEL, 'digest': digest}
  loaded = [frozen_teacher.Teacher(teacher.name, class_names, None, False, description, digest)]
  settings = training_resume.settings_of(config, manifest, loaded, devices.num_replicas_in_sync)
  settings = trainer.agreed_settings(devices, task, run_dir, settings)
  with devices.scope():
    student = run_models.build_student(manifest, loaded, config)
    distiller = run_models.build_distiller(manifest, loaded, config, above_embeddings(student))
  if run_dir:
    training_resume.write(run_dir / run_checks.SETTINGS_NAME, settings)
  ids = trainer.ids_of(manifest)
  log = callbacks.RunLog(run_dir, trainer.stats_header(manifest, config), ids, manifest['windows'])
  checkpoints, first_epoch = trainer.restored(run_dir, distiller, log, checkpointing, config)
  source = audioset_embeddings.source(paths, manifest, teacher.name, len(class_names))
  if first_epoch < config.epochs:
    advice = 'download it again, then go on with --resume'
    with damage.named(source.paths, advice, input_pipeline.file_reader(source)):
      hooks = [checkpoints.guard, log, checkpoints]
      share = distribution.share_of(devices, task)
      batches = training_batches(source, teacher.name, config, first_epoch, share, checkpoints.steps_done)
      trainer.fit(distiller, batches, manifest, config, first_epoch, hooks, log, checkpoints)
  exported = run_dir and run_models.finish(run_dir, student, manifest, loaded, config, settings)
  distribution.total(devices, [0])  # as in `trainer.train_locked`
  return exported


def training_batches(source, head, config, first_epoch, share, first_step=0):
  """Dataset of a Share of the batches from an epoch and step on: every clip once per pass, or balanced by class."""
  arguments = config.batch_size, config.seed, first_epoch, share, None, first_step
  if not config.balance:
    return input_pipeline.training_batches(source, *arguments)
  return balanced_sampling.training_batches(balanced_sampling.of_embeddings(source, head), head, *arguments)
