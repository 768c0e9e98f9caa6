"""The settings that must agree for a run to be resumed, and their file in the run, settings.json."""

import dataclasses
import json

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys
from audionet_tf.teachers.teacher_config import TeacherConfig
from audionet_tf.training import warm_start
from audionet_tf.training.config import TrainingConfig

# Fields of TeacherConfig: the teacher's digest is kept in their place.
PATHS = ('source', 'labels', 'weights', 'texts')


def settings_of(config, manifest, teachers, replicas, variants=None):
  """All that decides the result of a run: the config, and digests of records and teachers in place of their paths.

  Args:
    config: TrainingConfig.
    manifest: of the records.
    teachers: list of frozen_teacher.Teacher, in the order of the config.
    replicas: number of replicas in use.
    variants: None, or the codec_variants.Variants that replace sound.

  Returns:
    dict that JSON can hold.
  """
  settings = dataclasses.asdict(config) | {'replicas': replicas}
  for teacher, loaded in zip(settings['teachers'], teachers, strict=True):
    for path_field in PATHS:
      del teacher[path_field]
    teacher['digest'] = loaded.digest
    teacher['classes'] = len(loaded.class_names)
    if loaded.description['outputs'] == batch_keys.EMBEDDING:  # the digest of a file is that of its distributions, too
      teacher['outputs'] = batch_keys.EMBEDDING
  settings['init'] = warm_start.digest(config.init)
  settings['records'] = {'digest': manifest['digest'], 'windows': manifest['windows']}
  if variants:
    settings['codec_variants'] = variants.digest
  return json.loads(json.dumps(settings))


def resumed(path, settings):
  """The settings of a new run, or of a resumed one, which may have more epochs if its learning rate allows that.

  A schedule that depends on the number of epochs would have given other learning rates from the first step on, so only
  a constant learning rate allows more epochs.

  Args:
    path: of the run's settings.json.
    settings: from `settings_of`.

  Returns:
    `settings` with `prolonged`, the list of numbers of epochs after which the run was exported and then prolonged.

  Raises:
    UserError: a setting differs from that of the run; the message says why that matters. Or the file is damaged.
  """
  if not path.exists():
    return settings | {'prolonged': []}
  try:
    stored = with_defaults(json.loads(path.read_text(encoding='utf-8')))
    before, after = flat(stored), flat(settings)
    prolonged = stored.pop('prolonged', [])
    longer = settings['epochs'] > stored['epochs'] and settings['schedule'] == 'constant'
    exported = (path.parent / 'export' / str(1 + len(prolonged))).is_dir()
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    raise UserError(f'{path}: damaged; choose another --run_dir') from None
  names = sorted(name for name in before.keys() | after.keys() if not name.startswith('prolonged'))
  differences = [name for name in names if before.get(name) != after.get(name) and not (name == 'epochs' and longer)]
  if differences:
    changes = '; '.join(f'{name} was {before.get(name)}, is {after.get(name)}' for name in differences)
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
  """The stored settings of a run, with the defaults of fields that are newer than the run."""
  config, teacher = (
    {field.name: field.default for field in dataclasses.fields(kind) if field.name not in PATHS}
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
