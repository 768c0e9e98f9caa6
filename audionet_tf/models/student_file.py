"""A student on disk: `X.keras`, and beside it `X.json`, a StudentConfig."""

import dataclasses
import json
import pathlib

import keras

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.models import (
  heads,
  student_paths,
)


def check_names(path, settings):
  """UserError where the student at `path` has no classes to name."""
  if not settings.classes:
    raise UserError(f'{path}: {settings.student} names nothing; features and probe read its layers')


@dataclasses.dataclass(frozen=True)
class StudentConfig:
  """What travels with a student's weights.

  Attributes:
    student: key of STUDENTS.
    sample_rate_hz, mono: of the sound that it was trained on.
    window_seconds: length of the windows that it was trained on.
    classes: dict of head name to class names; empty of a student without heads.
    teachers: dict of head name to a JSON-able description of its teacher, `teachers.Teacher.description`.
    target_steps: key of alignment.TARGET_STEPS: which answers its steps were taught.
    activations: dict of head name to key of heads.ACTIVATIONS; softmax where it is not named.
  """

  student: str
  sample_rate_hz: int
  mono: str
  window_seconds: float
  classes: dict
  teachers: dict = dataclasses.field(default_factory=dict)
  target_steps: str = 'covered'
  activations: dict = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if not isinstance(self.activations, dict) or not set(self.activations.values()) <= heads.ACTIVATIONS.keys():
      raise TypeError(f'activations are {self.activations}, allowed are {", ".join(heads.ACTIVATIONS)}')

  def activation(self, head):
    """Key of losses.ACTIVATIONS."""
    return self.activations.get(head, 'softmax')

  def probabilities(self, head, logits):
    """What a head's logits f32 [..., classes] say, f32 [..., classes]."""
    return heads.ACTIVATIONS[self.activation(head)](logits)


def save(path, model, settings):
  """Writes `path` (.keras) and the settings beside it; neither is ever seen half-written."""
  path = pathlib.Path(path)
  with files.atomic_write(path, 'wb') as file:
    model.save(file.name)
  files.write_json(path.with_suffix('.json'), dataclasses.asdict(settings))


def load(path):
  """(model, settings) from `path` (.keras) and the .json beside it. UserError when either is missing or damaged."""
  path = pathlib.Path(path)
  student_paths.require_student(path)
  try:
    settings = StudentConfig(**json.loads(path.with_suffix('.json').read_text(encoding='utf-8')))
  except (ValueError, TypeError) as error:
    raise UserError(f'{path.with_suffix(".json")}: not the settings of a student ({error})') from None
  try:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
  except Exception as error:  # Keras raises whatever its parts raise: a damaged file is the user's to mend
    raise UserError(f'{path}: not a readable .keras file ({text.brief(error)})') from error
  return model, settings
