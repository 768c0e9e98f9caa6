"""The parts of the benchmark that need TensorFlow, each in a process of its own; started by the benchmark.

scripts/lib/run benchmark.tensorflow epoch RECORDS RUNS EPOCHS   turns: seconds per epoch of the training command
scripts/lib/run benchmark.tensorflow stock WINDOWS EPOCHS        turns: the same of stock Keras layers in a plain fit
scripts/lib/run benchmark.tensorflow pipeline RECORDS REPEATS BATCHES   turns: windows per second of the input pipeline
scripts/lib/run benchmark.tensorflow model FOLDER                an exported student of 1000 classes
"""

import dataclasses
import itertools
import pathlib
import sys
import time

import keras
import numpy as np

from audionet_tf.core import system
from audionet_tf.data import input_pipeline, records, soft_labels
from audionet_tf.models import registry, student_settings
from audionet_tf.saved_model import export
from audionet_tf.teachers import frozen_teacher, labelling
from audionet_tf.training import callbacks, config, distribution, run_models, trainer
from benchmark import measure

BATCH, SAMPLES, CLASSES = 512, 640, 1000
WARM_UP_EPOCHS = 5
# After epoch 1,000 no more of TensorBoard's rare pictures (epochs 1, 2, 5, ... 1000) are drawn.
FIRST_EPOCH = 1100


class Stamps(keras.callbacks.Callback):
  """The times at which epochs end. Comes after the callbacks of a run, so that their work counts."""

  def on_train_begin(self, logs=None):
    self.seconds = []

  def on_epoch_end(self, epoch, logs=None):
    self.seconds.append(time.perf_counter())

  def per_epoch(self):
    """Seconds per epoch after the warm-up, without the last epoch, which saves a checkpoint."""
    counted = self.seconds[WARM_UP_EPOCHS - 1 : -1]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


def random_teacher():
  """A teacher of 1000 classes with random, instant predictions."""
  rng = np.random.default_rng(0)

  def probabilities(images):
    odds = np.exp(3 * rng.normal(size=[len(images), CLASSES]))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

  return frozen_teacher.Teacher(
    'teacher', [f'class {i}' for i in range(CLASSES)], probabilities, False, {'outputs': 'probabilities'}, 'random'
  )


def stored_labels(records_folder):
  """(manifest of the records, source of the stored labels, the teacher)."""
  manifest, teacher = records.read_manifest(records_folder), random_teacher()
  folder = labelling.ensure(records_folder, manifest, [teacher])
  stored = soft_labels.read_manifest(folder)
  return manifest, soft_labels.label_source(folder, stored), teacher


def epoch(records_folder, runs_folder, epochs):
  """Trains as audionet_tf.training.trainer.train does, every turn in a run folder of its own."""
  system.keep_freed_memory()
  last = FIRST_EPOCH + WARM_UP_EPOCHS + int(epochs) + 1
  run_config = config.TrainingConfig(epochs=last, batch_size=BATCH)
  devices = distribution.make(run_config.replicas)
  manifest, source, teacher = stored_labels(records_folder)
  with devices.scope():
    distiller = run_models.build_distiller(manifest, [teacher], run_config)
  run_dirs = (pathlib.Path(runs_folder) / f'run{number}' for number in itertools.count())

  def turn():
    run_dir = next(run_dirs)
    run_dir.mkdir(parents=True)
    ids = trainer.ids_of(manifest)
    log = callbacks.RunLog(run_dir, {'num_epochs': last}, ids, manifest['windows'])
    log.begin(0)
    summaries = trainer.make_summaries(
      run_dir, records_folder, manifest, source, distiller, [teacher], log, {'augment': {}}, None, False
    )
    checkpoints = callbacks.Checkpoints(run_dir, distiller)
    hooks = [callbacks.Guard(ids), log, checkpoints, summaries, stamps := Stamps()]
    share = distribution.share_of(devices, None)
    batches = trainer.training_batches(records_folder, manifest, source, run_config, FIRST_EPOCH, share)
    trainer.fit(distiller, batches, manifest, run_config, FIRST_EPOCH, hooks, log, checkpoints)
    return stamps.per_epoch()

  measure.answer_turns(turn)


def stock(windows, epochs):
  """The closest network of stock Keras layers, on arrays in memory; 'same' padding of the pool differs at the edges."""
  rng = np.random.default_rng(0)
  audio = rng.uniform(-1, 1, [int(windows), SAMPLES, 1]).astype(np.float32)
  teacher = rng.dirichlet(np.full(CLASSES, 0.1), int(windows)).astype(np.float32)
  layers = keras.layers
  model = keras.Sequential(
    [
      keras.Input([SAMPLES, 1]),
      layers.ZeroPadding1D(32),
      layers.Conv1D(16, 64, strides=2),
      layers.MaxPooling1D(8, 1, padding='same'),
      layers.GlobalAveragePooling1D(),
      layers.Dense(CLASSES, activation='softmax'),
    ]
  )
  model.compile(keras.optimizers.SGD(1e-4, 0.9, nesterov=True), keras.losses.KLDivergence(reduction='sum'))

  def turn():
    stamps = Stamps()
    model.fit(audio, teacher, BATCH, epochs=WARM_UP_EPOCHS + int(epochs) + 1, verbose=0, callbacks=[stamps])
    return stamps.per_epoch()

  measure.answer_turns(turn)


def pipeline(records_folder, repeats, batches):
  """Iterates over the batches of training; the files are repeated `repeats` times for a larger set of more shards.

  A turn gives (windows per second, windows per second of processor time).
  """
  system.keep_freed_memory()
  _, source, _ = stored_labels(records_folder)
  repeated = dataclasses.replace(source, paths=source.paths * int(repeats))
  batches_iterator = iter(input_pipeline.training_batches(repeated, BATCH, seed=0))

  def turn():
    for _ in range(8):  # as many as may have been prefetched between turns
      next(batches_iterator)
    began, cpu_began, windows = time.perf_counter(), time.process_time(), 0
    for _ in range(int(batches)):
      windows += next(batches_iterator)['mask'].shape[0]
    return windows / (time.perf_counter() - began), windows / (time.process_time() - cpu_began)

  measure.answer_turns(turn)


def model(folder):
  """Exports an untrained AudioNet, whose predictions cost as much as those of a trained one."""
  names = [f'class {i}' for i in range(CLASSES)]
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', SAMPLES / 16000, {'teacher': names})
  export.export(registry.build('audionet', {'teacher': CLASSES}), settings, folder)


if __name__ == '__main__':
  parts = {'epoch': epoch, 'stock': stock, 'pipeline': pipeline, 'model': model}
  parts[sys.argv[1]](*sys.argv[2:])
