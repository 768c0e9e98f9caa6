"""A signature of an export, `steps`: the logits of every step, of students that have no table of where these lie.

`layers` gives them where there is such a table, and `serving_default` their means. Whoever judges step by step, as
`evaluate` does, needs what these were made of.
"""

import tensorflow as tf

from audionet_tf import students

NAME = 'steps'


def wanted(model, settings):
  """Whether an export of the student has the signature."""
  several = [head for head in settings.classes if model.output[students.LOGITS + head].shape[1] != 1]
  return bool(several) and not students.network(settings.student).layers


def concrete(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to `logits/<head>` f32 [batch, T, classes] for every head.

  Args:
    model: a student.
    settings: its StudentSettings.
  """

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def steps(waveform):
    heard = model(waveform, training=False)
    return {name: tf.cast(heard[name], tf.float32) for name in outputs(settings)}

  return steps.get_concrete_function()


def outputs(settings):
  """Names of the outputs."""
  return [students.LOGITS + head for head in settings.classes]
