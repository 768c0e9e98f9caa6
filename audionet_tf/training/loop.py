"""The training loop: epochs and steps of a Distiller on any strategy, one worker or several, with Keras callbacks.

Keras `fit` cannot train on several workers (keras-team/keras#20585) and cannot begin inside an epoch. The loop calls
the same `train_step`.
"""

import tensorflow as tf

from audionet_tf.training import distribution


def run(distiller, batches, hooks, epochs, steps, first_epoch=0, first_step=0):
  """Trains until `epochs` are completed, or a callback sets `distiller.stop_training`.

  Args:
    distiller: Distiller with its optimizer, both built.
    batches: endless dataset of this worker's rows, from (first_epoch, first_step) on.
    hooks: list of keras.callbacks.Callback. Only `on_train_begin`, `on_epoch_begin`, `on_train_batch_end`,
      `on_epoch_end` and `on_train_end` are called, without logs.
    epochs: number of epochs of the whole run.
    steps: number of steps per epoch.
    first_epoch, first_step: number of completed epochs, and of completed steps of the next one.
  """
  for hook in hooks:
    hook.set_model(distiller)
    hook.set_params({'epochs': epochs, 'steps': steps})
  train = _on_all_replicas(distiller, distiller.train_step)
  iterator = distribution.iterate(distiller.distribute_strategy, batches)
  distiller.stop_training = False
  for hook in hooks:
    hook.on_train_begin(None)
  for epoch in range(first_epoch, epochs):
    distiller.reset_metrics()
    for hook in hooks:
      hook.on_epoch_begin(epoch, None)
    for step in range(first_step if epoch == first_epoch else 0, steps):
      train(iterator)
      for hook in hooks:
        hook.on_train_batch_end(step, None)
    for hook in hooks:
      hook.on_epoch_end(epoch, None)
    if distiller.stop_training:
      break
  for hook in hooks:
    hook.on_train_end(None)


def evaluator(distiller):
  """A function (endless dataset of this worker's rows, number of steps) -> dict of metric to its mean."""
  test = _on_all_replicas(distiller, distiller.test_step)

  def evaluate(batches, steps):
    distiller.reset_metrics()
    iterator = distribution.iterate(distiller.distribute_strategy, batches)
    for _ in range(steps):
      test(iterator)
    return {name: float(mean.result()) for name, mean in distiller.means.items()}

  return evaluate


def _on_all_replicas(distiller, step):
  """A tf.function of an iterator that runs a step of the distiller on every replica."""

  def without_result(batch):
    step(batch)

  @tf.function(reduce_retracing=True)
  def run_step(iterator):
    distiller.distribute_strategy.run(without_result, args=(next(iterator),))

  return run_step
