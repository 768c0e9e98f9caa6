"""Training on AudioSet's released embeddings: a student of sound, of which what lies behind VGGish's embeddings learns.

The student is whole: VGGish's weights come with `init`, so that what is trained on embeddings hears sound afterwards.
"""

import pathlib

import keras

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings, balanced_sampling, batch_keys, class_lists, input_pipeline
from audionet_tf.data.params import RecordParams
from audionet_tf.models import vggish_attention
from audionet_tf.models.patch_classifier import RATE_HZ
from audionet_tf.teachers import frozen_teacher
from audionet_tf.training import callbacks, distribution, losses, trainer
from audionet_tf.training import resume as training_resume

STUDENT = 'vggish_attention'
SECONDS = 10.0  # of a clip


def check(options):
  """UserError for options that embeddings have no use for."""
  for name, allowed, why in (
    ('student', STUDENT, 'has the embeddings in it'),
    ('augment', {}, 'there is no sound to change'),
    ('per_frame', False, 'a clip is one window'),
    ('trainable', 'all', 'VGGish stays as it is'),
  ):
    if getattr(options, name) != allowed:
      raise UserError(f'{name} is {getattr(options, name)!r}, with embeddings allowed is {allowed!r}: {why}')
  if options.loss not in losses.MULTI_LABEL_LOSSES:
    raise UserError(f'loss is {options.loss!r}, with embeddings allowed is {" or ".join(losses.MULTI_LABEL_LOSSES)}')


def behind(student):
  """The part of a student behind VGGish, with the same variables: f32 [B, 10 x 128] in [-1, 1) to its outputs."""
  rest = keras.Model(student.get_layer(vggish_attention.SCALED).output, student.output)
  flat = keras.Input([audioset_embeddings.STEPS * audioset_embeddings.WIDTH], name='embeddings')
  steps = keras.layers.Reshape([audioset_embeddings.STEPS, audioset_embeddings.WIDTH], name='steps')(flat)
  return keras.Model(flat, rest(steps), name=student.name)


def train(paths, run_dir, options, resume=False, checkpoint_every=0):
  """Trains on TFRecord files of embeddings; as `trainer.train`, without TensorBoard.

  Args:
    paths: the files.
    run_dir, resume, checkpoint_every: as there.
    options: Options with one teacher, of which `name` and `labels`, a file of the classes, count.

  Returns:
    Path of the exported model.

  Raises:
    UserError: options that do not serve, damaged files.
  """
  check(options)
  run_dir = pathlib.Path(run_dir)
  settings_path = run_dir / trainer.SETTINGS_NAME
  if settings_path.exists() and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')
  (taught,) = options.teachers
  class_names = [name for name, _ in class_lists.vocabulary(taught.labels)]
  manifest = audioset_embeddings.read_manifest(paths, len(class_names))
  digest = digests.of_text(''.join(map(digests.of_file, paths)))
  manifest |= {'digest': digest, 'params': RecordParams(SECONDS, SECONDS, RATE_HZ, images_per_window=0)}
  description = {'source': 'embeddings', 'name': taught.name, 'outputs': batch_keys.MULTI_LABEL, 'digest': digest}
  loaded = [frozen_teacher.Teacher(taught.name, class_names, None, False, description, digest)]
  devices = distribution.make(options.replicas)
  settings = training_resume.settings_of(options, manifest, loaded, devices.num_replicas_in_sync)
  if settings_path.exists():
    training_resume.check_same(settings_path, settings)
  with devices.scope():
    student = trainer.build_student(manifest, loaded, options)
    distiller = trainer.build_distiller(manifest, loaded, options, behind(student))
  run_dir.mkdir(parents=True, exist_ok=True)
  training_resume.write(settings_path, settings)
  ids = trainer.ids_of(manifest)
  log = callbacks.RunLog(run_dir, trainer.stats_header(manifest, options), ids, manifest['windows'])
  checkpoints = callbacks.Checkpoints(run_dir, distiller, checkpoint_every)
  first_epoch = checkpoints.restore()
  log.begin(first_epoch)
  source = audioset_embeddings.source(paths, manifest, taught.name, len(class_names))
  if first_epoch < options.epochs:
    with trainer.readable(source):
      hooks = [callbacks.Guard(ids), log, checkpoints, callbacks.Progress(log, first_epoch, options.epochs)]
      batches = training_batches(source, taught.name, options, first_epoch, devices.num_replicas_in_sync)
      trainer.fit(distiller, batches, manifest, options, first_epoch, hooks)
  return trainer.finish(run_dir, student, manifest, loaded, options)


def training_batches(source, head, options, first_epoch, replicas):
  """The batches from `first_epoch` on: every clip once a pass, or classes in turn."""
  how = options.batch_size, options.seed, first_epoch, replicas
  if not options.balance:
    return input_pipeline.training_batches(source, *how)
  return balanced_sampling.training_batches(balanced_sampling.of_embeddings(source, head), head, *how)
