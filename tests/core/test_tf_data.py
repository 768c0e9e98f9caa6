"""Iterators of the program have autotune off, but those on GPUs: whoever drops one waits for its thread."""

import types

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf
from scipy.io import wavfile

from audionet_tf.core import tf_data
from audionet_tf.media import wav_tfio
from audionet_tf.training import config, distribution, trainer

VIDEOS = {'a.wav': 9, 'b.wav': 6}


@pytest.fixture
def tuned(monkeypatch):
  """List of bool that grows with every iterator: whether tf.data would tune it."""
  found = []

  def watched(owner, name, dataset_of):
    original = getattr(owner, name)

    def call(self, *arguments, **options):
      found.append(dataset_of(self, *arguments).options().autotune.enabled is not False)
      return original(self, *arguments, **options)

    monkeypatch.setattr(owner, name, call)

  watched(tf.data.Dataset, '__iter__', lambda dataset: dataset)
  watched(tf.distribute.MirroredStrategy, 'distribute_datasets_from_function', lambda strategy, make: make(None))
  return found


@pytest.mark.parametrize(
  'changes',
  [{}, {'gate': 'loudness'}, {'balance': True, 'loss': 'cross_entropy'}, {'teacher_mode': 'online'}],
  ids=lambda changes: next(iter(changes), 'plain'),
)
def test_training(tmp_path, tuned, changes):
  synthetic_records.write_records(tmp_path / 'records', VIDEOS)
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  (tmp_path / 'labels.csv').write_text('file,labels\na.wav,x\nb.wav,y\n')
  source = tmp_path / ('labels.csv' if changes.get('balance') else 'teacher.keras')
  chosen = config.TrainingConfig(teachers=(config.TeacherConfig(str(source)),), epochs=2, batch_size=4, **changes)
  trainer.train(tmp_path / 'records', tmp_path / 'run', chosen)
  assert len(tuned) >= 2 and not any(tuned)  # the teacher's pass, the training


def test_a_strategy_on_a_processor(tuned):
  """Of a worker without a GPU too."""
  batches = tf_data.without_autotune(tf.data.Dataset.range(8).batch(4).map(lambda x: {'audio': x}).repeat())
  strategy = tf.distribute.MirroredStrategy(['CPU:0'])
  iterator = distribution.iterate(strategy, batches)
  sums = [strategy.run(lambda batch: tf.reduce_sum(batch['audio']), args=(next(iterator),)) for _ in range(3)]
  assert [int(x) for x in sums] == [6, 22, 6]
  assert tuned == [False]


def test_threads_fit_in_memory(monkeypatch):
  monkeypatch.setattr(tf_data, 'THREADS', 16)
  assert [tf_data.threads(size) for size in (1, 1 << 27, 1 << 31)] == [16, 8, 1]


def decode_wav(contents, dtype):
  """In place of tensorflow-io's, which is not on every machine."""
  return tf.cast(tf.audio.decode_wav(contents).audio * (1 << 15), dtype)


def test_sound_files(tmp_path, tuned):
  path = tmp_path / 'a.wav'
  wavfile.write(path, 16000, np.arange(-50, 50, dtype=np.int16))
  library = types.SimpleNamespace(audio=types.SimpleNamespace(decode_wav=decode_wav))
  assert [number for number, _ in wav_tfio.dataset(library, [path], [wav_tfio.header(path)], [0])] == [0]
  assert tuned == [False]
