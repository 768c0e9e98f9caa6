"""What must agree for a run to be resumed, and the file in the run that says so."""

import dataclasses
import json

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.training import warm_start
from audionet_tf.training.config import TeacherConfig, TrainingConfig


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
  settings['init'] = warm_start.digest(options.init)
  settings['records'] = {'digest': manifest['digest'], 'windows': manifest['windows']}
  return json.loads(json.dumps(settings))


def check_same(path, settings):
  """UserError that names each difference between `settings` and those of the run at `path`."""
  try:
    before, now = flat(with_defaults(json.loads(path.read_text()))), flat(settings)
  except (json.JSONDecodeError, KeyError, TypeError):
    raise UserError(f'{path}: damaged; choose another --run_dir') from None
  differences = [
    f'{name} was {before.get(name)}, is {now.get(name)}'
    for name in sorted(before.keys() | now.keys())
    if before.get(name) != now.get(name)
  ]
  if differences:
    raise UserError(f'{path.parent}: cannot resume with other settings: {"; ".join(differences)}')


def with_defaults(settings):
  """The settings of a run that may be older than some options: those are as if they had not been given."""
  options, teacher = (
    {
      field.name: field.default
      for field in dataclasses.fields(kind)
      if field.name not in ('source', 'labels', 'weights')
    }
    for kind in (TrainingConfig, TeacherConfig)
  )
  return options | settings | {'teachers': [teacher | given for given in settings['teachers']]}


def write(path, settings):
  """Writes the settings of a new run."""
  files.write_json(path, settings)


def flat(tree, prefix=''):
  """A nested dict or list as one dict of dotted names."""
  if not isinstance(tree, dict | list):
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {k: v for key, value in items for k, v in flat(value, f'{prefix}.{key}' if prefix else str(key)).items()}
