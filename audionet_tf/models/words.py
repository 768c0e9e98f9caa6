"""Classes for a student that learned embeddings of pictures: its head's vectors, compared with those of the classes.

The result is an ordinary student: it is saved, exported and served as any other, and needs no text model.
"""

import dataclasses

import keras

from audionet_tf.core.errors import UserError
from audionet_tf.layers import nearest_text
from audionet_tf.models.heads import LOGITS

VECTORS = 'vectors/'  # + head: key of the vectors of a head with classes


def head_of(path, settings):
  """Name of the first head that learned embeddings. UserError: the student at `path` has none."""
  for head in settings.embeddings:
    return head
  raise UserError(
    f'{path}: learned no embeddings of pictures, so its classes cannot be chosen afterwards; train a student with '
    '--teacher=embedding:clip:PRESET'
  )


def vectors_of(outputs, head):
  """The vectors [B, T, width] of a head that learned embeddings, with or without classes; of outputs or of symbols."""
  return outputs[VECTORS + head] if VECTORS + head in outputs else outputs[LOGITS + head]


def with_classes(model, settings, head, table):
  """A student whose head predicts the classes of a table; classes that the head had are replaced.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
    head: key of `settings.embeddings`.
    table: word_tables.WordTable of the head's width, with a temperature.

  Returns:
    (keras.Model, StudentConfig); the head with the classes is the first.

  Raises:
    UserError: the table has vectors of another width.
  """
  x = vectors_of(model.output, head)
  if x.shape[-1] != table.vectors.shape[1]:
    raise UserError(
      f'the vectors of the classes have {table.vectors.shape[1]} numbers, those of the student {x.shape[-1]}; both '
      'must come from one model'
    )
  layer = nearest_text.NearestText(len(table.names), table.temperature, name=f'classes_{head}')
  outputs = model.output | {LOGITS + head: layer(x), VECTORS + head: x}
  layer.set_weights([table.vectors.T])
  others = {name: names for name, names in settings.classes.items() if name != head}
  activations = {name: kind for name, kind in settings.activations.items() if name != head}
  changed = dataclasses.replace(settings, classes={head: list(table.names)} | others, activations=activations)
  return keras.Model(model.input, outputs, name=model.name), changed
