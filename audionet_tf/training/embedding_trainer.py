"""Trains the layers above VGGish's embeddings on AudioSet's released embeddings.

The student is whole: VGGish's weights come with `init`, so that what is trained on embeddings takes sound afterwards.
"""

import keras

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings, balanced_sampling, batch_keys, class_lists, input_pipeline
from audionet_tf.data.params import RecordParams
from audionet_tf.models import vggish_attention
from audionet_tf.models.patch_classifier import RATE_HZ
from audionet_tf.teachers import frozen_teacher
from audionet_tf.training import callbacks, distribution, losses, run_checks, trainer
from audionet_tf.training import resume as training_resume

STUDENT = 'vggish_attention'
SECONDS = 10.0  # of a clip


def check(config):
  """UserError for config that embeddings have no use for."""
  for name, allowed, why in (
    ('student', STUDENT, 'has the embeddings in it'),
    ('augment', {}, 'there is no sound to change'),
    ('per_frame', False, 'a clip is one window'),
    ('trainable', 'all', 'VGGish stays as it is'),
  ):
    if getattr(config, name) != allowed:
      raise UserError(f'{name} is {getattr(config, name)!r}, with embeddings allowed is {allowed!r}: {why}')
  if config.loss not in losses.MULTI_LABEL_LOSSES:
    raise UserError(f'loss is {config.loss!r}, with embeddings allowed is {" or ".join(losses.MULTI_LABEL_LOSSES)}')


def behind(student):
  """The part of a student behind VGGish, with the same variables: f32 [B, 10 x 128] in [-1, 1) to its outputs."""
  upper = keras.Model(student.get_layer(vggish_attention.SCALED).output, student.output)
  flat = keras.Input([audioset_embeddings.STEPS * audioset_embeddings.WIDTH], name='embeddings')
  steps = keras.layers.Reshape([audioset_embeddings.STEPS, audioset_embeddings.WIDTH], name='steps')(flat)
  return keras.Model(flat, upper(steps), name=student.name)


def train(paths, run_dir, config, resume=False, checkpoint_every=0):
  """Trains on TFRecord files of embeddings; as `trainer.train`, without TensorBoard.

  Args:
    paths: the files.
    run_dir: new, or with `resume` that of a run with the same config.
    resume: go on from the newest checkpoint.
    checkpoint_every: epochs between checkpoints; 0: at the first epoch's end after every minute.
    config: TrainingConfig with one teacher, of which `name` and `labels`, a file of the classes, count.

  Returns:
    Path of the exported model.

  Raises:
    UserError: config that do not serve, damaged files.
  """
  check(config)
  run_dir = run_checks.check_run_folder(run_dir, resume)
  (taught,) = config.teachers
  class_names = [name for name, _ in class_lists.vocabulary(taught.labels)]
  manifest = audioset_embeddings.read_manifest(paths, len(class_names))
  digest = digests.of_text(''.join(map(digests.of_file, paths)))
  manifest |= {'digest': digest, 'params': RecordParams(SECONDS, SECONDS, RATE_HZ, images_per_window=0)}
  description = {'source': 'embeddings', 'name': taught.name, 'outputs': batch_keys.MULTI_LABEL, 'digest': digest}
  loaded = [frozen_teacher.Teacher(taught.name, class_names, None, False, description, digest)]
  devices = distribution.make(config.replicas)
  settings = training_resume.settings_of(config, manifest, loaded, devices.num_replicas_in_sync)
  settings = training_resume.resumed(run_dir / run_checks.SETTINGS_NAME, settings)
  with devices.scope():
    student = trainer.build_student(manifest, loaded, config)
    distiller = trainer.build_distiller(manifest, loaded, config, behind(student))
  run_dir.mkdir(parents=True, exist_ok=True)
  training_resume.write(run_dir / run_checks.SETTINGS_NAME, settings)
  ids = trainer.ids_of(manifest)
  log = callbacks.RunLog(run_dir, trainer.stats_header(manifest, config), ids, manifest['windows'])
  checkpoints, first_epoch = trainer.restored(run_dir, distiller, log, checkpoint_every, config)
  source = audioset_embeddings.source(paths, manifest, taught.name, len(class_names))
  if first_epoch < config.epochs:
    with trainer.readable(source):
      hooks = [callbacks.Guard(ids), log, checkpoints]
      batches = training_batches(source, taught.name, config, first_epoch, devices.num_replicas_in_sync)
      trainer.fit(distiller, batches, manifest, config, first_epoch, hooks, log, checkpoints)
  return trainer.finish(run_dir, student, manifest, loaded, config, settings)


def training_batches(source, head, config, first_epoch, replicas):
  """The batches from `first_epoch` on: every clip once per pass, or classes in turn."""
  how = config.batch_size, config.seed, first_epoch, replicas
  if not config.balance:
    return input_pipeline.training_batches(source, *how)
  return balanced_sampling.training_batches(balanced_sampling.of_embeddings(source, head), head, *how)
