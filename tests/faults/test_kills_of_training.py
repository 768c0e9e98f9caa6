"""Trainings that are killed and resumed end with the same bytes as undisturbed ones. See `killing`."""

import io
import json
import re
import zipfile

import killing
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.data.params import RecordParams

pytestmark = pytest.mark.long
KILLS, EPOCHS = 50, 5
TIMES = ('seconds', 'examples_per_second', 'training_time')
FLAGS = ['--resume', '--checkpoint_minutes=0', '--noprojector', '--batch_size=8', f'--epochs={EPOCHS}']

# name: (windows of the records, flags)
RUNS = {
  'audionet': ({}, ['--learning_rate=1e-3', '--kldiv_per_frame']),
  'adam_schedule_augmentation': (
    {'sample_rate_hz': 22050, 'window_seconds': 0.5, 'hop_seconds': 0.5},
    ['--student=logmel_cnn', '--optimizer=adam', '--learning_rate=1e-3', '--loss_reduction=mean', '--schedule=cosine',
     '--warmup_epochs=1', '--weight_decay=0.01', '--augment=codec,shift,gain,mix,noise,time_mask'],
  ),
  'two_replicas': ({}, ['--replicas=2', '--optimizer=adam', '--learning_rate=1e-3']),
  'batch_normalization': (
    {'sample_rate_hz': 22050, 'window_seconds': 2.6, 'hop_seconds': 2.6},
    ['--student=soundnet5', '--optimizer=adam', '--learning_rate=1e-3', '--loss_reduction=mean'],
  ),
}  # fmt: skip


def without_times(row):
  if isinstance(row, dict):
    return {name: without_times(value) for name, value in row.items() if name not in TIMES}
  return [without_times(value) for value in row] if isinstance(row, list) else row


def content(run_dir):
  """What a run leaves, but for times, TensorBoard's files, and numbers that TensorFlow and Keras make up."""
  files = {}
  for name, path in killing.files_of(run_dir).items():
    data = killing.comparable(path)
    if path.suffix == '.keras':
      with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {f'{name}/{part}': archive.read(part) for part in archive.namelist() if part != 'metadata.json'}
        files |= {part: re.sub(rb'"shared_object_id": \d+', b'', content) for part, content in parts.items()}
    elif path.suffix == '.jsonl' or path.name == 'stats.json':
      rows = [json.loads(line) for line in data.splitlines()] if path.suffix == '.jsonl' else json.loads(data)
      files[name] = json.dumps(without_times(rows)).encode()
    elif path.suffix == '.index':
      reader = tf.train.load_checkpoint(str(path.with_suffix('')))
      tensors = sorted(tensor for tensor in reader.get_variable_to_shape_map() if not tensor.startswith('seconds'))
      files[name] = b''.join(tensor.encode() + np.asarray(reader.get_tensor(tensor)).tobytes() for tensor in tensors)
    elif path.name == 'checkpoint':
      files[name] = re.sub(rb'.*timestamp.*\n', b'', data)
    elif not name.startswith(('tensorboard/', 'checkpoints/')):
      files[name] = data
  return files


@pytest.mark.parametrize('name', RUNS)
def test_training(name, tmp_path, seed, share):
  windows, flags = RUNS[name]
  params = RecordParams(image_size=32, image_format='png', **windows)
  synthetic_records.write_records(tmp_path / 'records', {'a': 9, 'b': 14, 'c': 10}, params)
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  words = ['audionet_tf.train', f'--records={tmp_path}/records', f'--teacher={tmp_path}/teacher.keras', *FLAGS, *flags]
  killing.check(None, lambda place: [*words, f'--run_dir={place}'], content, tmp_path, share(KILLS), seed)
