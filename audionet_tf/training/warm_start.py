"""Where a student's training begins: from a trained student's weights, all of it or its heads alone."""

import keras

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file, student_paths

TRAINABLE = ('all', 'head')


def student_path(path):
  """The .keras file of a RUN or of a student. UserError where there is none."""
  path = student_paths.resolve(path)
  if not path.is_file():
    raise UserError(f'{path}: no such student to begin from; expected is a run or a student.keras')
  return path


def digest(path):
  """sha256 of the student that `path`, a RUN or a .keras file, begins from; None for None."""
  return None if path is None else digests.of_file(student_path(path))


def copy_matching_layers(student, path, params):
  """Gives `student` the weights of every layer of the student at `path` that has the same name and shapes.

  Args:
    student: keras.Model.
    path: RUN or .keras.
    params: RecordParams of the records: sound of another rate is no beginning.

  Returns:
    (names of the layers taken over, names of the layers with weights that are new).

  Raises:
    UserError: no such student, another sample rate, nothing in common.
  """
  path = student_path(path)
  begun, settings = student_file.load(path)
  if settings.sample_rate_hz != params.sample_rate_hz:
    raise UserError(
      f'{path}: hears {settings.sample_rate_hz} Hz, the records hold {params.sample_rate_hz} Hz; build them with '
      f'--sample_rate={settings.sample_rate_hz}'
    )
  theirs = {layer.name: layer.get_weights() for layer in begun.layers}
  taken, new = [], []
  for layer in student.layers:
    weights = theirs.get(layer.name, [])
    if not layer.weights:
      continue
    if [w.shape for w in weights] == [tuple(w.shape) for w in layer.weights]:
      layer.set_weights(weights)
      taken.append(layer.name)
    else:
      new.append(layer.name)
  if not taken:
    raise UserError(f'{path}: a {settings.student} has no layer in common with a {student.name}')
  return taken, new


def freeze_backbone(student):
  """Leaves only the heads to be trained: what lies behind the embedding. Batch normalization keeps its statistics."""
  for layer in body(student):
    layer.trainable = False


def body(student):
  """The layers that lead to the embedding of a student."""
  return keras.Model(student.input, student.output['embedding']).layers
