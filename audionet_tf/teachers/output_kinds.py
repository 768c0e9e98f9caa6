"""What a model's outputs are, found by asking it: logits, probabilities or scores; and the distributions they mean."""

import numpy as np
import tensorflow as tf

from audionet_tf.core import text
from audionet_tf.core.errors import UserError

SCORES = 'scores'  # of classes that do not exclude each other
SUM_TOLERANCE = 0.02  # of probabilities computed in half precision
PROBE_PIXELS = 224  # side of the probe pictures where a model takes any size


def distribution(outputs, kind, temperature=1.0):
  """Outputs [N, classes] as f32 distributions: softmax of logits; probabilities and scores to the sum of one.

  With a temperature those of logits that are divided by it; the logits of probabilities are their logarithms, and a
  class of probability 0 keeps it.
  """
  outputs = tf.cast(outputs, tf.float32)
  if kind == 'logits':
    return tf.nn.softmax(outputs / temperature)
  outputs = tf.maximum(outputs, 0.0)
  total = tf.reduce_sum(outputs, axis=-1, keepdims=True)
  classes = outputs.shape[-1]
  # Rounded to steps of 1/256, a distribution over many classes can be zero in all of them.
  rows = tf.where(total > 0, tf.math.divide_no_nan(outputs, total), 1.0 / classes)
  return rows if temperature == 1 else tf.nn.softmax(tf.math.log(rows) / temperature)


def probed_kind(source, model):
  """'logits', 'probabilities' or 'scores', from the last activation and the outputs for black, white, grey, noise and a
  gradient: the same on every run."""
  height, width = model.size or (PROBE_PIXELS, PROBE_PIXELS)
  noise = np.random.default_rng(0).integers(0, 256, [2, height, width, 3])
  gradient = np.broadcast_to(np.linspace(0, 255, width)[:, None], [height, width, 3])
  plain = [np.full([height, width, 3], level) for level in (128, 0, 255)]
  probes = np.stack([*plain, *noise, gradient]).astype(np.float32)
  try:
    outputs = np.asarray(model.outputs(tf.constant(probes)), np.float32)
  except Exception as error:  # an untrusted model may raise anything
    raise UserError(f'{source}: cannot classify pictures ({text.brief(error)})') from error
  if not np.isfinite(outputs).all():
    raise UserError(f'{source}: its outputs are not finite; its weights are damaged')
  return kind_of(outputs, model.last_activation)


def kind_of(outputs, last_activation=None):
  """'logits', 'probabilities' or 'scores' of outputs f32 [N, classes] and the last activation, None if unknown."""
  if last_activation == 'sigmoid':
    return SCORES
  if are_probabilities(outputs):
    return 'probabilities'
  is_score = (outputs >= 0).all() and (outputs <= 1).all() and last_activation != 'linear'
  return SCORES if is_score else 'logits'


def are_probabilities(outputs):
  """Whether all rows of `outputs` [N, classes] are distributions, or were before they were rounded.

  A quantised softmax gives multiples of 1/256, and of a thousand small probabilities most are rounded to zero.
  """
  sums = outputs.sum(-1)
  if (outputs < 0).any():
    return False
  rounded = (outputs * 256 == np.rint(outputs * 256)).all()
  return bool((sums < 1.1).all() if rounded else (np.abs(sums - 1) < SUM_TOLERANCE).all())
