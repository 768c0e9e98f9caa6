"""What must agree for a run to be resumed, and the file in the run that says so."""

import dataclasses
import json

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.teachers.teacher_config import TeacherConfig
from audionet_tf.training import warm_start
from audionet_tf.training.config import TrainingConfig


def settings_of(config, manifest, teachers, replicas):
  """All that decides the result, JSON-able: config, and the digests of records and teachers, not their places.

  Args:
    config: TrainingConfig.
    manifest: of the records.
    teachers: the loaded teachers, in the order of the config.
    replicas: how many there really are.
  """
  settings = dataclasses.asdict(config) | {'replicas': replicas}
  for teacher, loaded in zip(settings['teachers'], teachers, strict=True):
    for place in ('source', 'labels', 'weights'):
      del teacher[place]
    teacher['digest'] = loaded.digest
    teacher['classes'] = len(loaded.class_names)
  settings['init'] = warm_start.digest(config.init)
  settings['records'] = {'digest': manifest['digest'], 'windows': manifest['windows']}
  return json.loads(json.dumps(settings))


def resumed(path, settings):
  """The settings of a new run, or of the one at `path` that goes on; more epochs prolong it where they may.

  A learning rate that depends on the number of epochs was another one from the first step on, so only a constant one
  allows more. `prolonged` lists the numbers of epochs after which the run was exported and then went on.

  Args:
    path: of the run's settings.json.
    settings: of `settings_of`.

  Raises:
    UserError: another setting than that of the run, with the reason why that matters.
  """
  if not path.exists():
    return settings | {'prolonged': []}
  try:
    stored = with_defaults(json.loads(path.read_text()))
    before, now = flat(stored), flat(settings)
    prolonged = stored.pop('prolonged', [])
    longer = settings['epochs'] > stored['epochs'] and settings['schedule'] == 'constant'
    exported = (path.parent / 'export' / str(1 + len(prolonged))).is_dir()
  except (json.JSONDecodeError, KeyError, TypeError):
    raise UserError(f'{path}: damaged; choose another --run_dir') from None
  names = sorted(name for name in before.keys() | now.keys() if not name.startswith('prolonged'))
  differences = [name for name in names if before.get(name) != now.get(name) and not (name == 'epochs' and longer)]
  if differences:
    changes = '; '.join(f'{name} was {before.get(name)}, is {now.get(name)}' for name in differences)
    why = 'a resumed run ends as if it had never stopped'
    if differences == ['epochs'] and settings['epochs'] > stored['epochs']:
      why = f'the learning rate of --schedule={settings["schedule"]} depends on the number of epochs'
    elif differences == ['epochs']:
      why = 'a run cannot be shortened'
    raise UserError(
      f'{path.parent}: cannot resume with other settings: {changes} ({why}); use those of the run, or another --run_dir'
    )
  return settings | {'prolonged': [*prolonged, stored['epochs']] if longer and exported else prolonged}


def with_defaults(settings):
  """The settings of a run that may be older than some fields: those have their defaults."""
  config, teacher = (
    {
      field.name: field.default
      for field in dataclasses.fields(kind)
      if field.name not in ('source', 'labels', 'weights')
    }
    for kind in (TrainingConfig, TeacherConfig)
  )
  return config | settings | {'teachers': [teacher | stored for stored in settings['teachers']]}


def write(path, settings):
  """Writes the settings of a run."""
  files.write_json(path, settings)


def flat(tree, prefix=''):
  """A nested dict or list as one dict of dotted names."""
  if not isinstance(tree, dict | list):
    return {prefix: tree}
  items = tree.items() if isinstance(tree, dict) else enumerate(tree)
  return {k: v for key, value in items for k, v in flat(value, f'{prefix}.{key}' if prefix else str(key)).items()}
