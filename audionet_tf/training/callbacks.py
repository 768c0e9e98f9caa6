"""Callbacks of `fit`, in this order: guard, metrics, checkpoints, progress, stop on a signal."""

import itertools
import json
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import files, interruption, text
from audionet_tf.core.errors import UserError
from audionet_tf.training import history, saved_checkpoints

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
    # The loss of the last step was computed before its update.
    diverged = [v.path for v in self.model.student.trainable_variables if not np.isfinite(v.numpy()).all()]
    if diverged:
      raise UserError(f'{", ".join(diverged)} are not finite after epoch {epoch}; lower --learning_rate')

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

  Args:
    run_dir: folder of the run.
    header: dict, the part of stats.json about the whole run.
    video_ids: list of str.
    windows: number of windows per epoch.
    validate: None, or a function that returns the metrics on held-out records, a dict of name to float; they enter the
      row as `val_<name>`.

  Attributes:
    row: dict, the line of the last epoch in metrics.jsonl.
    videos: dict, the `videos` of the last epoch in stats.json.
  """

  STATS_SECONDS = 10

  def __init__(self, run_dir, header, video_ids, windows, validate=None):
    super().__init__()
    folder = pathlib.Path(run_dir)
    self.stats_path, self.metrics_path, self.epochs_path = (
      folder / name for name in ('stats.json', 'metrics.jsonl', 'epochs.jsonl')
    )
    self.header, self.video_ids, self.windows = header, video_ids, windows
    self.validate = validate
    self.row, self.videos = None, None

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

  def begin(self, first_epoch):
    """Keeps only the lines of epochs before `first_epoch`: a killed run may have written more than its checkpoint."""
    for path in (self.metrics_path, self.epochs_path):
      with files.atomic_write(path, 'wb') as file:
        if first_epoch:
          with open(path, 'rb') as lines:
            file.writelines(itertools.islice(lines, first_epoch))
    self.write_stats()

  def on_epoch_begin(self, epoch, logs=None):
    self.began = time.monotonic()

  def on_epoch_end(self, epoch, logs=None):
    """Takes the metrics of the epoch from the Distiller, validates, and appends one line per file."""
    seconds = time.monotonic() - self.began
    model = self.model
    means = zip(self.video_ids, model.video_means.result().numpy().tolist(), strict=True)
    self.videos = {name: {model.stats_key: mean} for name, mean in means if not np.isnan(mean)}
    if model.window_means is not None:
      self.add_windows()
    self.row = {'epoch': epoch, **{name: float(m.result()) for name, m in model.means.items()}}
    self.row |= {
      'learning_rate': float(model.optimizer.learning_rate.numpy()),
      'seconds': seconds,
      'examples_per_second': self.windows / seconds,
    }
    if self.validate:
      self.row |= {VALIDATION + name: value for name, value in self.validate().items()}
    for path, row in (
      (self.epochs_path, {'videos': self.videos, 'training_time': seconds}),
      (self.metrics_path, self.row),
    ):
      with open(path, 'a') as file:
        file.write(json.dumps(row) + '\n')
    if time.monotonic() - self.written_at > self.STATS_SECONDS:
      self.write_stats()

  def add_windows(self):
    """Adds the values of single windows to `videos`."""
    values = self.model.window_means.result().numpy()
    for name, rows in zip(self.video_ids, np.split(values, self.model.window_ends[:-1]), strict=True):
      self.videos[name][f'{self.model.stats_key}_per_frame'] = rows.tolist()

  def write_stats(self):
    """Writes stats.json anew from the header and the lines of epochs.jsonl."""
    with files.atomic_write(self.stats_path) as file, open(self.epochs_path) as lines:
      file.write(json.dumps(self.header)[:-1] + ', "epochs": [')
      for number, line in enumerate(lines):
        file.write((',\n' if number else '\n') + line.rstrip('\n'))
      file.write('\n]}\n')
    self.written_at = time.monotonic()

  def on_train_end(self, logs=None):
    self.write_stats()


class Checkpoints(keras.callbacks.Callback):
  """Saves and restores all that a resumed run needs to end with the same weights as one that never stopped.

  That is: weights, optimizer, number of completed epochs, and the states of the seed generators (dropout), which Keras
  leaves out of checkpoints. The order of the data is a function of seed and epoch and needs no state.

  Args:
    run_dir: folder of the run.
    distiller: Distiller with its optimizer, both built.
    every_epochs: epochs between checkpoints; 0: at the end of an epoch once EVERY_SECONDS have passed.
  """

  EVERY_SECONDS, KEPT = 60, 3

  def __init__(self, run_dir, distiller, every_epochs=0):
    super().__init__()
    self.every_epochs = every_epochs
    self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
    rng = [v.value for v in distiller.student.variables if 'seed_generator' in v.path]
    self.checkpoint = tf.train.Checkpoint(
      student=distiller.student, optimizer=distiller.optimizer, epochs_done=self.epochs_done, rng=rng
    )
    self.folder = pathlib.Path(run_dir) / 'checkpoints'
    saved_checkpoints.list_anew(self.folder)
    self.manager = tf.train.CheckpointManager(self.checkpoint, str(self.folder), max_to_keep=self.KEPT)
    self.saved_at = time.monotonic()

  def restore(self, whole_epochs=lambda checkpointed: checkpointed):
    """Restores the newest checkpoint that can be read, if there is one.

    Args:
      whole_epochs: function from the number of epochs of the newest checkpoint to that up to which the metrics are
        whole; a later checkpoint is not used.

    Returns:
      Number of completed epochs.

    Raises:
      UserError: a checkpoint is of another student.
    """
    found = saved_checkpoints.read(self.folder)
    newest = max((epochs or 0 for _, epochs in found), default=0)
    for path, _ in saved_checkpoints.usable(found, whole_epochs(newest))[:1]:
      try:
        self.checkpoint.restore(str(path)).assert_consumed()
      except (AssertionError, ValueError) as error:
        raise UserError(f'{path}: not a checkpoint of this run ({text.brief(error)}); delete its files') from error
      saved_checkpoints.remove_older(self.folder, found, self.KEPT)
      return int(self.epochs_done.numpy())
    if found:
      print(f'{self.folder}: no checkpoint can be used; training starts again', file=sys.stderr)
    return 0

  def on_epoch_end(self, epoch, logs=None):
    due = (epoch + 1) % self.every_epochs == 0 if self.every_epochs else self.minute_over()
    if due or epoch + 1 == self.params['epochs']:
      self.save(epoch + 1)

  def save(self, epochs_done):
    """Writes a checkpoint, unless the newest one was taken after the same number of epochs."""
    if int(self.epochs_done.numpy()) == epochs_done:
      return
    self.epochs_done.assign(epochs_done)
    self.manager.save()
    self.saved_at = time.monotonic()

  def minute_over(self):
    return time.monotonic() - self.saved_at >= self.EVERY_SECONDS


class Progress(keras.callbacks.Callback):
  """The progress bar: completed epochs, rate, remaining time, metrics of the last epoch."""

  SHOWN = {
    'kl': 'KL {:.3f}',
    'cross_entropy': 'cross-entropy {:.3f}',
    'top1': 'top-1 {:.1%}',
    'squared_error': 'squared error {:.3g}',
  }

  def __init__(self, log, first_epoch, epochs):
    super().__init__()
    self.log = log
    self.bar = tqdm.tqdm(total=epochs, initial=first_epoch, unit='epoch', desc='training', mininterval=0.5)

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


class Stop(keras.callbacks.Callback):
  """Ends the run with a checkpoint after Ctrl-C or SIGTERM; must be the last callback.

  Checkpoints are taken between epochs, so the current epoch is finished first. It is abandoned if it would take longer
  than PATIENCE_SECONDS and the newest checkpoint is from its start, so that no other epoch is lost. A second signal
  ends the run at once.

  Attributes:
    number: number of the signal that was received; None before.
  """

  PATIENCE_SECONDS = 10

  def __init__(self, checkpoints):
    super().__init__()
    self.checkpoints, self.number, self.announced = checkpoints, None, False

  def on_signal(self, number, frame=None):
    """Signal handler. It prints nothing: it may have interrupted another print."""
    if self.number is not None:
      interruption.interrupt(number)
    self.number = number

  def on_epoch_begin(self, epoch, logs=None):
    self.epoch, self.began = epoch, time.monotonic()

  def on_train_batch_end(self, batch, logs=None):
    if self.number is None:
      return
    steps = self.params['steps']
    remaining_seconds = (time.monotonic() - self.began) / (batch + 1) * (steps - batch - 1)
    saved = int(self.checkpoints.epochs_done.numpy()) == self.epoch
    if saved and remaining_seconds > self.PATIENCE_SECONDS:
      interruption.interrupt(self.number)
    if not self.announced:
      self.announced = True
      tqdm.tqdm.write('finishing the epoch first; a second signal ends the run at once', file=sys.stderr)

  def on_epoch_end(self, epoch, logs=None):
    if self.number is not None:
      self.checkpoints.save(epoch + 1)
      self.model.stop_training = True
