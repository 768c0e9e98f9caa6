"""A CSV of labels as a teacher: the targets of each video, and what is refused."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams
from audionet_tf.teachers import clip_labels, frozen_teacher

IDS = ('fold1/dog-7.mp4', 'fold1/rain.wav', 'cats/1.mp4')


def manifest(ids=IDS, pictures=0):
  videos = [{'id': video, 'windows': 2, 'first_window': 0} for video in ids]
  return {'params': RecordParams(images_per_window=pictures), 'videos': videos}


def table(path, *lines):
  path.write_text('\n'.join(lines) + '\n')
  return path


def test_categories_are_classes_in_the_order_of_their_targets(tmp_path):
  path = table(
    tmp_path / 'x.csv', 'filename,fold,target,category', 'rain.wav,1,3,rain', 'dog-7.wav,1,20,dog', '1.wav,2,0,cat'
  )
  loaded = clip_labels.load(path)
  assert loaded.class_names == ['cat', 'rain', 'dog']
  targets = loaded.targets(manifest(pictures=3))
  for video, expected in zip(IDS, ([0, 0, 1], [0, 1, 0], [1, 0, 0]), strict=True):
    rows = targets(video, 1)
    assert rows.dtype == np.float32 and rows.tolist() == [expected] * 3
  assert loaded.targets(manifest())(IDS[0], 0).shape == (1, 3)  # one row per window without pictures


def test_without_targets_the_alphabet_decides_and_without_categories_the_target_is_the_name(tmp_path):
  path = table(
    tmp_path / 'x.csv', 'path,category', 'fold1/rain.wav,rain', 'dog-7,dog', 'cats/1.mp4,cat', 'dogs/1.mp4,dog'
  )
  assert clip_labels.load(path).class_names == ['cat', 'dog', 'rain']
  assert clip_labels.load(path).targets(manifest())('cats/1.mp4', 0).tolist() == [[1, 0, 0]]  # by its whole path
  path = table(tmp_path / 'y.csv', 'filename,target', 'a.wav,10', 'b.wav,9')
  assert clip_labels.load(path).class_names == ['9', '10']


@pytest.mark.parametrize(
  ('lines', 'message'),
  [
    (['filename,category', 'rain.wav,rain'], 'no row for fold1/dog-7.mp4, cats/1.mp4 of the records'),
    (
      ['path,category', 'rain,r', 'dog-7,d', 'x/1.wav,cat', 'y/1.wav,dog'],
      'rows of different categories for cats/1.mp4 of',
    ),
    (['filename,fold', 'rain.wav,1'], 'no column category or target'),
    (['filename,category', 'rain.wav,'], 'line 2 has no category'),
    (['filename,target,category', 'a,1,x', 'b,2,x'], 'a category has several targets'),
    (['filename,target,category', 'a,1,x', 'b,1,y'], 'a category has several targets'),
    (['filename,target,category', 'a,one,x'], 'expected is a whole number'),
    (['filename,category'], 'no rows below the header'),
  ],
)
def test_what_is_wrong_is_named(tmp_path, lines, message):
  with pytest.raises(UserError, match=message):
    clip_labels.load(table(tmp_path / 'x.csv', *lines)).targets(manifest())


def test_a_csv_is_a_teacher(tmp_path):
  path = table(tmp_path / 'x.csv', 'filename,category', 'rain.wav,rain', 'dog-7.wav,dog', '1.mp3,cat')
  teacher = frozen_teacher.load(str(path), name='labels')
  assert (teacher.name, teacher.class_names, teacher.in_graph) == ('labels', ['cat', 'dog', 'rain'], False)
  assert teacher.precomputed(manifest())('fold1/rain.wav', 1).argmax(-1).tolist() == [2]
  other = table(tmp_path / 'y.csv', 'filename,category', 'rain.wav,dog', 'dog-7.wav,rain', '1.mp3,cat')
  assert frozen_teacher.load(str(other)).digest != teacher.digest
  (tmp_path / 'names.txt').write_text('a\nb\nc\n')
  with pytest.raises(UserError, match='its own categories are the class names'):
    frozen_teacher.load(str(path), labels=str(tmp_path / 'names.txt'))
  with pytest.raises(UserError, match='are for classifiers'):
    frozen_teacher.load(str(path), dtype='bfloat16')
  with pytest.raises(UserError, match='no such file'):
    frozen_teacher.load(str(tmp_path / 'z.csv'))
