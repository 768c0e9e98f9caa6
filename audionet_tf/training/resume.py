"""What must agree for a run to be resumed, and the file in the run that says so."""

import dataclasses
import json

from audionet_tf.core import files
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
