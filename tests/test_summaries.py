"""What TensorBoard gets: pictures of the first filters and of examples over time, and embeddings."""

import csv
import io

import numpy as np
import pytest
import synthetic
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector as plugin

from audionet_tf import projector, run_settings, students, training
from audionet_tf.params import RecordParams
from audionet_tf.summaries import in_series

CLASSES = ['red\tor so', 'green', 'blue', 'grey', 'black']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Folder of a run of SoundNet-5 on windows of 3.6 s at 16 kHz, with the projector."""
  folder = tmp_path_factory.mktemp('world')
  params = RecordParams(3.6, 3.6, 2, 16000, image_size=32, image_format='png')
  synthetic.write_records(folder / 'records', {'a.mp4': 3, 'b\tc.mp4': 4}, params)
  synthetic.colour_teacher(folder / 'teacher.keras')
  (folder / 'labels.txt').write_text('\n'.join(CLASSES))
  teacher = run_settings.TeacherOptions(str(folder / 'teacher.keras'), labels=str(folder / 'labels.txt'))
  options = run_settings.Options('soundnet5', (teacher,), epochs=1, batch_size=4, loss_reduction='mean')
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(training.serving, 'export', lambda *_: None)  # other tests look at exports
    training.train(folder / 'records', folder / 'run', options, projected=True)
  return folder / 'run'


def images_of(run):
  """dict of tag to u8 [H, W, 3]."""
  found = {}
  for path in (run / 'tensorboard').glob('events.*'):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == 'images':
          encoded = tf.make_ndarray(value.tensor)[2]
          found[value.tag] = np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB'))
  return found


@pytest.mark.slow
def test_filters_and_timelines_are_pictures(run):
  images = images_of(run)
  assert {'filters', 'examples/0 teacher', 'examples/1 teacher'} <= set(images)
  for tag in ('filters', 'examples/0 teacher', 'examples/1 teacher'):
    assert len(np.unique(images[tag].reshape(-1, 3), axis=0)) > 50


@pytest.mark.slow
def test_projector_has_the_embedding_of_every_window(run):
  folder = run / 'tensorboard'
  config = text_format.Parse((folder / 'projector_config.pbtxt').read_text(), plugin.ProjectorConfig())
  (embedding,) = config.embeddings
  tensors = np.loadtxt(folder / embedding.tensor_path, delimiter='\t')
  with open(folder / embedding.metadata_path, newline='') as file:
    rows = list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
  assert tensors.shape == (7, 256) and len(rows) == 7
  windows = sorted((row['video'], row['window']) for row in rows)
  assert windows == [('a.mp4', str(i)) for i in range(3)] + [('b c.mp4', str(i)) for i in range(4)]
  model, _ = students.load(run / 'student.keras')
  raw = [record for path in sorted((run.parent / 'records').glob('*.tfrecord')) for record in sounds(path)]
  outputs = model(np.stack(raw).astype(np.float32) / 32768, training=False)
  np.testing.assert_allclose(tensors, outputs['embedding'].numpy(), rtol=1e-3, atol=1e-6)
  best = tf.nn.softmax(outputs['logits/teacher']).numpy().mean(1).argmax(1)
  assert [row['teacher, heard'] for row in rows] == [' '.join(CLASSES[i].split()) for i in best]
  # The colour of a video decides what the teacher saw.
  assert all(len({row['teacher saw'] for row in rows if row['video'] == video}) == 1 for video in ('a.mp4', 'b c.mp4'))


def sounds(path):
  """int16 [samples] of every record of a shard."""
  for record in tf.data.TFRecordDataset(str(path)):
    features = tf.train.Example.FromString(record.numpy()).features.feature
    yield np.frombuffer(features['audio/pcm'].bytes_list.value[0], '<i2')


def test_projector_stops_at_its_limit(monkeypatch, tmp_path):
  class Fake:
    """A distiller of one class."""

    activation = 'softmax'

    @staticmethod
    def student(audio, training):
      return {'embedding': tf.reduce_mean(audio, 1, keepdims=True), 'logits/t': tf.zeros([len(audio), 1, 1])}

    @staticmethod
    def targets(batch):
      return {'t': tf.ones([len(batch['mask']), 1, 1])}

  def batch(first):
    numbers = np.arange(first, first + 4)
    sound = np.repeat(numbers[:, None], 3, 1).astype(np.float32)
    batch = {'audio': sound, 'mask': [1.0, 0.0, 1.0, 1.0], 'video_id': [0] * 4, 'index': numbers}
    return {name: tf.constant(value) for name, value in batch.items()}

  monkeypatch.setattr(projector, 'MOST_WINDOWS', 5)
  embeddings, rows = projector.embed(Fake, [batch(0), batch(4), batch(8)], {'t': ['only']}, ['v'])
  np.testing.assert_array_equal(embeddings[:, 0], [0, 2, 3, 4, 6])
  assert [row['window'] for row in rows] == ['0', '2', '3', '4', '6']
  projector.write(tmp_path, embeddings, rows)
  assert (tmp_path / 'projector' / 'metadata.tsv').read_text().splitlines()[:2] == [
    'video\twindow\tt saw\tt, heard',
    'v\t0\tonly\tonly',
  ]


def test_series_of_epochs_with_pictures():
  assert [n for n in range(1, 1001) if in_series(n)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
