"""What a run writes for TensorBoard: pictures of the first filters and of examples over time, and embeddings."""

import collections
import csv
import io

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector as plugin

from audionet_tf.data.params import RecordParams
from audionet_tf.media import overview
from audionet_tf.models import student_file
from audionet_tf.plotting import sound
from audionet_tf.training import config, embedding_projector, run_models, trainer
from audionet_tf.training.tensorboard import in_series

CLASSES = ['red\tor so', 'green', 'blue', 'grey', 'black']


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Folder of a run of SoundNet-5 on windows of 3.6 s at 16 kHz, with the projector."""
  folder = tmp_path_factory.mktemp('world')
  params = RecordParams(3.6, 3.6, 16000, images_per_window=2, image_size=32, image_format='png')
  synthetic_records.write_records(folder / 'records', {'a.mp4': 3, 'b\tc.mp4': 4}, params)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  (folder / 'labels.txt').write_text('\n'.join(CLASSES))
  teacher = config.TeacherConfig(str(folder / 'teacher.keras'), labels=str(folder / 'labels.txt'))
  run_config = config.TrainingConfig('soundnet5', (teacher,), epochs=1, batch_size=4, loss_reduction='mean')
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(run_models.export, 'export', lambda *_: None)  # other tests look at exports
    trainer.train(folder / 'records', folder / 'run', run_config, projected=True)
  return folder / 'run'


def images_of(run):
  """dict of tag to u8 [H, W, 3]."""
  images = {}
  for path in (run / 'tensorboard').glob('events.*'):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == 'images':
          encoded = tf.make_ndarray(value.tensor)[2]
          images[value.tag] = np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB'))
  return images


@pytest.mark.long
def test_filters_and_timelines_are_pictures(run):
  images = images_of(run)
  assert {'filters', 'examples/0 teacher', 'examples/1 teacher'} <= set(images)
  assert 'map/teacher' not in images  # of seven windows
  for tag in ('filters', 'examples/0 teacher', 'examples/1 teacher', 'confusion/teacher', 'units'):
    assert len(np.unique(images[tag].reshape(-1, 3), axis=0)) > 50


@pytest.mark.long
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
  model, _ = student_file.load(run / 'student.keras')
  raw = [record for path in sorted((run.parent / 'records').glob('*.tfrecord')) for record in sounds(path)]
  outputs = model(np.stack(raw).astype(np.float32) / 32768, training=False)
  np.testing.assert_allclose(tensors, outputs['embedding'].numpy(), rtol=1e-3, atol=1e-6)
  best = tf.nn.softmax(outputs['logits/teacher']).numpy().mean(1).argmax(1)
  assert [row['teacher: student'] for row in rows] == [' '.join(CLASSES[i].split()) for i in best]
  # The colour of a video decides what the teacher predicts.
  assert all(
    len({row['teacher: teacher'] for row in rows if row['video'] == video}) == 1 for video in ('a.mp4', 'b c.mp4')
  )


def sounds(path):
  """int16 [samples] of every record of a shard."""
  for record in tf.data.TFRecordDataset(str(path)):
    features = tf.train.Example.FromString(record.numpy()).features.feature
    yield np.frombuffer(features['audio/pcm'].bytes_list.value[0], '<i2')


class Fake:
  """A distiller of one class."""

  activation = 'softmax'

  def __call__(self, audio, training):
    return {'embedding': tf.reduce_mean(audio, 1, keepdims=True), 'logits/t': tf.zeros([len(audio), 1, 1])}

  @staticmethod
  def targets(batch):
    return {'t': tf.ones([len(batch['mask']), 1, 1])}


def fake_batch(first):
  """Four windows, the second of which is padding."""
  numbers = np.arange(first, first + 4)
  sound = np.repeat(numbers[:, None], 3, 1).astype(np.float32)
  batch = {'audio': sound, 'mask': [1.0, 0.0, 1.0, 1.0], 'video_id': [0] * 4, 'index': numbers}
  return {name: tf.constant(value) for name, value in batch.items()}


@pytest.mark.parametrize('most', [5, 100])
def test_progress_of_embeddings_ends_at_all_of_them(monkeypatch, capsys, most):
  monkeypatch.setattr(embedding_projector, 'MOST_WINDOWS', most)
  real = embedding_projector.tqdm.tqdm
  monkeypatch.setattr(embedding_projector.tqdm, 'tqdm', lambda **options: real(**options | {'delay': 0}))  # at once
  embedding_projector.embed(Fake(), map(fake_batch, (0, 4, 8)), {'t': ['only']}, ['v'], 9)
  assert f'{min(most, 9)}/{min(most, 9)}' in capsys.readouterr().err


def test_projector_stops_at_its_limit(monkeypatch, tmp_path):
  monkeypatch.setattr(embedding_projector, 'MOST_WINDOWS', 5)
  embeddings, rows = embedding_projector.embed(Fake(), map(fake_batch, (0, 4, 8)), {'t': ['only']}, ['v'], 12)
  np.testing.assert_array_equal(embeddings[:, 0], [0, 2, 3, 4, 6])
  assert [row['window'] for row in rows] == ['0', '2', '3', '4', '6']
  embedding_projector.write(tmp_path, embeddings, rows)
  assert (tmp_path / 'projector' / 'metadata.tsv').read_text().splitlines()[:2] == [
    'video\twindow\tt: teacher\tt: student',
    'v\t0\tonly\tonly',
  ]


def test_pictures_of_windows_are_of_what_is_in_the_rows(monkeypatch):
  monkeypatch.setattr(embedding_projector, 'MOST_POINTS', 40)
  rng = np.random.default_rng(0)
  label = rng.integers(0, 3, 60)
  embeddings = (4 * np.eye(3, 8)[label] + rng.normal(scale=0.1, size=[60, 8])).astype(np.float32)
  names = np.array(['cat', 'dog', 'wren'])
  rows = [{'a: teacher': names[i], 'a: student': 'cat', 'b: teacher': 'x', 'b: student': names[i]} for i in label]
  figures = dict(embedding_projector.pictures(embeddings, rows, ['a', 'b']))
  assert list(figures) == ['map/a', 'confusion/a', 'map/b', 'confusion/b']
  map_a, confusion_a = figures['map/a'].axes[0], figures['confusion/a'].axes[0]
  counts = collections.Counter(names[label[np.linspace(0, 59, 40).round().astype(int)]])
  legend = [text.get_text() for text in map_a.get_legend().get_texts()]
  assert sorted(legend) == sorted(f'{name} ({count})' for name, count in counts.items())
  # Windows of a class lie together: every point's nearest neighbour has its colour.
  points = np.concatenate([group.get_offsets() for group in map_a.collections])
  owner = np.repeat(np.arange(3), [len(group.get_offsets()) for group in map_a.collections])
  distance = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(40)
  assert (owner[distance.argmin(1)] == owner).all()
  assert (confusion_a.get_ylabel(), confusion_a.get_xlabel()) == ('predicted by a', 'predicted by the student')
  assert f'{(label == 0).mean():.1%} of 60 agree' in confusion_a.get_title()
  assert list(dict(embedding_projector.pictures(embeddings[:19], rows[:19], ['a']))) == ['confusion/a']
  assert list(dict(embedding_projector.pictures(embeddings * 0, rows, ['a']))) == ['confusion/a']
  assert not list(embedding_projector.pictures(embeddings, rows, []))


def test_units_are_shown_with_the_windows_that_activate_them_most(monkeypatch):
  monkeypatch.setattr(embedding_projector.activations, 'UNITS', 2)
  rng = np.random.default_rng(1)
  embeddings = rng.normal(size=[200, 6]).astype(np.float32)
  embeddings[[4, 9, 30, *range(60, 67)], 5] += (40, 60, 50, *[20] * 7)
  embeddings[70:80, 2] += 5
  embeddings[:, 0] = 3  # activated by nothing
  shown = embedding_projector.strongest(embeddings)
  assert list(shown) == [5, 2]
  for unit, row in shown.items():
    ranked = sorted(enumerate(embeddings[:, unit].tolist()), key=lambda pair: -pair[1])
    assert row == ranked[: embedding_projector.UNIT_WINDOWS]
  assert [window for window, _ in shown[5]][:3] == [9, 30, 4]
  assert embedding_projector.strongest(np.ones([3, 2], np.float32)) == {}


def test_windows_are_found_again_by_their_number():
  numbers = np.arange(12).reshape(3, 4)
  mask = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]], np.float32)
  batches = [
    {'audio': tf.constant(row[:, None] * np.ones(3, np.float32)), 'mask': tf.constant(m)}
    for row, m in zip(numbers, mask, strict=True)
  ]
  kept = numbers[mask > 0]
  waveforms = embedding_projector.sounds(batches, {1, 2, 4, 7})
  assert {window: waveform.tolist() for window, waveform in waveforms.items()} == {
    i: [kept[i]] * 3 for i in (1, 2, 4, 7)
  }


def test_pictures_of_windows_are_those_in_the_middle():
  png = [[encoded(10 * window + i) for i in range(4)] for window in range(5)]
  batches = tf.data.Dataset.from_tensor_slices(png).batch(2)
  frames = embedding_projector.middle_pictures(batches, {1, 4})
  assert {window: np.unique(frame).tolist() for window, frame in frames.items()} == {1: [12], 4: [42]}


def encoded(grey):
  """Bytes of a PNG."""
  file = io.BytesIO()
  Image.new('RGB', (6, 4), (grey,) * 3).save(file, 'png')
  return file.getvalue()


def test_picture_of_units_has_the_tones_of_their_windows():
  rate, seconds = 8000, np.arange(8000) / 8000
  windows = {3: np.sin(2 * np.pi * 500 * seconds), 5: np.sin(2 * np.pi * 3000 * seconds)}
  windows = {number: (0.5 * wave).astype(np.float32) for number, wave in windows.items()}
  rows = [{'video': f'v{i}.mp4', 'window': str(10 * i)} for i in range(6)]
  frames = {3: np.zeros([4, 6, 3], np.uint8), 5: np.full([6, 4, 3], 200, np.uint8)}
  figure = embedding_projector.units({17: [(5, 2.5), (3, 1.25)], 4: [(3, 9.0)]}, windows, rows, rate, frames)
  axes = figure.axes[0]
  assert [label.get_text() for label in axes.get_yticklabels()] == ['unit 17', 'unit 4']
  assert [text.get_text() for text in axes.texts] == ['v5.mp4, 50\n2.5', 'v3.mp4, 30\n1.25', 'v3.mp4, 30\n9']
  *pictures, spectrograms_of_all = axes.images
  for picture, text, window in zip(pictures, axes.texts, (5, 3, 3), strict=True):
    np.testing.assert_array_equal(picture.get_array(), frames[window])
    left, _, bottom, top = picture.get_extent()
    x, y = text.get_position()
    assert (left, top, bottom) == (x + sound.THUMBNAIL_COLUMNS + 2, y + 1, y + 1 + 64)
  canvas = np.asarray(spectrograms_of_all.get_array().filled(-200.0))
  edges = overview.MelPicture(rate).edges_hz
  for text, hertz in zip(axes.texts, (3000, 500, 500), strict=True):
    x, y = round(text.get_position()[0]), round(text.get_position()[1]) + 1
    loudest = canvas[y : y + 64, x : x + sound.THUMBNAIL_COLUMNS].mean(1).argmax()
    band = 63 - loudest  # low bands lie below
    assert edges[band] <= hertz <= edges[band + 1]


def test_picture_of_units_without_pictures_has_spectrograms_alone():
  windows, rows = {0: np.ones(8000, np.float32)}, [{'video': 'v.mp4', 'window': '0'}]
  axes = embedding_projector.units({17: [(0, 2.5)], 4: [(0, 9.0)]}, windows, rows, 8000, {}).axes[0]
  (picture,) = axes.images
  assert picture.get_array().shape[1] == sound.THUMBNAIL_COLUMNS + 8


def test_confusion_matrix_of_the_most_frequent_classes(monkeypatch):
  monkeypatch.setattr(embedding_projector, 'MOST_CLASSES', 2)
  teacher, student = [*'bbbbaaac'], [*'bbacabcb']
  counts, names = embedding_projector.confusion_matrix(teacher, student)
  assert names == ['a', 'b', embedding_projector.OTHERS]
  assert counts.tolist() == [[1, 1, 1], [1, 2, 1], [0, 0, 0]]
  counts, names = embedding_projector.confusion_matrix(['a', 'b'], ['b', 'b'])
  assert (names, counts.tolist()) == (['a', 'b'], [[0, 1], [0, 1]])


def test_windows_are_shown_at_the_end_and_rarely_before(monkeypatch):
  """Epochs of 60 s, pictures of 7 s: the first ones after 500 s, as 5 s are expected, then 700 s after the last."""
  now, shown, written = [0.0], [], []

  def embed(*_):
    now[0] += 7
    shown.append(epoch)
    return None, None

  monkeypatch.setattr(embedding_projector.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(embedding_projector, 'embed', embed)
  monkeypatch.setattr(embedding_projector, 'pictures', lambda *_: [])
  monkeypatch.setattr(embedding_projector, 'write', lambda *_: written.append(epoch))
  monkeypatch.setattr(embedding_projector.Projector, 'write_units', lambda *_: None)
  callback = embedding_projector.Projector(None, tf.summary.create_noop_writer(), None, {}, [], 16000, 1)
  callback.set_params({'epochs': 25})
  callback.on_train_begin()
  for epoch in range(25):
    now[0] += 60
    callback.on_epoch_end(epoch)
  assert shown == written == [8, 20, 24]


def test_series_of_epochs_with_pictures():
  assert [n for n in range(1, 1001) if in_series(n)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
