"""Students that learn embeddings: by cosine, stored and online, alone and beside a classifier; named by tables."""

import json

import commands
import keras
import numpy as np
import pytest
import synthetic_records

from audionet_tf.core import tflite_interpreter
from audionet_tf.data import soft_labels
from audionet_tf.data.tables import word_tables
from audionet_tf.models import registry, student_file, student_settings, words
from audionet_tf.saved_model import for_files, loader, verify
from audionet_tf.teachers import student_words
from audionet_tf.training.steps import losses

VIDEOS = {'a.mp4': 5, 'b.mp4': 6}
WIDTH = 5


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Records, a network of five numbers per picture, its vectors in a file, and runs on both."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', VIDEOS)
  image = keras.Input([32, 32, 3])
  mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 64)(image))
  model = keras.Model(image, keras.layers.Dense(WIDTH)(mean))
  model.layers[-1].set_weights([np.random.default_rng(1).normal(size=(3, WIDTH)), np.arange(WIDTH) - 2.0])
  model.save(folder / 'vectors.keras')
  vectors = {}
  for number, (video, windows) in enumerate(VIDEOS.items()):
    colour = np.array([(number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256])
    pixels = np.repeat([colour, colour // 2], 16, axis=0).mean(0) / 64
    kernel, bias = model.layers[-1].get_weights()
    vectors[video] = np.repeat([pixels @ kernel + bias], windows, axis=0).astype(np.float32)
  np.savez(folder / 'vectors.npz', **vectors)
  synthetic_records.colour_teacher(folder / 'classes.keras')
  word_tables.write(folder / 'words.npz', word_tables.make(VIDEOS, [rows[0] for rows in vectors.values()], 0.1))
  return folder, vectors


def train(folder, run_dir, *flags):
  done = commands.run(
    'audionet_tf.train', '--records=records', f'--run_dir={run_dir}', '--epochs=30', '--batch_size=4',
    '--optimizer=adam', '--learning_rate=0.02', '--loss_reduction=mean', *flags, cwd=folder,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return [json.loads(line) for line in (folder / run_dir / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def alone(world):
  return train(world[0], 'alone', '--teacher=space=embedding:./vectors.keras', '--kldiv_per_frame')


def test_cosine_distance_is_that_of_numpy():
  rng = np.random.default_rng(0)
  teacher, student = rng.normal(size=(3, 1, 4)).astype(np.float32), rng.normal(size=(3, 2, 4)).astype(np.float32)
  pairs = zip(teacher, student, strict=True)
  cosines = [[t[0] @ s / np.linalg.norm(t) / np.linalg.norm(s) for s in steps] for t, steps in pairs]
  np.testing.assert_allclose(losses.cosine_distance(teacher, student), 1 - np.mean(cosines, axis=1), rtol=1e-5)


def test_vectors_are_stored_normalized_and_learned(world, alone):
  folder, vectors = world
  assert alone[-1]['cosine_distance'] < 0.2 * alone[0]['cosine_distance'] and 'kl' not in alone[0]
  (manifest,) = (folder / 'records/labels').glob('*/manifest.json')
  read = soft_labels.read_manifest(manifest.parent)
  assert read['teachers']['space']['classes'] == [f'dimension {i}' for i in range(WIDTH)]
  source = soft_labels.label_source(manifest.parent, read)
  for block in source.blocks(str(manifest.parent / read['shards'][0]['name'])):
    batch = source.finish(block)
    for video, row in zip(batch['video_id'].numpy(), batch['teacher/space'].numpy()[:, 0], strict=True):
      expected = vectors[list(VIDEOS)[video]][0]
      np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-3)
  videos = json.loads((folder / 'alone/stats.json').read_text())['epochs'][-1]['videos']
  mean = np.mean([x for video in videos.values() for x in video['cosine_distance_per_frame']])
  assert alone[-1]['cosine_distance'] == pytest.approx(mean, rel=1e-5)


@pytest.mark.long
def test_a_file_of_vectors_and_the_network_in_the_step_teach_the_same(world, alone):
  folder, _ = world
  online = train(folder, 'online', '--teacher=space=embedding:./vectors.keras', '--teacher_mode=online')
  stored = train(folder, 'file', '--teacher=space=embedding:vectors.npz')
  for other in (online, stored):
    assert other[-1]['cosine_distance'] == pytest.approx(alone[-1]['cosine_distance'], rel=0.02)


def test_the_loss_of_the_cosine_makes_teachers_of_vectors(world, alone):
  short = train(world[0], 'by_loss', '--teacher=space=./vectors.keras', '--loss=cosine', '--epochs=2')
  assert [row.keys() for row in short] == [row.keys() for row in alone[:2]]
  for row, other in zip(short, alone, strict=False):
    assert row['cosine_distance'] == pytest.approx(other['cosine_distance'], rel=1e-4)


@pytest.mark.long
def test_a_classifier_teaches_beside_it(world):
  folder, _ = world
  rows = train(
    folder, 'both', '--teacher=space=embedding:vectors.npz', '--teacher=colours=./classes.keras', '--loss=l2'
  )
  names = {'kl', 'top1', 'top5', 'loss', 'cosine_distance'}
  per_head = {'cosine_distance_space', *(f'{name}_colours' for name in names - {'cosine_distance'})}
  assert names | per_head == set(rows[0]) - {'epoch', 'learning_rate', 'seconds', 'examples_per_second'}
  assert rows[0]['kl'] == rows[0]['kl_colours'] and rows[-1]['cosine_distance'] < rows[0]['cosine_distance']
  settings = json.loads((folder / 'both/student.json').read_text())
  assert list(settings['classes']) == ['colours'] and settings['embeddings'] == {'space': WIDTH}


def test_a_table_names_the_sounds_of_a_student_that_was_not_taught_the_names(world, alone, tmp_path):
  folder, vectors = world
  path = folder / 'alone/student.keras'
  model, settings = student_file.load(path)
  waveform = np.random.default_rng(0).uniform(-1, 1, [3, 640]).astype(np.float32)
  raw = model(waveform)['logits/space'].numpy()[:, 0]
  cosines = (raw / np.linalg.norm(raw, axis=1, keepdims=True)) @ np.stack(
    [rows[0] / np.linalg.norm(rows[0]) for rows in vectors.values()]
  ).T
  expected = np.exp(cosines / 0.1) / np.exp(cosines / 0.1).sum(1, keepdims=True)
  served = student_words.load(path, folder / 'words.npz')
  outputs = served.predict(waveform)
  np.testing.assert_allclose(outputs['probabilities'], expected, atol=1e-5)
  np.testing.assert_allclose(outputs['space/embedding'], raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
  done = commands.run(
    'audionet_tf.export', '--model=alone', '--classes=words.npz', f'--output={tmp_path}', '--tflite', cwd=folder
  )
  assert done.returncode == 0, done.stderr[-2000:]
  exported = loader.load(tmp_path / '1')
  assert exported.class_names == list(VIDEOS)
  np.testing.assert_allclose(exported.predict(waveform)['probabilities'], expected, atol=1e-5)
  runner = tflite_interpreter.interpreter(tmp_path / '1/model.tflite').get_signature_runner('serving_default')
  np.testing.assert_allclose(runner(waveform=waveform[:1])['probabilities'], expected[:1], atol=1e-4)
  table = word_tables.read(tmp_path / '1/assets.extra/words.npz')
  assert (table.names, table.temperature) == (list(VIDEOS), 0.1)
  again = words.with_classes(*words.with_classes(model, settings, 'space', table), 'space', table)
  np.testing.assert_allclose(again[0](waveform)['logits/space'][:, 0], cosines / 0.1, atol=1e-4)


def test_what_does_not_go_together_is_one_line(world, alone):
  folder, _ = world
  np.savez(folder / 'narrow.npz', names=['a', 'b'], vectors=np.ones([2, 4], np.float32))
  (folder / 'words.txt').write_text('dog\ncat\n')
  (folder / 'x.wav').write_bytes(b'')
  for flags, message in (
    (
      ['--model=alone', '--classes=narrow.npz', 'x.wav'],
      'the classes have 4 numbers, those of the student 5',
    ),
    (['--model=alone', '--classes=words.txt', 'x.wav'], 'the teacher of this student (./vectors.keras) knows no texts'),
    (['--model=alone/export', '--classes=words.npz', 'x.wav'], 'needs a run or its student.keras'),
    (['--model=alone', 'x.wav'], 'has no classes yet; commands name them by --classes'),
    (['--classes=words.npz', 'x.wav'], '--classes needs --model'),
  ):
    done = commands.run('audionet_tf.infer', *flags, cwd=folder)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1, done.stderr


@pytest.mark.parametrize('name', ['logmel_steps', 'soundnet8_5s'])
def test_students_with_steps_get_classes_in_every_signature(name):
  settings = student_settings.StudentConfig(name, 22050, 'mean', 5.0, {}, embeddings={'space': WIDTH})
  keras.utils.set_random_seed(0)
  model = registry.build(name, {'space': WIDTH})
  table = word_tables.make('abc', np.random.default_rng(0).normal(size=(3, WIDTH)), 0.5)
  for each, changed in ((model, settings), words.with_classes(model, settings, 'space', table)):
    served = for_files.of_model(each, changed, 'student')
    waveform = np.random.default_rng(1).uniform(-1, 1, [1, 5 * 22050]).astype(np.float32)
    verify.check_close(served.predict(waveform), verify.expected_predictions(each, changed, waveform), name)
  assert served.class_names == ['a', 'b', 'c']
  assert ('steps' in served.signatures) == (name == 'logmel_steps')
  if name == 'soundnet8_5s':
    steps = served.signatures['layers'](waveform=waveform)['conv8_space']
    np.testing.assert_allclose(steps, each(waveform)['logits/space'], atol=1e-4)
