"""What decides the result of a run, and what must agree for a run to be resumed."""

import dataclasses
import json

import keras

from audionet_tf import files, students
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
    for name, low, high in (
      ('epochs', 1, 10**9),
      ('batch_size', 1, 10**6),
      ('momentum', 0, 0.9999),
      ('seed', 0, 2**32 - 1),
    ):
      if not low <= getattr(self, name) <= high:
        raise UserError(f'{name} is {getattr(self, name)}, allowed is {low} to {high}')
    if not self.learning_rate > 0:
      raise UserError(f'learning_rate is {self.learning_rate}, allowed is any number above 0')


def settings_of(options, manifest, teachers, replicas):
  """All that decides the result, JSON-able: options, and the digests of records and teachers, not their places.

  Args:
    options: Options.
    manifest: of the records.
    teachers: the loaded teachers, in the order of the options.
    replicas: how many there really are.
  """
  settings = dataclasses.asdict(options) | {'replicas': replicas}
  for teacher, loaded in zip(settings['teachers'], teachers, strict=True):
    for place in ('source', 'labels', 'weights'):
      del teacher[place]
    teacher['digest'] = loaded.digest
    teacher['classes'] = len(loaded.class_names)
  settings['records'] = {'digest': manifest['digest'], 'windows': manifest['windows']}
  return json.loads(json.dumps(settings))


def check_same(path, settings):
  """UserError that names each difference between `settings` and those of the run at `path`."""
  try:
    before, now = flat(json.loads(path.read_text())), flat(settings)
  except json.JSONDecodeError:
    raise UserError(f'{path}: damaged; choose another --run_dir') from None
  differences = [
    f'{name} was {before.get(name)}, is {now.get(name)}'
    for name in sorted(before.keys() | now.keys())
    if before.get(name) != now.get(name)
  ]
  if differences:
    raise UserError(f'{path.parent}: cannot resume with other settings: {"; ".join(differences)}')


def write(path, settings):
  """Writes the settings of a new run."""
  with files.named_when_whole(path) as file:
    json.dump(settings, file, indent=1)


def flat(tree, prefix=''):
  """A nested dict or list as one dict of dotted names."""
  if not isinstance(tree, dict | list):
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {k: v for key, value in items for k, v in flat(value, f'{prefix}.{key}' if prefix else str(key)).items()}
