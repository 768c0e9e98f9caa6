"""Which of the pictures of a window each step of a student learns from."""

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import registry


def alignment(centers, hop, times, target_steps='covered'):
  """Which pictures a step answers for.

  Args:
    centers: seconds of the S steps' middles, increasing.
    hop: seconds from step to step.
    times: seconds of the T pictures.
    target_steps: key of TARGET_STEPS.

  Returns:
    f32 [S, T], rows of sum 1.

  Raises:
    UserError: 'same' where S is not T.
  """
  centers, times = np.asarray(centers, np.float64), np.asarray(times, np.float64)
  chosen = TARGET_STEPS[target_steps](np.abs(np.subtract.outer(centers, times)), hop)
  return (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)


def covered(distance, hop):
  """The pictures within half a hop of the step's centre, else the nearest: bool [S, T] from seconds [S, T]."""
  within = distance <= hop / 2
  return np.where(within.any(1, keepdims=True), within, nearest(distance, hop))


def nearest(distance, hop):
  """The picture nearest to the step's centre: bool [S, T]."""
  return np.arange(distance.shape[1]) == distance.argmin(1)[:, None]


def same(distance, hop):
  """Picture t for step t, as SoundNet's code does, wherever the steps lie: bool [S, T]."""
  steps, pictures = distance.shape
  if steps != pictures:
    raise UserError(
      f'the student has {steps} steps, the window {pictures} pictures; --target_steps=same needs as many of both'
    )
  return np.eye(steps, dtype=bool)


def window(distance, hop):
  """All pictures, for every step: where a cut between them has no sound of its own. bool [S, T]."""
  return np.ones(distance.shape, bool)


TARGET_STEPS = {'covered': covered, 'nearest': nearest, 'same': same, 'window': window}


def for_student(name, params, target_steps='covered'):
  """f32 [S, A]: which of a window's A answers each of the student's S steps learns (`alignment.alignment`).

  Raises:
    UserError: sound of another rate than the student's, or too short for it.
  """
  rate = registry.network(name).sample_rate_hz
  if rate not in (None, params.sample_rate_hz):
    raise UserError(
      f'{name} hears {rate} Hz, the records hold {params.sample_rate_hz} Hz; build them with --sample_rate={rate}'
    )
  centers, hop = registry.step_seconds(name, params.window_samples, params.sample_rate_hz)
  return alignment(centers, hop, [float(time) for time in params.answer_seconds(0)], target_steps)
