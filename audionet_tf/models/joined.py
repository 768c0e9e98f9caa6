"""Students side by side in one network: each hears the same sound and predicts, and what is predicted is their mean.

Networks that err on different sounds are right together on more of them (docs/transfer.md).
"""

import dataclasses

import keras

from audionet_tf.core.errors import UserError
from audionet_tf.layers.mean_step import MeanStep
from audionet_tf.models import student_names
from audionet_tf.models.heads import LOGITS


def side_by_side(models, activations=()):
  """One network of several, with their weights.

  Args:
    models: list of keras.Model, students with the same heads.
    activations: dict of head name to key of heads.ACTIVATIONS; 'softmax' for heads that are missing.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, one step for each student, classes]
    and `embedding` f32 [B, sum of the widths], each student's part of length 1. The layers of the first student are
    called `student1_<name>`, and so on.
  """
  waveform = keras.Input([None], name='waveform')
  copies = [copy(model, waveform, f'student{number}_') for number, model in enumerate(models, 1)]
  outputs = {}
  for key in copies[0].output:
    parts = [each.output[key] for each in copies]
    if key.startswith(LOGITS):
      head = key.removeprefix(LOGITS)
      layer = MeanStep(dict(activations).get(head, 'softmax'), name=f'mean_step_{head}')
      outputs[key] = keras.layers.Concatenate(axis=1, name=f'steps_{head}', dtype='float32')([*map(layer, parts)])
  parts = [keras.layers.UnitNormalization(name=f'unit{n}')(c.output['embedding']) for n, c in enumerate(copies, 1)]
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


def join(students):
  """A student whose prediction is the mean of those of several students.

  Args:
    students: list of (keras.Model, student_file.StudentConfig), two or more.

  Returns:
    (keras.Model, StudentConfig); its `student` is their names with a + between them.

  Raises:
    UserError: they differ in sample rate, mixdown, windows or classes, or one has no classes of its own.
  """
  models, settings = zip(*students, strict=True)
  check(settings)
  names = student_names.JOINED.join(each.student for each in settings)
  return side_by_side(models, settings[0].activations), dataclasses.replace(settings[0], student=names)


def check(settings):
  """UserError unless students with these StudentConfigs can be joined."""
  first = settings[0]
  for each in settings:
    if each.embeddings or not each.classes:
      raise UserError(f'{each.student}: has no classes, whose probabilities could be averaged')
    for name in ('sample_rate_hz', 'mono', 'window_seconds'):
      values = [getattr(which, name) for which in (first, each)]
      if values[0] != values[1]:
        raise UserError(f'{name} of {first.student} is {values[0]}, of {each.student} {values[1]}; they must be equal')
    for name in ('classes', 'activations'):
      if getattr(first, name) != getattr(each, name):
        raise UserError(f'{first.student} and {each.student} have other {name}; they must have the same, in one order')
