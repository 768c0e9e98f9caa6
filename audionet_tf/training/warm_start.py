"""Warm start: training starts from the weights of a trained student, for all layers or for the heads alone."""

import keras

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file
from audionet_tf.training.run_checks import initial_student

TRAINABLE = ('all', 'head')


def digest(path):
  """sha256 of the student at `path`, a RUN or a .keras file, in hex; None for None."""
  return None if path is None else digests.of_file(initial_student(path))


def copy_matching_layers(student, path, params):
  """Gives `student` the weights of every layer of the student at `path` that has the same name and shapes.

  Args:
    student: keras.Model.
    path: RUN or .keras.
    params: RecordParams of the records, whose sample rate must be that of the student at `path`.

  Returns:
    (names of the layers whose weights were copied, names of the layers whose weights are new).

  Raises:
    UserError: no such student, another sample rate, or no layer in common.
  """
  path = initial_student(path)
  trained, settings = student_file.load(path)
  if settings.sample_rate_hz != params.sample_rate_hz:
    raise UserError(
      f'{path}: takes {settings.sample_rate_hz} Hz, the records hold {params.sample_rate_hz} Hz; build them with '
      f'--sample_rate={settings.sample_rate_hz}'
    )
  stored = {layer.name: layer.get_weights() for layer in trained.layers}
  copied, new = [], []
  for layer in student.layers:
    weights = stored.get(layer.name, [])
    if not layer.weights:
      continue
    if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
      layer.set_weights(weights)
      copied.append(layer.name)
    else:
      new.append(layer.name)
  if not copied:
    raise UserError(f'{path}: a {settings.student} has no layer in common with a {student.name}')
  return copied, new


def freeze_backbone(student):
  """Freezes all layers but the heads. Frozen batch normalization keeps its statistics."""
  for layer in backbone(student):
    layer.trainable = False


def backbone(student):
  """The layers of a student up to its embedding."""
  return keras.Model(student.input, student.output['embedding']).layers
