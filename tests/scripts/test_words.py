"""The benchmark of students of embeddings: its tables of vectors, against literal ones, and its steps."""

import csv
import io
import json
import pathlib

import numpy as np
import PIL.Image
import pytest
import synthetic_records

from audionet_tf.data import records
from audionet_tf.data.tables import word_tables
from audionet_tf.teachers import frozen_teacher, labelling
from experiments import folds, words


def test_centroids_are_means_of_categories():
  vectors = {'a': np.float32([1, 0, 0]), 'b': np.float32([0, 1, 0]), 'c': np.float32([0, 0, 1])}
  table = words.centroids(vectors, {'a': 'rain', 'b': 'rain', 'c': 'dog', 'd': 'sea'})
  assert table.names == ['dog', 'rain']
  np.testing.assert_allclose(table.vectors, [[0, 0, 1], [0.5**0.5, 0.5**0.5, 0]], atol=1e-6)


@pytest.mark.parametrize(('width', 'first'), [(1000, 0), (1001, 1)])
def test_names_are_uniform_over_the_classes_of_imagenet(width, first):
  groups = [('dog', 3), ('dog', 7), ('cat', 999)]
  table = words.names([{'category': c, 'imagenet_index': f'{i}'} for c, i in groups], width)
  assert table.names == ['dog', 'cat'] and table.vectors.shape == (2, width)
  assert np.flatnonzero(table.vectors[0]).tolist() == [3 + first, 7 + first]
  np.testing.assert_allclose(np.square(table.vectors).sum(1), 1, rtol=1e-6)


def test_vectors_of_videos_are_read_from_the_stored_answers(tmp_path):
  synthetic_records.write_records(tmp_path / 'records', {'fold1/a.mp4': 3, 'fold2/b.mp4': 2})
  teacher = frozen_teacher.load(
    f'embedding:{synthetic_records.colour_teacher(tmp_path / "teacher.keras")}', name=words.HEAD
  )
  manifest = records.read_manifest(tmp_path / 'records')
  labelling.ensure(tmp_path / 'records', manifest, [])
  labelling.ensure(tmp_path / 'records', manifest, [teacher])
  found = words.video_vectors(tmp_path / 'records')
  plain = frozen_teacher.load(tmp_path / 'teacher.keras')
  picture = np.asarray(PIL.Image.open(io.BytesIO(synthetic_records.picture((0, 90, 160), 32))))
  expected = np.sqrt(np.asarray(plain.probabilities(picture[None])))[0]
  assert sorted(found) == ['a.mp4', 'b.mp4']
  np.testing.assert_allclose(found['a.mp4'], expected, atol=1e-3)


def test_the_steps_of_a_student_are_kept(tmp_path, monkeypatch):
  (tmp_path / 'data/teacher').mkdir(parents=True)
  for name in ('a.tflite', 'a.txt'):
    (tmp_path / 'data/teacher' / name).touch()
  (tmp_path / 'data/esc10').mkdir()
  (tmp_path / 'data/esc10/groups.csv').write_text('category,imagenet_index\nrain,1\ndog,2\n')
  (tmp_path / 'videos').mkdir()
  with open(tmp_path / 'videos/videos.csv', 'w', newline='') as file:
    csv.writer(file).writerows([('path', 'category'), ('fold2/a.mp4', 'rain'), ('fold2/b.mp4', 'dog')])
  place, calls = folds.Place(tmp_path / 'data', tmp_path / 'videos', tmp_path / 'work'), []

  def run(module, *arguments):
    calls.append((module, [str(argument) for argument in arguments]))
    given = dict(str(argument)[2:].partition('=')[::2] for argument in arguments)
    if module == 'audionet_tf.train':
      pathlib.Path(given['run_dir'], 'export/1').mkdir(parents=True)
    if module == 'audionet_tf.export':
      assert word_tables.read(given['classes']).names
    if module == 'audionet_tf.evaluate':
      pathlib.Path(given['output']).write_text(json.dumps({'clips': {'accuracy': 0.25}}))

  monkeypatch.setattr(words, 'run', run)
  monkeypatch.setattr(folds, 'records', lambda place, fold: tmp_path / 'records')
  monkeypatch.setattr(words, 'video_vectors', lambda folder: {'a.mp4': np.eye(1000)[0], 'b.mp4': np.eye(1000)[1]})
  assert words.evaluate(place, 'logmel_cnn', '1', '0', ['epochs=2']) == {'centroids': 0.25, 'names': 0.25}
  assert [module for module, _ in calls] == ['audionet_tf.train', *['audionet_tf.export', 'audionet_tf.evaluate'] * 2]
  assert (
    f'--teacher=space=embedding:{tmp_path / "data/teacher/a.tflite"}' in calls[0][1] and '--epochs=2' in calls[0][1]
  )
  calls.clear()
  words.evaluate(place, 'logmel_cnn', '1', '0', ['epochs=2'])
  assert not calls
