"""The teacher of a student, as the student's settings describe it.

A student may come from anyone: values are checked, and no address that it names is followed.
"""

import math

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store

# Arguments of `frozen_teacher.load`, and the digest of its weights.
KINDS = {'source': str, 'weights': str, 'labels': str, 'dtype': str, 'input_range': list, 'texts': str}
KINDS |= {'temperature': int | float, 'digest': str}
PLACES = ('source', 'weights', 'labels', 'texts')


def of_head(settings, head, advice, needed=()):
  """The teacher that taught a head.

  Args:
    settings: student_settings.StudentConfig.
    head: name of the head.
    advice: what a user can do if the teacher cannot be known, for messages.
    needed: keys of KINDS that must have a value.

  Returns:
    dict with the keys of KINDS; a value is None where the settings, such as older ones, have none. Empty if they
    record no teacher.

  Raises:
    UserError: a value is of another type, or missing.
  """
  described = settings.teachers.get(head)
  if not described:
    return {}
  about = {key: described.get(key) for key in KINDS}
  for key, value in about.items():
    if (value is None and key in needed) or not isinstance(value, KINDS[key] | None):
      raise UserError(f'the record of the teacher in the model is damaged ({key}); {advice}')
  if about['temperature'] is not None and not 0 < about['temperature'] < math.inf:
    raise UserError(f'the record of the teacher in the model is damaged (temperature); {advice}')
  return about


def refuse_addresses(about, advice):
  """UserError if a teacher, as `of_head` returns it, is in a store or on the Hub: a model makes no connection."""
  for key in PLACES:
    if object_store.is_elsewhere(object_store.named_path(about.get(key) or '')[1]):
      raise UserError(f'the teacher has its {key} at {about[key]}; {advice}')
