"""Maps of clips: their features, t-SNE, and the groups that colour them."""

import csv
import json
import os

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.plotting import tsne
from audionet_tf.representations import maps


def write_clip(path, values):
  about = json.dumps({'layers': ['pool5']})
  np.savez(path, about=[about], pool5=values, **{'pool5/center_seconds': np.arange(len(np.atleast_1d(values)))})


def write_features(folder, clips=24, groups=3, width=32):
  """Features of clips of three well separated groups; returns the group of each, in the order of the names."""
  folder.mkdir(exist_ok=True)
  rng = np.random.default_rng(0)
  centers = 5 * rng.normal(size=(groups, width))
  for i in range(clips):
    values = (centers[i % groups] + rng.normal(size=(4 + i % 3, width))).astype(np.float32)
    write_clip(folder / f'{i:02}.wav.npz', values)
  return [i % groups for i in range(clips)]


def test_clips_are_means_over_time(tmp_path):
  write_features(tmp_path / 'features')
  names, features = maps.read_features([tmp_path / 'features'], 'pool5')
  assert names[:2] == ['00.wav', '01.wav'] and features.shape == (24, 32)
  with np.load(tmp_path / 'features' / '05.wav.npz') as file:
    np.testing.assert_allclose(features[5], file['pool5'].mean(0), rtol=1e-5)


def test_clips_in_subfolders_are_named_by_their_paths(tmp_path):
  for name in ('x', 'y'):
    write_features(tmp_path / name, clips=2)
  names, features = maps.read_features([tmp_path], 'pool5')
  assert names == ['x/00.wav', 'x/01.wav', 'y/00.wav', 'y/01.wav'] and len(features) == 4
  names, _ = maps.read_features(sorted(tmp_path.glob('*/*.npz')), 'pool5')
  assert names == ['00.wav', '01.wav'] * 2


def test_a_pipe_among_features_is_named(tmp_path):
  write_features(tmp_path)
  os.mkfifo(tmp_path / 'pipe.npz')
  with pytest.raises(UserError, match=r'pipe\.npz: not a regular file'):
    maps.read_features([tmp_path], 'pool5')


def test_map_keeps_groups_together_and_is_reproducible(tmp_path):
  groups = np.array(write_features(tmp_path / 'features'))
  _, features = maps.read_features([tmp_path / 'features'], 'pool5')
  points = tsne.plane(features, seed=1)
  np.testing.assert_array_equal(points, tsne.plane(features, seed=1))
  distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(24, np.inf))
  assert (groups[distance.argmin(1)] == groups).all()


def test_four_clips_of_one_channel_make_a_map():
  assert tsne.plane(np.array([[0.0], [1.0], [5.0], [6.0]], np.float32)).shape == (4, 2)
  with pytest.raises(UserError, match='same features'):
    tsne.plane(np.ones([5, 3], np.float32))


def test_mistakes_name_the_file(tmp_path):
  folder = tmp_path / 'features'
  write_features(folder)
  with pytest.raises(UserError, match=r'00.wav.npz: no layer .pool9. in it; it has pool5'):
    maps.read_features([folder], 'pool9')
  with pytest.raises(UserError, match='2 clips with features, a map needs 4'):
    maps.read_features([folder / '00.wav.npz', folder / '01.wav.npz'], 'pool5')
  for values, message in (
    (np.array([{}], dtype=object), 'not a file of'),
    (np.full((3, 32), np.nan), 'empty or not finite'),
    (np.float32(3), 'expected is float'),
    (np.zeros([3, 7]), '7 channels'),
  ):
    write_clip(folder / '07.wav.npz', values)
    with pytest.raises(UserError, match=f'07.wav.npz: .*{message}'):
      maps.read_features([folder], 'pool5')
  (folder / '07.wav.npz').write_bytes(b'PK\x03\x04 cut short')
  with pytest.raises(UserError, match=r'07.wav.npz: not a file of'):
    maps.read_features([folder], 'pool5')


def test_categories_by_file_name(tmp_path):
  path = tmp_path / 'clips.csv'
  with open(path, 'w', newline='') as file:
    csv.writer(file).writerows([['fold', 'path', 'category'], ['1', 'audio/b.wav', 'cat'], ['2', 'a.wav', 'a, dog']])
  assert maps.categories(path, ['a.wav', 'b.wav']) == ['a, dog', 'cat']
  assert maps.categories(path, ['audio/b.wav']) == ['cat']
  with pytest.raises(UserError, match='lists no category of c.wav'):
    maps.categories(path, ['a.wav', 'c.wav'])
  path.write_text('path,category\nx/a.wav,cat\ny/a.wav,dog\n')
  assert maps.categories(path, ['y/a.wav', 'x/a.wav']) == ['dog', 'cat']
  with pytest.raises(UserError, match='lists no category of a.wav'):
    maps.categories(path, ['a.wav'])
  path.write_text('filename,kind\na.wav,cat\n')
  with pytest.raises(UserError, match='lists no category of a.wav'):
    maps.categories(path, ['a.wav'])
  path.write_text('name,kind\na.wav,cat\n')
  with pytest.raises(UserError, match='no column filename or path'):
    maps.categories(path, ['a.wav'])


def test_top1_is_the_class_of_the_highest_mean(tmp_path):
  times = np.arange(2.0)
  for name, table in (('a.wav', [[0.6, 0.4], [0.1, 0.9]]), ('b.wav', [[0.6, 0.4], [0.5, 0.5]])):
    np.savez(
      tmp_path / f'{name}.npz',
      probabilities=table,
      start_seconds=times,
      end_seconds=times + 1,
      class_names=['cat', 'dog'],
    )
  assert maps.student_top1(tmp_path, ['a.wav', 'b.wav']) == ['dog', 'cat']
  with pytest.raises(UserError, match='c.wav.npz'):
    maps.student_top1(tmp_path, ['c.wav'])
