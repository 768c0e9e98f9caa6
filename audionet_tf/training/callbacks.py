"""Callbacks of the training loop, in this order: guard, metrics, checkpoints (also on a signal), progress.

On several workers each runs them, as reading a metric sums it over all of them; only the chief writes.
"""

import itertools
import json
import pathlib
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import files, interruption, text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_folder
from audionet_tf.data import video_table
from audionet_tf.training import distribution, history, saved_checkpoints

VALIDATION = 'val_'  # prefix of the metrics on held-out records
CHECK_EVERY = 200  # steps between two checks of the loss within an epoch: a check waits for the device


class Guard(keras.callbacks.Callback):
  """Stops the run if the loss or the weights are not finite, before they are saved; the message says where."""

  def __init__(self, video_ids):
    super().__init__()
    self.video_ids = video_ids

  def on_epoch_begin(self, epoch, logs=None):
    self.epoch = epoch

  def on_train_batch_end(self, batch, logs=None):
    if batch % CHECK_EVERY == CHECK_EVERY - 1:
      self.check()

  def on_epoch_end(self, epoch, logs=None):
    self.check()
    self.check_weights(f'after epoch {epoch}')

  def check_weights(self, when):
    """UserError if weights are not finite: the loss of the last step was computed before its update."""
    diverged = [v.path for v in self.model.student.trainable_variables if not np.isfinite(v.numpy()).all()]
    if diverged:
      raise UserError(f'{", ".join(diverged)} are not finite {when}; lower --learning_rate')

  def check(self):
    """UserError that names the step and its videos, if a loss in this epoch was not finite."""
    finite_steps = self.model.finite_steps
    if not finite_steps.broken.numpy():
      return
    finite = np.isfinite(self.model.video_means.total.numpy())
    names = [name for name, is_finite in zip(self.video_ids, finite, strict=True) if not is_finite]
    raise UserError(
      f'the loss is not finite in epoch {self.epoch}, step {int(finite_steps.result())}, counted from 0 '
      f'(videos: {text.first_of(names)}); lower --learning_rate, or inspect these videos'
    )


def is_metrics(row, number):
  """Whether a value is what epoch `number` wrote to metrics.jsonl."""
  return isinstance(row, dict) and row.get('epoch') == number and 'seconds' in row


def is_epoch(row, number):
  """Whether a value is what an epoch wrote to epochs.jsonl."""
  return isinstance(row, dict) and isinstance(row.get('videos'), dict) and 'training_time' in row


class RunLog(keras.callbacks.Callback):
  """The metrics of a run: a line per epoch in metrics.jsonl and in epochs.jsonl, and the original's stats.json.

  stats.json (keys of the original's training statistics): `num_epochs`, `video_sample_period_msec`, `batch_size`,
  `learning_rate`, `epochs`: list of {`videos`: {id: {`kldiv`: mean, `kldiv_per_frame`: list, on request}},
  `training_time`: seconds}; for an autoencoder `squared_error` and `squared_error_per_frame`, for multi-label targets
  `cross_entropy` and `cross_entropy_per_frame`. The lines of epochs.jsonl are the entries of `epochs`: stats.json is
  joined from them at most once in STATS_SECONDS, so that memory does not grow with the number of epochs.

  Of more than video_table.IN_JSON videos, `videos` is empty, and `videos_file` names a Parquet file in the run with a
  row for each.

  Args:
    run_dir: folder of the run; None: nothing is written.
    header: dict, the part of stats.json about the whole run.
    video_ids: list of str.
    windows: number of windows per epoch.
    validate: None, or a function that returns the metrics on held-out records, a dict of name to float; they enter the
      row as `val_<name>`.

  Attributes:
    row: dict, the line of the last epoch in metrics.jsonl.
    videos: dict, the `videos` of the last epoch in stats.json; empty where there are too many.
  """

  STATS_SECONDS = 10

  def __init__(self, run_dir, header, video_ids, windows, validate=None):
    super().__init__()
    self.writes = run_dir is not None
    folder = pathlib.Path(run_dir or '')
    self.stats_path, self.metrics_path, self.epochs_path = (
      folder / name for name in ('stats.json', 'metrics.jsonl', 'epochs.jsonl')
    )
    self.header, self.video_ids, self.windows = header, video_ids, windows
    self.validate = validate
    self.row, self.videos = None, None
    self.seconds_before = 0.0

  def whole_epochs(self, checkpointed):
    """Number of epochs at their start that both files of lines hold; reports which file holds less than expected.

    Args:
      checkpointed: number of epochs that they should hold.
    """
    whole = checkpointed
    for path, is_row in ((self.metrics_path, is_metrics), (self.epochs_path, is_epoch)):
      count = history.whole_lines(path, is_row)
      if count < checkpointed:
        print(f'{path}: damaged after epoch {count}, the newest checkpoint is of {checkpointed}', file=sys.stderr)
      whole = min(whole, count)
    return whole

  def begin(self, first_epoch, seconds_before=0.0):
    """Keeps only the lines of epochs before `first_epoch`: a killed run may have written more than its checkpoint.

    Args:
      first_epoch: number of completed epochs.
      seconds_before: what the epoch that is resumed inside has taken already.
    """
    self.seconds_before = seconds_before
    if not self.writes:
      return
    for path in (self.metrics_path, self.epochs_path):
      with files.atomic_write(path, 'wb') as file:
        if first_epoch:
          with open(path, 'rb') as lines:
            file.writelines(itertools.islice(lines, first_epoch))
    kept = {history.videos_file(epoch) for epoch in range(first_epoch)}
    for path in (self.stats_path.parent / history.VIDEOS_FOLDER).glob('*'):
      if f'{history.VIDEOS_FOLDER}/{path.name}' not in kept:
        path.unlink()
    self.write_stats()

  def on_epoch_begin(self, epoch, logs=None):
    self.began, self.seconds_before = time.monotonic() - self.seconds_before, 0.0

  def on_epoch_end(self, epoch, logs=None):
    """Takes the metrics of the epoch from the Distiller, validates, and appends one line per file."""
    seconds = time.monotonic() - self.began
    model = self.model
    statistics = self.statistics_of_videos(epoch)
    self.videos = statistics['videos']
    self.row = {'epoch': epoch, **{name: float(m.result()) for name, m in model.means.items()}}
    self.row |= {
      'learning_rate': float(model.optimizer.learning_rate.numpy()),
      'seconds': seconds,
      'examples_per_second': self.windows / seconds,
    }
    if self.validate:
      self.row |= {VALIDATION + name: value for name, value in self.validate().items()}
    if not self.writes:
      return
    for path, row in (
      (self.epochs_path, statistics | {'training_time': seconds}),
      (self.metrics_path, self.row),
    ):
      with open(path, 'a') as file:
        file.write(json.dumps(row) + '\n')
    if time.monotonic() - self.written_at > self.STATS_SECONDS:
      self.write_stats()

  def statistics_of_videos(self, epoch):
    """The part of stats.json about the videos in an epoch: `videos`, or `videos_file`, which is written."""
    key, means = self.model.stats_key, self.model.video_means.result().numpy().astype(float)
    used = np.flatnonzero(~np.isnan(means))
    columns = {'id': [self.video_ids[row] for row in used], key: means[used]}
    if self.model.window_means is not None:
      windows = np.split(self.model.window_means.result().numpy(), self.model.window_ends[:-1])
      columns[f'{key}_per_frame'] = [windows[row] for row in used]
    if len(self.video_ids) > video_table.IN_JSON:
      name = history.videos_file(epoch)
      if self.writes:
        video_table.write_epoch(self.stats_path.parent / name, columns)
      return {'videos': {}, 'videos_file': name}
    metrics = {name: [value.tolist() for value in values] for name, values in columns.items() if name != 'id'}
    return {
      'videos': {
        name: dict(zip(metrics, values, strict=True))
        for name, *values in zip(columns['id'], *metrics.values(), strict=True)
      }
    }

  def write_stats(self):
    """Writes stats.json anew from the header and the lines of epochs.jsonl."""
    with files.atomic_write(self.stats_path) as file, open(self.epochs_path) as lines:
      file.write(json.dumps(self.header)[:-1] + ', "epochs": [')
      for number, line in enumerate(lines):
        file.write((',\n' if number else '\n') + line.rstrip('\n'))
      file.write('\n]}\n')
    self.written_at = time.monotonic()

  def on_train_end(self, logs=None):
    if self.writes:
      self.write_stats()


class Checkpoints(keras.callbacks.Callback):
  """Saves and restores all that a resumed run needs to end with the same weights as one that never stopped.

  That is: weights, optimizer, number of completed epochs and steps, the states of the seed generators (dropout), which
  Keras leaves out of checkpoints, and inside an epoch its metrics so far, of every replica. The order of the data is a
  function of seed, epoch and step and needs no state.

  A checkpoint is taken at the end of an epoch, or inside one that takes longer than `minutes`. Ctrl-C and SIGTERM take
  one after the current step and end the run; a second signal ends it at once. Several workers agree after each step, so
  that all stop after the same one.

  Args:
    run_dir: folder of the run; None: another worker keeps the checkpoints.
    distiller: Distiller with its optimizer, both built.
    every_epochs: epochs between checkpoints; 0: at the end of an epoch once `minutes` have passed.
    minutes: between checkpoints inside an epoch.
    guard: Guard that must pass before a checkpoint inside an epoch; None for none.

  Attributes:
    steps_done: number of steps of the next epoch that are completed, after `restore`.
    seconds: what they took.
    signal: number of the signal that ends the run; None before. A signal that this process gets becomes that of all
      workers when they next agree.
  """

  KEPT = 3

  def __init__(self, run_dir, distiller, every_epochs=0, minutes=1.0, guard=None):
    super().__init__()
    self.every_epochs, self.seconds_between, self.guard = every_epochs, 60 * minutes, guard
    self.distiller, self.strategy = distiller, distiller.distribute_strategy
    self.steps_done, self.seconds, self.signal, self.received = 0, 0.0, None, None
    self.metric_variables = [v.value for metric in distiller.metrics for v in metric.variables]
    self.parts = {
      'student': distiller.student,
      'optimizer': distiller.optimizer,
      'epochs_done': tf.Variable(-1, dtype=tf.int64, trainable=False),
      'rng': [v.value for v in distiller.student.variables if 'seed_generator' in v.path],
    }
    self.metric_values = distribution.replica_values(self.strategy, self.metric_variables)
    replicas = self.strategy.num_replicas_in_sync
    self.inside = {
      'steps_done': tf.Variable(0, dtype=tf.int64, trainable=False),
      'seconds': tf.Variable(0.0, dtype=tf.float64, trainable=False),
      'metrics': [tf.Variable(tf.zeros([replicas, *v.shape], v.dtype)) for v in self.metric_variables],
    }
    self.saved_at = self.began = time.monotonic()
    self.manager = None
    if run_dir is not None:
      self.checkpoint = tf.train.Checkpoint(**self.parts, **self.inside)
      self.folder = pathlib.Path(run_dir) / 'checkpoints'
      saved_checkpoints.list_anew(self.folder)
      self.manager = tf.train.CheckpointManager(self.checkpoint, str(self.folder), max_to_keep=self.KEPT)

  def restore(self, whole_epochs=lambda checkpointed: checkpointed):
    """Restores the newest checkpoint that can be read, if there is one; other workers get what the chief has read.

    Args:
      whole_epochs: function from the number of epochs of the newest checkpoint to that up to which the metrics are
        whole; a later checkpoint is not used.

    Returns:
      Number of completed epochs.

    Raises:
      UserError: a checkpoint is of another student.
    """
    epochs = self.read(whole_epochs) if self.manager else 0
    variables = [*self.distiller.student.variables, *self.distiller.optimizer.variables, *self.parts['rng']]
    variables += [self.inside['steps_done'], self.inside['seconds'], *self.inside['metrics']]
    (epochs,) = distribution.of_chief(self.strategy, bool(self.manager), [np.array([epochs])])[0].tolist()
    if distribution.is_several(self.strategy):
      values = distribution.of_chief(self.strategy, bool(self.manager), [v.numpy() for v in variables])
      for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    self.steps_done, self.seconds = (self.inside[name].numpy().item() for name in ('steps_done', 'seconds'))
    return epochs

  def read(self, whole_epochs):
    """`restore` of the worker that keeps the checkpoints."""
    found = saved_checkpoints.read(self.folder)
    newest = max((done[0] for _, done in found if done), default=0)
    for path, (epochs, steps) in saved_checkpoints.usable(found, whole_epochs(newest))[:1]:
      # Checkpoints of earlier versions are all from the end of an epoch.
      parts = self.parts | (self.inside if steps is not None else {})
      try:
        tf.train.Checkpoint(**parts).restore(str(path)).assert_consumed()
      except (AssertionError, ValueError) as error:
        raise UserError(f'{path}: not a checkpoint of this run ({text.brief(error)}); delete its files') from error
      saved_checkpoints.remove_older(self.folder, found, self.KEPT)
      self.checkpoint.save_counter.assign(saved_checkpoints.number(path))
      return epochs
    if found:
      print(f'{self.folder}: no checkpoint can be used; training starts again', file=sys.stderr)
    return 0

  def on_signal(self, number, frame=None):
    """Signal handler. It prints nothing: it may have interrupted another print."""
    if self.received is not None:
      interruption.interrupt(number)
    self.received = number

  def on_epoch_begin(self, epoch, logs=None):
    self.epoch, self.began = epoch, time.monotonic()
    if self.steps_done:
      distribution.set_replica_values(self.strategy, self.metric_variables, self.inside['metrics'])
    self.steps_done = 0

  def on_train_batch_end(self, batch, logs=None):
    if batch + 1 == self.params['steps']:
      return  # on_epoch_end comes at once
    if not self.agreed(not self.every_epochs and self.is_over(self.began)):
      return
    self.save(self.epoch, batch + 1)
    if self.signal is not None:
      interruption.interrupt(self.signal)

  def on_epoch_end(self, epoch, logs=None):
    due = (epoch + 1) % self.every_epochs == 0 if self.every_epochs else self.is_over()
    if self.agreed(due) or epoch + 1 == self.params['epochs']:
      self.save(epoch + 1)
    self.seconds = 0.0
    if self.signal is not None:
      self.model.stop_training = True

  def is_over(self, since=0.0):
    """Whether it is time for a checkpoint, and `since` is as long ago."""
    return time.monotonic() - max(self.saved_at, since) >= self.seconds_between

  def agreed(self, due):
    """Whether to save now: the chief's clock says so, or any worker has got a signal, which is a signal to all then."""
    wishes = [self.received == signal.SIGINT, self.received == signal.SIGTERM, due and self.manager is not None]
    interrupts, ends, due = distribution.total(self.strategy, [int(wish) for wish in wishes])
    if ends or interrupts:
      self.signal = signal.SIGTERM if ends else signal.SIGINT
    return ends or interrupts or due

  def save(self, epochs_done, steps_done=0):
    """Writes a checkpoint, unless the newest one is of the same epoch and step."""
    counters = self.parts['epochs_done'], self.inside['steps_done']
    if [int(x.numpy()) for x in counters] == [epochs_done, steps_done]:
      return
    for counter, value in zip(counters, (epochs_done, steps_done), strict=True):
      counter.assign(value)
    if steps_done:
      if self.guard:
        self.guard.check()
        self.guard.check_weights(f'in epoch {epochs_done}, step {steps_done - 1}')
      for kept, values in zip(self.inside['metrics'], self.metric_values(), strict=True):
        kept.assign(values)
    self.inside['seconds'].assign(self.seconds + time.monotonic() - self.began if steps_done else 0.0)
    if self.manager:
      self.manager.save()
      store_folder.publish(self.folder.parent)
    distribution.total(self.strategy, [0])  # a worker that ended now would look lost to the chief
    self.saved_at = time.monotonic()


class Progress(keras.callbacks.Callback):
  """The progress bar: completed epochs, rate, remaining time, metrics of the last epoch."""

  SHOWN = {
    'kl': 'KL {:.3f}',
    'cross_entropy': 'cross-entropy {:.3f}',
    'top1': 'top-1 {:.1%}',
    'cosine_distance': 'cosine distance {:.3f}',
    'squared_error': 'squared error {:.3g}',
  }

  def __init__(self, log, first_epoch, epochs):
    super().__init__()
    self.log = log
    self.bar = tqdm.tqdm(
      total=epochs, initial=first_epoch, unit='epoch', desc='training', mininterval=0.5, disable=not log.writes
    )

  def on_epoch_end(self, epoch, logs=None):
    row = self.log.row
    metrics = [
      prefix.replace('_', ' ') + shown.format(row[prefix + name])
      for prefix in ('', VALIDATION)
      for name, shown in self.SHOWN.items()
      if prefix + name in row
    ]
    self.bar.set_postfix_str(', '.join([*metrics, f'{row["examples_per_second"]:,.0f} windows/s']), refresh=False)
    self.bar.update()

  def on_train_end(self, logs=None):
    self.bar.close()
