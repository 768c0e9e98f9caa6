"""A training run from records to an exported student: what the `train` command calls."""

import dataclasses
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from audionet_tf import (
  allocator,
  callbacks,
  input_pipeline,
  records,
  serving,
  soft_labels,
  strategy,
  students,
  summaries,
)
from audionet_tf import teachers as teachers_lib
from audionet_tf.distiller import Distiller
from audionet_tf.errors import UserError

OPTIMIZERS = {
  'sgd': lambda options: keras.optimizers.SGD(options.learning_rate, options.momentum, options.nesterov),
  'adam': lambda options: keras.optimizers.Adam(options.learning_rate, beta_1=options.momentum),
}


@dataclasses.dataclass(frozen=True)
class TeacherOptions:
  """One teacher: arguments of `teachers.load`."""

  source: str
  name: str = 'teacher'
  weights: str = 'imagenet'
  labels: str | None = None
  dtype: str = 'float32'
  input_range: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Options:
  """What decides the result of a run. The defaults are the paper's (Bryce 2018, table 3) and its code's.

  Attributes:
    student: key of students.STUDENTS.
    teachers: tuple of TeacherOptions, one head each.
    teacher_mode: 'stored' asks each teacher once and keeps its answers, 'online' asks in every step.
    epochs, batch_size, optimizer, learning_rate, momentum (Adam: beta 1), nesterov: as named.
    loss_reduction: 'sum' or 'mean' over the global batch.
    replicas: copies of the student; 0: every GPU, or the processor.
    seed: of initial weights, order of the data, dropout.
    per_frame: keep the KL of every window in stats.json.
  """

  student: str = 'audionet'
  teachers: tuple = (TeacherOptions('vgg16'),)
  teacher_mode: str = 'stored'
  epochs: int = 5000
  batch_size: int = 512
  optimizer: str = 'sgd'
  learning_rate: float = 1e-4
  momentum: float = 0.9
  nesterov: bool = True
  loss_reduction: str = 'sum'
  replicas: int = 0
  seed: int = 0
  per_frame: bool = False

  def __post_init__(self):
    for name, allowed in (
      ('student', sorted(students.STUDENTS)),
      ('teacher_mode', ['online', 'stored']),
      ('optimizer', sorted(OPTIMIZERS)),
      ('loss_reduction', ['mean', 'sum']),
    ):
      if getattr(self, name) not in allowed:
        raise UserError(f'{name} is {getattr(self, name)!r}, allowed is {" or ".join(allowed)}')
    for name, low, high in (('epochs', 1, 10**9), ('batch_size', 1, 10**6), ('momentum', 0, 0.9999)):
      if not low <= getattr(self, name) <= high:
        raise UserError(f'{name} is {getattr(self, name)}, allowed is {low} to {high}')
    if not self.learning_rate > 0:
      raise UserError(f'learning_rate is {self.learning_rate}, allowed is any number above 0')


def train(records_folder, run_dir, options, resume=False, checkpoint_every=0, profile=None, graph=False):
  """Trains a student and writes the run folder; see the `train` command for what lies in it.

  Args:
    records_folder: what tfrecords.build wrote.
    run_dir: new, or with `resume` that of a run with the same options.
    options: Options.
    resume: go on from the newest checkpoint.
    checkpoint_every: epochs between checkpoints; 0: at the first epoch's end after every minute.
    profile: None or (first, last) epoch to profile.
    graph: write the graph for TensorBoard.

  Returns:
    Path of the exported model.

  Raises:
    UserError: records, teacher or run folder do not serve; a loss that is not finite.
  """
  allocator.keep_freed_memory()
  run_dir = pathlib.Path(run_dir)
  manifest = records.read_manifest(records_folder)
  check_run_folder(run_dir, resume)
  devices = strategy.make(options.replicas)
  keras.utils.set_random_seed(options.seed)
  with devices.scope():
    teachers = [teachers_lib.load(**dataclasses.asdict(teacher)) for teacher in options.teachers]
    check_teachers(teachers, options)
    write_settings(run_dir, settings_of(options, manifest, teachers), resume)
    source = training_source(records_folder, manifest, teachers, options)
    distiller = build_distiller(manifest, teachers, options)
    log_header = {
      'num_epochs': options.epochs,
      'video_sample_period_msec': manifest['params'].window_seconds * 1000,
      'batch_size': options.batch_size,
      'learning_rate': options.learning_rate,
    }
    hooks, first_epoch = hooks_of(run_dir, distiller, manifest, log_header, options, checkpoint_every)
  if first_epoch < options.epochs:
    replicas = devices.num_replicas_in_sync
    examples = summaries.pick_examples(
      records_folder,
      manifest,
      input_pipeline.sequential_batches(source, summaries.EXAMPLE_CANDIDATES),
      distiller.targets,
    )
    class_names = {teacher.name: teacher.class_names for teacher in teachers}
    shown = summaries.Summaries(
      summaries.folder_of(run_dir), hooks[1], ids_of(manifest), class_names, examples, profile, graph
    )
    steps = -(-manifest['windows'] // options.batch_size)
    batches = input_pipeline.training_batches(source, options.batch_size, options.seed, first_epoch, replicas)
    distiller.fit(
      batches,
      initial_epoch=first_epoch,
      epochs=options.epochs,
      steps_per_epoch=steps,
      callbacks=[*hooks, shown],
      verbose=0,
      shuffle=False,
    )
  return finish(run_dir, distiller.student, manifest, teachers, options)


def ids_of(manifest):
  return [video['id'] for video in manifest['videos']]


def check_run_folder(run_dir, resume):
  if (run_dir / 'settings.json').exists() and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')
  run_dir.mkdir(parents=True, exist_ok=True)


def check_teachers(teachers, options):
  for teacher in teachers:
    if options.teacher_mode == 'online' and not teacher.in_graph:
      raise UserError(f'teacher {teacher.name}: a .tflite file cannot be asked in the step; use --teacher_mode=stored')


def settings_of(options, manifest, teachers):
  """What must agree for a run to be resumed: options, and the digests of records and teachers, not their places."""
  settings = dataclasses.asdict(options)
  for teacher, loaded in zip(settings['teachers'], teachers, strict=True):
    del teacher['source'], teacher['labels']
    teacher['digest'] = loaded.digest
    teacher['classes'] = len(loaded.class_names)
  settings['records'] = {'digest': manifest['digest'], 'windows': manifest['windows']}
  return json.loads(json.dumps(settings))


def write_settings(run_dir, settings, resume):
  """Writes settings.json, or compares with the one that is there. UserError names each difference."""
  path = run_dir / 'settings.json'
  if not (resume and path.exists()):
    callbacks.replace_text(path, json.dumps(settings, indent=1))
    return
  before, now = flat(json.loads(path.read_text())), flat(settings)
  differences = [
    f'{name} was {before.get(name)}, is {now.get(name)}'
    for name in sorted(before.keys() | now.keys())
    if before.get(name) != now.get(name)
  ]
  if differences:
    raise UserError(f'{run_dir}: cannot resume with other settings: {"; ".join(differences)}')


def flat(tree, prefix=''):
  """A nested dict or list as one dict of dotted names."""
  if not isinstance(tree, dict | list):
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {k: v for key, value in items for k, v in flat(value, f'{prefix}.{key}' if prefix else str(key)).items()}


def training_source(records_folder, manifest, teachers, options):
  """Source of the input pipeline: stored labels, made first where they are missing, or the records."""
  if options.teacher_mode == 'online':
    return input_pipeline.record_source(records_folder, manifest)
  folder = soft_labels.ensure(records_folder, manifest, teachers)
  return input_pipeline.label_source(folder, soft_labels.read_manifest(folder))


def build_distiller(manifest, teachers, options):
  """A compiled Distiller whose student and optimizer have their variables."""
  student = students.build(options.student, {teacher.name: len(teacher.class_names) for teacher in teachers})
  rows = None
  if options.per_frame:
    windows = [video['windows'] for video in manifest['videos']]
    first = [video['first_window'] for video in manifest['videos']]
    rows = (np.cumsum([0, *windows[:-1]]) - first, sum(windows))
  ask = {teacher.name: teacher.probabilities for teacher in teachers} if options.teacher_mode == 'online' else None
  heads = [teacher.name for teacher in teachers]
  distiller = Distiller(student, heads, len(manifest['videos']), options.loss_reduction, ask, rows)
  distiller.compile(
    optimizer=OPTIMIZERS[options.optimizer](options),
    jit_compile=False,  # the step gains nothing from XLA and fails with it on several replicas
  )
  distiller(tf.zeros([1, manifest['params'].window_samples]))  # else loading drops the optimizer's state
  distiller.optimizer.build(student.trainable_variables)
  return distiller


def hooks_of(run_dir, distiller, manifest, log_header, options, checkpoint_every):
  """(callbacks in their order, number of epochs done)."""
  log = callbacks.RunLog(run_dir, log_header, ids_of(manifest), manifest['windows'])
  checkpoints = callbacks.Checkpoints(run_dir, distiller, log, checkpoint_every)
  first_epoch = checkpoints.restore()
  log.begin(first_epoch)
  if first_epoch:
    print(f'resuming after epoch {first_epoch} of {options.epochs}', file=sys.stderr)
  guard = callbacks.Guard(ids_of(manifest))
  progress = callbacks.Progress(log, first_epoch, options.epochs)
  return [guard, log, checkpoints, progress], first_epoch


def finish(run_dir, student, manifest, teachers, options):
  """Writes RUN/student.keras and RUN/export/1; returns the latter's path."""
  params = manifest['params']
  settings = students.StudentSettings(
    student=options.student,
    sample_rate_hz=params.sample_rate_hz,
    mono=params.mono,
    window_seconds=params.window_seconds,
    classes={teacher.name: list(teacher.class_names) for teacher in teachers},
    teachers={teacher.name: teacher.description for teacher in teachers},
  )
  path = run_dir / 'student.keras'
  students.save(path, student, settings)
  exported = run_dir / 'export' / '1'
  if not exported.exists():
    # From the file, not from memory: free of the strategy's mirrored variables, and what a user would export.
    serving.export(*students.load(path), run_dir / 'export')
  return exported
