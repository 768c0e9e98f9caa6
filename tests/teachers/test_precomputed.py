"""Precomputed targets from files: each form against the array that was written, and what is refused by name."""

import io
import os
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams
from audionet_tf.teachers import precomputed

CLASSES = 6
VIDEOS = [('a.mp4', 3, 0), ('sub/b.mp4', 1, 0), ('sub/late.mp4', 2, 1)]  # id, windows, first window


def manifest(pictures=2, videos=VIDEOS, **changes):
  params = RecordParams(1, changes.pop('hop', 1), images_per_window=pictures, **changes)
  return {'params': params, 'videos': [{'id': v, 'windows': n, 'first_window': first} for v, n, first in videos]}


def distributions(pictures=2):
  rng = np.random.default_rng(0)
  return {
    v: rng.dirichlet(np.ones(CLASSES), (first + n) * max(1, pictures)).astype(np.float32) for v, n, first in VIDEOS
  }


def write(folder, suffix, arrays, classes=True):
  path = folder / f'outputs{suffix}'
  if suffix == '.npz':
    np.savez_compressed(path, **arrays)
  elif suffix == '.npy':
    np.save(path, np.concatenate(list(arrays.values())))
  else:
    with tf.io.TFRecordWriter(str(path)) as file:
      for video, rows in arrays.items():
        feature = {
          'video/id': tf.train.Feature(bytes_list=tf.train.BytesList(value=[video.encode()])),
          'probabilities': tf.train.Feature(float_list=tf.train.FloatList(value=rows.ravel())),
        }
        if classes:
          feature['classes'] = tf.train.Feature(int64_list=tf.train.Int64List(value=[rows.shape[1]]))
        file.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
  return path


@pytest.mark.parametrize('suffix', ['.npz', '.npy', '.tfrecord'])
@pytest.mark.parametrize('pictures', [0, 1, 2])
def test_frames_are_the_pictures_of_the_windows(tmp_path, suffix, pictures):
  arrays = distributions(pictures)
  loaded = precomputed.load(write(tmp_path, suffix, arrays))
  assert (loaded.classes, loaded.class_names) == (CLASSES, None)
  targets, size = loaded.targets(manifest(pictures)), max(1, pictures)
  for video, windows, first in VIDEOS:
    for index in range(first, first + windows):
      np.testing.assert_array_equal(targets(video, index), arrays[video][index * size : index * size + size])


@pytest.mark.parametrize('suffix', ['.npz', '.tfrecord'])
def test_the_frames_of_a_video_that_was_repeated_are_repeated(tmp_path, suffix):
  arrays = distributions(4)
  arrays['sub/b.mp4'] = arrays['sub/b.mp4'][:3]
  loaded = precomputed.load(write(tmp_path, suffix, arrays))
  rows = arrays['sub/b.mp4'][[0, 1, 2, 0]]
  np.testing.assert_array_equal(loaded.targets(manifest(4, short_videos='repeat'))('sub/b.mp4', 0), rows)
  with pytest.raises(UserError, match=r'not 4 frames per window in sub/b.mp4 \(3, expected 4\)'):
    loaded.targets(manifest(4))


def test_class_names_say_how_many_classes_a_tfrecord_has(tmp_path):
  path = write(tmp_path, '.tfrecord', distributions(), classes=False)
  assert precomputed.load(path, CLASSES).classes == CLASSES
  with pytest.raises(UserError, match='classes are .*expected is one number, in `classes` or by --teacher_labels'):
    precomputed.load(path)
  with pytest.raises(UserError, match='expected is a multiple of 7'):
    precomputed.load(path, 7)


@pytest.mark.parametrize('suffix', ['.npz', '.npy', '.tfrecord'])
@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda row: row * np.nan, 'a number that is not finite'),
    (lambda row: np.concatenate([[-0.1, row[1] + row[0] + 0.1], row[2:]]), 'a negative number'),
    (lambda row: row * 0.98, r'a sum other than 1 \(sum 0.98\)'),
    (lambda row: row * 0, 'a sum other than 1'),
  ],
)
def test_rows_that_are_no_distribution_are_named(tmp_path, suffix, change, message):
  arrays = distributions()
  arrays['sub/b.mp4'][1] = change(arrays['sub/b.mp4'][1])
  loaded = precomputed.load(write(tmp_path, suffix, arrays))
  with pytest.raises(UserError, match=f'sub/b.mp4: row 1 has {message}'):
    loaded.targets(manifest())


def test_outputs_that_do_not_fit_the_records_are_named(tmp_path):
  arrays = distributions()
  loaded = precomputed.load(write(tmp_path, '.npz', arrays))
  with pytest.raises(UserError, match='no outputs for c.mp4 of the records'):
    loaded.targets(manifest(videos=[*VIDEOS, ('c.mp4', 1, 0)]))
  with pytest.raises(
    UserError, match=r'not 1 frames per window in a.mp4 \(6, expected 3\), sub/b.mp4 \(2, expected 1\)'
  ):
    loaded.targets(manifest(1))
  with pytest.raises(UserError, match='need windows that follow one another'):
    loaded.targets(manifest(hop=0.5))
  with pytest.raises(UserError, match='14 frames, the 3 videos of the records have 7'):
    precomputed.load(write(tmp_path, '.npy', arrays)).targets(manifest(1))


class Bomb:
  def __reduce__(self):
    return os.system, ('touch bombed',)


@pytest.mark.parametrize(
  ('suffix', 'content'),
  [
    ('.npz', {'a.mp4': np.array([Bomb()], object)}),
    ('.npy', {'a.mp4': np.array([[Bomb()]], object)}),
    ('.npz', {'a.mp4': np.ones(3, np.float32)}),
    ('.npz', {'a.mp4': np.ones([3, 3], np.int64)}),
    ('.npz', {'a.mp4': np.ones([3, 3]), 'b.mp4': np.ones([3, 4])}),
    ('.npz', {}),
    ('.npz', b'nonsense'),
    ('.npy', b'nonsense'),
    ('.tfrecord', b'nonsense'),
    ('.tfrecord', b''),
  ],
)
def test_files_that_are_something_else_are_one_line(tmp_path, monkeypatch, suffix, content):
  monkeypatch.chdir(tmp_path)
  if isinstance(content, bytes):
    path = tmp_path / f'outputs{suffix}'
    path.write_bytes(content)
  else:
    path = write(tmp_path, suffix, content)
  with pytest.raises(UserError, match=f'outputs{suffix}: ') as caught:
    precomputed.load(path)
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'bombed').exists()


def test_damage_behind_the_header_is_one_line(tmp_path):
  path = write(tmp_path, '.npz', distributions())
  content = bytearray(path.read_bytes())
  content[400] ^= 255
  path.write_bytes(content)
  with pytest.raises(UserError, match='outputs.npz'):
    precomputed.load(path).targets(manifest())
  path = write(tmp_path, '.tfrecord', distributions())
  content = bytearray(path.read_bytes())
  content[100] ^= 255
  path.write_bytes(content)
  with pytest.raises(UserError, match='has a wrong checksum'):
    precomputed.load(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('again', ['a.mp4.npy', 'a.mp4'])  # the second name stands for the same array
def test_a_video_that_is_there_twice(tmp_path, again):
  path = write(tmp_path, '.npz', {'a.mp4': np.full([2, 4], 0.25)})
  array = io.BytesIO()
  np.save(array, np.eye(4)[:2])
  with zipfile.ZipFile(path, 'a') as members:
    members.writestr(again, array.getvalue())
  twice = write(tmp_path, '.tfrecord', {'a.mp4': np.full([2, 4], 0.25)})
  twice.write_bytes(2 * twice.read_bytes())
  for file in (path, twice):
    with pytest.raises(UserError, match=rf'not readable as {file.suffix} \(ValueError: a\.mp4 is there twice\)'):
      precomputed.load(file)
