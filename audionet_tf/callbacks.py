"""What happens around the epochs: guard, figures of the run, checkpoints, progress. In `fit`, in this order."""

import json
import math
import os
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.errors import UserError

CHECK_EVERY = 200  # steps between two looks at the loss inside an epoch: a look waits for the device


class Guard(keras.callbacks.Callback):
  """Stops the run at a loss that is not finite, and says where, before anything of it is saved."""

  def __init__(self, video_ids):
    super().__init__()
    self.video_ids = video_ids

  def on_epoch_begin(self, epoch, logs=None):
    self.epoch = epoch

  def on_train_batch_end(self, batch, logs=None):
    if batch % CHECK_EVERY == CHECK_EVERY - 1:
      self.look()

  def on_epoch_end(self, epoch, logs=None):
    self.look()

  def look(self):
    if math.isfinite(float(self.model.means['kl'].result())):
      return
    step = int(self.model.finite_steps.result())
    values = self.model.video_kl.result().numpy()
    seen = self.model.video_kl.count.numpy() > 0
    names = [name for name, bad in zip(self.video_ids, seen & ~np.isfinite(values), strict=True) if bad]
    raise UserError(
      f'the loss is not finite in epoch {self.epoch}, step {step} (videos: {", ".join(names[:5])}'
      f'{", ..." if len(names) > 5 else ""}); lower --learning_rate, or look at these videos'
    )


class RunLog(keras.callbacks.Callback):
  """The figures of a run: a line an epoch in metrics.jsonl, the original's stats.json.

  stats.json (keys of the original's training statistics): `num_epochs`, `video_sample_period_msec`, `batch_size`,
  `learning_rate`, `epochs`: list of {`videos`: {id: {`kldiv`: mean, `kldiv_per_frame`: list, on request}},
  `training_time`: seconds}. It grows with every epoch, so it is written again at most every `STATS_SECONDS` and
  whenever a checkpoint needs it: with each checkpoint lies every epoch before it.
  """

  STATS_SECONDS = 10

  def __init__(self, run_dir, header, video_ids, windows):
    super().__init__()
    self.stats_path = pathlib.Path(run_dir) / 'stats.json'
    self.metrics_path = pathlib.Path(run_dir) / 'metrics.jsonl'
    self.header, self.video_ids, self.windows = header, video_ids, windows
    self.epochs, self.row = [], None

  def begin(self, first_epoch):
    """Keeps the figures of the epochs before `first_epoch`; a killed run may have written more."""
    lines = []
    if first_epoch:
      self.epochs = json.loads(self.stats_path.read_text())['epochs'][:first_epoch]
      lines = self.metrics_path.read_text().splitlines()[:first_epoch]
      if len(self.epochs) < first_epoch:
        raise UserError(
          f'{self.stats_path}: holds {len(self.epochs)} epochs, the checkpoint {first_epoch}; start again'
        )
    replace_text(self.metrics_path, ''.join(line + '\n' for line in lines))
    self.write_stats()

  def on_train_begin(self, logs=None):
    self.file = open(self.metrics_path, 'a')  # noqa: SIM115 closed in on_train_end

  def on_epoch_begin(self, epoch, logs=None):
    self.began = time.monotonic()

  def on_epoch_end(self, epoch, logs=None):
    seconds = time.monotonic() - self.began
    model = self.model
    values = model.video_kl.result().numpy().tolist()
    videos = {name: {'kldiv': value} for name, value in zip(self.video_ids, values, strict=True)}
    if model.window_kl is not None:
      self.add_windows(videos)
    self.epochs.append({'videos': videos, 'training_time': seconds})
    self.row = {'epoch': epoch, **{name: float(m.result()) for name, m in model.means.items()}}
    self.row |= {
      'learning_rate': float(model.optimizer.learning_rate.numpy()),
      'seconds': seconds,
      'examples_per_second': self.windows / seconds,
    }
    self.file.write(json.dumps(self.row) + '\n')
    self.file.flush()
    if time.monotonic() - self.written_at > self.STATS_SECONDS:
      self.write_stats()

  def add_windows(self, videos):
    values = self.model.window_kl.result().numpy()
    rows = self.model.first_rows.numpy()
    for video, name in enumerate(self.video_ids):
      end = rows[video + 1] if video + 1 < len(rows) else len(values)
      kl = values[rows[video] : end]
      videos[name]['kldiv_per_frame'] = kl[np.isfinite(kl)].tolist()

  def write_stats(self):
    replace_text(self.stats_path, json.dumps({**self.header, 'epochs': self.epochs}))
    self.written_at = time.monotonic()

  def on_train_end(self, logs=None):
    self.write_stats()
    self.file.close()


class Checkpoints(keras.callbacks.Callback):
  """Saves what a run needs to go on as if it had never stopped, and restores it.

  That is: weights, optimizer, number of epochs done, and the states of the seed generators (dropout), which Keras
  leaves out of checkpoints. The order of the data is a function of seed and epoch and needs no state.
  """

  EVERY_SECONDS = 60

  def __init__(self, run_dir, distiller, log, every_epochs=0):
    super().__init__()
    self.every_epochs, self.log = every_epochs, log
    self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
    rng = [v.value for v in distiller.student.variables if 'seed_generator' in v.path]
    self.checkpoint = tf.train.Checkpoint(
      student=distiller.student, optimizer=distiller.optimizer, epochs_done=self.epochs_done, rng=rng
    )
    self.manager = tf.train.CheckpointManager(
      self.checkpoint, str(pathlib.Path(run_dir) / 'checkpoints'), max_to_keep=3
    )
    self.saved_at = time.monotonic()

  def restore(self):
    """Restores the newest checkpoint, if there is one. Returns how many epochs are done."""
    if self.manager.latest_checkpoint:
      self.checkpoint.restore(self.manager.latest_checkpoint).assert_consumed()
    return int(self.epochs_done.numpy())

  def on_epoch_end(self, epoch, logs=None):
    due = (epoch + 1) % self.every_epochs == 0 if self.every_epochs else self.minute_over()
    if due or epoch + 1 == self.params['epochs']:
      self.log.write_stats()
      self.epochs_done.assign(epoch + 1)
      self.manager.save()
      self.saved_at = time.monotonic()

  def minute_over(self):
    return time.monotonic() - self.saved_at >= self.EVERY_SECONDS


class Progress(keras.callbacks.Callback):
  """One line: epochs done, rate, remaining time, figures of the last epoch."""

  def __init__(self, log, first_epoch, epochs):
    super().__init__()
    self.log = log
    self.bar = tqdm.tqdm(total=epochs, initial=first_epoch, unit='epoch', desc='training', mininterval=0.5)

  def on_epoch_end(self, epoch, logs=None):
    row = self.log.row
    self.bar.set_postfix_str(
      f'KL {row["kl"]:.3f}, top-1 {row["top1"]:.1%}, {row["examples_per_second"]:,.0f} windows/s', refresh=False
    )
    self.bar.update()

  def on_train_end(self, logs=None):
    self.bar.close()


def replace_text(path, text):
  """Writes a text file that is never seen half-written."""
  partial = path.with_name(f'.{path.name}.partial')
  partial.write_text(text)
  os.replace(partial, path)
