"""Target alignment: from which pictures of a window each step of a student learns."""

import numpy as np

from audionet_tf.core.errors import UserError


def alignment(centers, hop, times, target_steps='covered'):
  """Weights of the pictures in the target of each step.

  Args:
    centers: float [S], times of the steps' centres in seconds, increasing.
    hop: seconds from one step to the next.
    times: float [T], times of the pictures in seconds.
    target_steps: key of TARGET_STEPS.

  Returns:
    f32 [S, T]; the weights of a step are equal and sum to 1.

  Raises:
    UserError: target_steps is 'same' and S is not T.
  """
  centers, times = np.asarray(centers, np.float64), np.asarray(times, np.float64)
  chosen = TARGET_STEPS[target_steps](np.abs(np.subtract.outer(centers, times)), hop)
  return (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)


def covered(distance, hop):
  """Pictures within half a hop of a step's centre, else the nearest one: distances f64 [S, T] to bool [S, T]."""
  within = distance <= hop / 2
  return np.where(within.any(1, keepdims=True), within, nearest(distance, hop))


def nearest(distance, hop):
  """The picture nearest to a step's centre: bool [S, T]."""
  return np.arange(distance.shape[1]) == distance.argmin(1)[:, None]


def same(distance, hop):
  """Picture t for step t, whatever their times, as in SoundNet's code: bool [S, T]."""
  steps, pictures = distance.shape
  if steps != pictures:
    raise UserError(
      f'the student has {steps} steps, the window {pictures} pictures; --target_steps=same needs equal numbers: '
      'change the window, or use --target_steps=covered'
    )
  return np.eye(steps, dtype=bool)


def window(distance, hop):
  """All pictures for every step, where parts of a window cannot be told by their sound: bool [S, T]."""
  return np.ones(distance.shape, bool)


TARGET_STEPS = {'covered': covered, 'nearest': nearest, 'same': same, 'window': window}


def for_student(name, params, target_steps='covered'):
  """Weights of a window's targets for each step of a student (`alignment`).

  Args:
    name: key of registry.STUDENTS.
    params: data.params.RecordParams.
    target_steps: key of TARGET_STEPS.

  Returns:
    f32 [S, A]: S steps of the student, A targets per window.

  Raises:
    UserError: the records have another sample rate than the student's, or windows that are too short for it.
  """
  from audionet_tf.models import registry  # needs TensorFlow, which those who read settings do without

  rate = registry.network(name).sample_rate_hz
  if rate not in (None, params.sample_rate_hz):
    raise UserError(
      f'{name} needs {rate} Hz, the records hold {params.sample_rate_hz} Hz; build them with --sample_rate={rate}'
    )
  centers, hop = registry.step_seconds(name, params.window_samples, params.sample_rate_hz)
  return alignment(centers, hop, [float(time) for time in params.answer_seconds(0)], target_steps)
