"""The settings of a student, in the .json beside its .keras file and in its export. Read without TensorFlow."""

import dataclasses
import json
import pathlib

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.models import alignment, student_paths

ACTIVATIONS = ('softmax', 'sigmoid')  # of a head, whose functions are in heads.ACTIVATIONS


def check_names(path, settings):
  """UserError where the student at `path` has no classes."""
  if not settings.classes and settings.embeddings:
    raise UserError(f'{path}: has no classes yet; commands name them by --classes=words.txt (docs/words.md)')
  if not settings.classes:
    raise UserError(f'{path}: {settings.student} has no classes; use features or probe, which read its layers')


@dataclasses.dataclass(frozen=True)
class StudentConfig:
  """What travels with a student's weights.

  Attributes:
    student: key of registry.STUDENTS.
    sample_rate_hz: int, of the sound that it was trained on.
    mono: 'mean' or 'first', how that sound was mixed down.
    window_seconds: length of the windows that it was trained on.
    classes: dict of head name to list of class names; empty for a student without heads.
    teachers: dict of head name to a description of its teacher that JSON can hold (`frozen_teacher.Teacher`).
    target_steps: key of alignment.TARGET_STEPS: which targets its steps were trained on.
    activations: dict of head name to one of ACTIVATIONS; 'softmax' for heads that are missing.
    embeddings: dict of the name of a head that learned embeddings of pictures to their width. It has no classes until
      it gets some (`words`).

  Raises:
    TypeError: activations or embeddings are not such a dict.
  """

  student: str
  sample_rate_hz: int
  mono: str
  window_seconds: float
  classes: dict
  teachers: dict = dataclasses.field(default_factory=dict)
  target_steps: str = 'covered'
  activations: dict = dataclasses.field(default_factory=dict)
  embeddings: dict = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if not isinstance(self.activations, dict) or not set(self.activations.values()) <= {*ACTIVATIONS}:
      raise TypeError(f'activations are {text.brief_value(self.activations)}, allowed are {", ".join(ACTIVATIONS)}')

    if not isinstance(self.embeddings, dict) or not all(type(width) is int for width in self.embeddings.values()):
      raise TypeError(f'embeddings are {text.brief_value(self.embeddings)}, expected is a width for each head')

  def activation(self, head):
    """The activation of a head, one of ACTIVATIONS."""
    return self.activations.get(head, 'softmax')

  def probabilities(self, head, logits):
    """Probabilities of a head: logits f32 [..., classes] to f32 [..., classes]."""
    from audionet_tf.models import heads  # needs TensorFlow

    return heads.ACTIVATIONS[self.activation(head)](logits)


def read_settings(path):
  """The StudentConfig beside a .keras file. UserError: a file is missing, or it is damaged."""
  path = pathlib.Path(path)
  student_paths.require_student(path)
  return settings_in(path.with_suffix('.json'))


def settings_in(file):
  """The StudentConfig in a JSON file, which is untrusted input. UserError: it is none, or damaged."""
  try:
    settings = StudentConfig(**json.loads(file.read_text(encoding='utf-8')))
    check_values(settings)
    framing = {name: getattr(settings, name) for name in ('window_seconds', 'sample_rate_hz', 'mono')}
    params.Framing(**framing)
  except (ValueError, TypeError, RecursionError) as error:
    raise UserError(f'{file}: not the settings of a student ({text.brief(error)})') from None
  return settings


def check_values(settings):
  """TypeError or ValueError: a StudentConfig has values of other forms than its attributes have."""
  classes, teachers = settings.classes, settings.teachers
  possible = {
    'student': isinstance(settings.student, str),
    'sample_rate_hz': type(settings.sample_rate_hz) is int,
    'window_seconds': type(settings.window_seconds) in (int, float),
    'classes': isinstance(classes, dict) and all(isinstance(names, list) and names for names in classes.values()),
    'teachers': isinstance(teachers, dict) and all(isinstance(each, dict | None) for each in teachers.values()),
    'target_steps': isinstance(settings.target_steps, str) and settings.target_steps in alignment.TARGET_STEPS,
  }
  for name, is_possible in possible.items():
    if not is_possible:
      raise TypeError(f'{name} is {text.brief_value(getattr(settings, name))}')
  for name in (settings.student, *classes, *(name for names in classes.values() for name in names)):
    if not isinstance(name, str):
      raise TypeError(f'a class is called {text.brief_value(name)}')
    name.encode()  # UnicodeEncodeError, a ValueError: no text file could hold it
