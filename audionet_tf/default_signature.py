"""The first signature of an export, `serving_default`: a batch of sounds to answers. `serving` lists them."""

import tensorflow as tf

from audionet_tf import students

TOP = 5


def concrete(model, settings):
  """The concrete function: `waveform` f32 [batch, samples] to answers.

  Args:
    model: a student.
    settings: its StudentSettings.
  """

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name='waveform')])
  def serving_default(waveform):
    heard = model(waveform, training=False)
    logits = {head: heard[students.LOGITS + head] for head in settings.classes}  # [batch, T, classes]
    return answers(logits, settings) | {'embedding': tf.cast(heard['embedding'], tf.float32)}

  return serving_default.get_concrete_function()


def answers(logits, settings):
  """dict of what the heads answer, the mean over their steps; empty where there are none."""
  if not logits:
    return {}
  first, names = next(iter(settings.classes.items()))
  outputs = {f'{head}/probabilities': tf.reduce_mean(settings.probabilities(head, x), 1) for head, x in logits.items()}
  probabilities = outputs[f'{first}/probabilities'] if len(logits) > 1 else outputs.popitem()[1]
  top_probabilities, top = tf.math.top_k(probabilities, min(TOP, len(names)))  # [batch, 5]
  return outputs | {
    'probabilities': probabilities,
    'logits': tf.reduce_mean(logits[first], 1),
    'top_classes': tf.gather(tf.constant(names), top),
    'top_probabilities': top_probabilities,
  }
