"""Students: networks that hear. Each is a function of its heads, its layers a table.

A student is a keras.Model:
  in: `waveform` f32 [B, samples] in [-1, 1], any length from its documented minimum up;
  out: a dict: `logits/<head>` f32 [B, T, classes] for every head, `embedding` f32 [B, width].
There is one head a teacher, named as the teacher is.

Beside `X.keras` lies `X.json`: StudentSettings, what a person or a program needs to use the weights.
"""

import dataclasses
import json
import pathlib

import keras

from audionet_tf import files
from audionet_tf.errors import UserError
from audionet_tf.pooled_convolution import PooledConv1D

LOGITS = 'logits/'  # + head: key of a head's output

# Bryce 2018, table 1, and the edges of its code (REFERENCE A1.2). Shortest input: one sample.
AUDIONET = {'filters': 16, 'kernel_size': 64, 'strides': 2, 'padding': 32, 'pool_size': 8, 'pool_padding': 4}


def audionet(heads):
  """Conv1D - max pool - global average pool - dense: 18,040 parameters with one head of 1000 classes; T = 1.

  Args:
    heads: dict of head name to number of classes.
  """
  waveform = keras.Input([None], name='waveform')
  embedding = PooledConv1D(**AUDIONET, name='conv')(waveform)  # [B, 16]
  outputs = {'embedding': embedding}
  limit = AUDIONET['filters'] ** -0.5  # PyTorch's initial distribution, for weights and biases
  uniform = keras.initializers.RandomUniform(-limit, limit)
  for head, classes in heads.items():
    dense = keras.layers.Dense(
      classes, kernel_initializer=uniform, bias_initializer=uniform, dtype='float32', name=f'dense_{head}'
    )
    outputs[LOGITS + head] = keras.layers.Reshape([1, classes])(dense(embedding))  # [B, 1, classes]
  return keras.Model(waveform, outputs, name='audionet')


STUDENTS = {'audionet': audionet}


def build(name, heads):
  """The untrained student called `name`; UserError lists the known names. `heads`: dict of name to class count."""
  if name not in STUDENTS:
    raise UserError(f'student {name!r} is not known; known are {", ".join(sorted(STUDENTS))}')
  return STUDENTS[name](heads)


@dataclasses.dataclass(frozen=True)
class StudentSettings:
  """What travels with a student's weights.

  Attributes:
    student: key of STUDENTS.
    sample_rate_hz, mono: of the sound that it was trained on.
    window_seconds: length of the windows that it was trained on.
    classes: dict of head name to class names.
    teachers: dict of head name to a JSON-able description of its teacher, `teachers.Teacher.description`.
  """

  student: str
  sample_rate_hz: int
  mono: str
  window_seconds: float
  classes: dict
  teachers: dict = dataclasses.field(default_factory=dict)


def save(path, model, settings):
  """Writes `path` (.keras) and the settings beside it; neither is ever seen half-written."""
  path = pathlib.Path(path)
  with files.named_when_whole(path, 'wb') as file:
    model.save(file.name)
  with files.named_when_whole(path.with_suffix('.json')) as file:
    json.dump(dataclasses.asdict(settings), file, indent=1)


def load(path):
  """(model, settings) from `path` (.keras) and the .json beside it. UserError when either is missing or damaged."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such student; training writes it as RUN/student.keras')
  try:
    settings = StudentSettings(**json.loads(path.with_suffix('.json').read_text(encoding='utf-8')))
  except FileNotFoundError:
    raise UserError(f'{path.with_suffix(".json")}: missing; it belongs beside {path.name}') from None
  except (json.JSONDecodeError, TypeError, UnicodeDecodeError) as error:
    raise UserError(f'{path.with_suffix(".json")}: not the settings of a student ({error})') from None
  try:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
  except Exception as error:  # Keras raises whatever its parts raise: a damaged file is the user's to mend
    raise UserError(f'{path}: not a readable .keras file ({type(error).__name__}: {error})') from error
  return model, settings
