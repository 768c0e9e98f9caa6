"""Training on AudioSet's released embeddings: a student of sound, of which what lies behind VGGish's embeddings learns.

The student is whole: VGGish's weights come with `init`, so that what is trained on embeddings hears sound afterwards.
"""

import hashlib
import pathlib

import keras

from audionet_tf import (
  attention,
  balanced,
  callbacks,
  embedding_input,
  input_pipeline,
  labels,
  losses,
  run_settings,
  strategy,
  teacher_files,
  teachers,
  training,
)
from audionet_tf.errors import UserError
from audionet_tf.mel_patches import RATE_HZ
from audionet_tf.params import RecordParams

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
  if options.loss not in losses.LOSSES_OF_LABELS:
    raise UserError(f'loss is {options.loss!r}, with embeddings allowed is {" or ".join(losses.LOSSES_OF_LABELS)}')


def behind(student):
  """The part of a student behind VGGish, with the same variables: f32 [B, 10 x 128] in [-1, 1) to its outputs."""
  rest = keras.Model(student.get_layer(attention.SCALED).output, student.output)
  flat = keras.Input([embedding_input.STEPS * embedding_input.WIDTH], name='embeddings')
  steps = keras.layers.Reshape([embedding_input.STEPS, embedding_input.WIDTH], name='steps')(flat)
  return keras.Model(flat, rest(steps), name=student.name)


def train(paths, run_dir, options, resume=False, checkpoint_every=0):
  """Trains on TFRecord files of embeddings; as `training.train`, without TensorBoard.

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
  settings_path = run_dir / training.SETTINGS_NAME
  if settings_path.exists() and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')
  (taught,) = options.teachers
  class_names = [name for name, _ in labels.vocabulary(taught.labels)]
  manifest = embedding_input.read_manifest(paths, len(class_names))
  digest = hashlib.sha256(''.join(map(teacher_files.file_digest, map(pathlib.Path, paths))).encode()).hexdigest()
  manifest |= {'digest': digest, 'params': RecordParams(SECONDS, SECONDS, 0, RATE_HZ)}
  description = {'source': 'embeddings', 'name': taught.name, 'outputs': losses.INDEPENDENT, 'digest': digest}
  loaded = [teachers.Teacher(taught.name, class_names, None, False, description, digest)]
  devices = strategy.make(options.replicas)
  settings = run_settings.settings_of(options, manifest, loaded, devices.num_replicas_in_sync)
  if settings_path.exists():
    run_settings.check_same(settings_path, settings)
  with devices.scope():
    student = training.build_student(manifest, loaded, options)
    distiller = training.build_distiller(manifest, loaded, options, behind(student))
  run_dir.mkdir(parents=True, exist_ok=True)
  run_settings.write(settings_path, settings)
  ids = training.ids_of(manifest)
  log = callbacks.RunLog(run_dir, training.stats_header(manifest, options), ids, manifest['windows'])
  checkpoints = callbacks.Checkpoints(run_dir, distiller, checkpoint_every)
  first_epoch = checkpoints.restore()
  log.begin(first_epoch)
  source = embedding_input.source(paths, manifest, taught.name, len(class_names))
  if first_epoch < options.epochs:
    with training.readable(source):
      hooks = [callbacks.Guard(ids), log, checkpoints, callbacks.Progress(log, first_epoch, options.epochs)]
      batches = training_batches(source, taught.name, options, first_epoch, devices.num_replicas_in_sync)
      training.fit(distiller, batches, manifest, options, first_epoch, hooks)
  return training.finish(run_dir, student, manifest, loaded, options)


def training_batches(source, head, options, first_epoch, replicas):
  """The batches from `first_epoch` on: every clip once a pass, or classes in turn."""
  how = options.batch_size, options.seed, first_epoch, replicas
  if not options.balance:
    return input_pipeline.training_batches(source, *how)
  return balanced.training_batches(balanced.of_embeddings(source, head), head, *how)
