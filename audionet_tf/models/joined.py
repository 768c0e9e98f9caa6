"""Trained students joined into one network: each hears the same sound, and what it predicts is the mean of theirs.

Networks that err on different sounds are right together on more of them (docs/transfer.md).
"""

import dataclasses

import keras

from audionet_tf.core.errors import UserError
from audionet_tf.layers.mean_step import MeanStep
from audionet_tf.models import student_names
from audionet_tf.models.heads import LOGITS


def join(students):
  """A student whose prediction is the mean of those of several students, each of which counts the same.

  Args:
    students: list of (keras.Model, student_settings.StudentConfig), two or more.

  Returns:
    (keras.Model, StudentConfig); its `student` is their names with a + between them.

  Raises:
    UserError: they differ in sample rate, mixdown, windows or classes, or one has no classes of its own.
  """
  models, settings = zip(*students, strict=True)
  check(settings)
  first = settings[0]
  model = side_by_side(models, {head: first.activation(head) for head in first.classes})
  teachers = {
    head: first.teachers.get(head) if all(first.teachers.get(head) == s.teachers.get(head) for s in settings) else None
    for head in first.classes
  }
  return model, dataclasses.replace(
    first, student=student_names.JOINED.join(each.student for each in settings), teachers=teachers
  )


def check(settings):
  """UserError unless students with these StudentConfigs can be joined."""
  first = settings[0]
  for each in settings:
    if student_names.JOINED in each.student:
      raise UserError(f'{each.student}: is joined already; join its students and the others at once')
    if each.embeddings or not each.classes:
      raise UserError(f'{each.student}: has no classes whose probabilities could be averaged')
    for name in ('sample_rate_hz', 'mono', 'window_seconds'):
      values = [getattr(which, name) for which in (first, each)]
      if values[0] != values[1]:
        raise UserError(f'{name} of {first.student} is {values[0]}, of {each.student} {values[1]}; they must be equal')
    heads = [[(head, names, s.activation(head)) for head, names in s.classes.items()] for s in (first, each)]
    if heads[0] != heads[1]:
      raise UserError(f'{first.student} and {each.student} differ in heads, classes or loss; they must be the same')


def side_by_side(models, activations):
  """One network of several, with their weights.

  Args:
    models: list of keras.Model, students with the same heads.
    activations: dict of head name to key of heads.ACTIVATIONS.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, 1, classes] and `embedding`
    f32 [B, sum of the widths], each student's part of length 1. The layers of the first student are called
    `student1_<name>`, and so on.
  """
  waveform = keras.Input([None], name='waveform')
  copies = [copy(model, waveform, f'student{number}_') for number, model in enumerate(models, 1)]
  outputs = {}
  for head, activation in activations.items():
    steps = [
      MeanStep(activation, name=f'student{number}_step_mean_{head}')(each.output[LOGITS + head])
      for number, each in enumerate(copies, 1)
    ]
    x = keras.layers.Concatenate(axis=1, name=f'students_{head}', dtype='float32')(steps)
    outputs[LOGITS + head] = MeanStep(activation, name=f'mean_{head}')(x)
  parts = [
    keras.layers.UnitNormalization(name=f'student{number}_unit')(each.output['embedding'])
    for number, each in enumerate(copies, 1)
  ]
  outputs['embedding'] = keras.layers.Concatenate(name='embedding')(parts)
  return keras.Model(waveform, outputs, name='joined')


def copy(model, waveform, prefix):
  """The model on another input, its layers and weights copied; `prefix` before the name of every layer."""

  def renamed(layer):
    return type(layer).from_config(layer.get_config() | {'name': prefix + layer.name})

  made = keras.models.clone_model(model, input_tensors=waveform, clone_function=renamed)
  for layer in model.layers:
    if layer.weights:
      made.get_layer(prefix + layer.name).set_weights(layer.get_weights())
  return made
