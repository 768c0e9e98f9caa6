"""Tables of weak labels: their forms, which rows a clip has, what a window is taught, and what is refused."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, class_lists, weak_labels
from audionet_tf.data.params import RecordParams
from audionet_tf.teachers import clip_labels, frozen_teacher

VOCABULARY = 'index,mid,display_name\n0,/m/0a,Speech\n1,/m/0b,"Music, loud"\n2,/t/0c,Bow-wow\n'
AUDIOSET = (
  '# Segments\n# YTID, start_seconds, end_seconds, positive_labels\n-OAyRsvFGgc, 30.000, 40.000, "/m/0a,/t/0c"\n'
)


def write(path, text):
  path.write_text(text)
  return path


@pytest.fixture
def classes(tmp_path):
  return class_lists.vocabulary(write(tmp_path / 'classes.csv', VOCABULARY))


def test_audiosets_segments_are_the_clip_of_its_downloads_or_a_stretch_of_the_whole_video(tmp_path, classes):
  table = weak_labels.read(write(tmp_path / 'x.csv', AUDIOSET), classes)
  assert table.class_names == ['Speech', 'Music, loud', 'Bow-wow']
  cut = table.find('folder/-OAyRsvFGgc_30.mp4.gz')
  assert table.multi_hot(cut, 0, 1).tolist() == [1, 0, 1]  # the file begins with the clip
  whole = table.find('-OAyRsvFGgc.mp4')
  heard = [table.multi_hot(whole, start, start + 5).tolist() for start in (25, 26, 39, 40)]
  assert heard == [[0, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0]]
  assert table.find('other.mp4') is None


def test_other_forms_give_the_same(tmp_path, classes):
  forms = (
    'fname,labels,mids,split\n64760,"Speech,Bow-wow","/m/0a,/t/0c",train\n',  # FSD50K's
    'path,labels\nx/64760.wav,speech;bow-wow\n',
    'filename,start,end,labels\n64760.wav,,,Speech\n64760.wav,,,Bow-wow\n',
  )
  for form in forms:
    table = weak_labels.read(write(tmp_path / 'x.csv', form), classes)
    assert table.multi_hot(table.find('dev/64760.wav'), 0, 10).tolist() == [1, 0, 1]
  table = weak_labels.read(write(tmp_path / 'x.csv', 'file,labels\na.wav,"Music, loud"\nb.wav,\n'), classes)
  assert table.multi_hot(table.find('a.wav'), 0, 1).tolist() == [0, 1, 0]  # a comma that belongs to the name
  assert table.multi_hot(table.find('b.wav'), 0, 1).tolist() == [0, 0, 0]
  table = weak_labels.read(write(tmp_path / 'x.csv', 'filename,category,fold\na.wav,rain,1\nb.wav,dog,1\n'))
  assert (table.class_names, table.find('b.mp4')[0].labels) == (['dog', 'rain'], (0,))  # ESC's; no vocabulary


def test_fsd50ks_vocabulary(tmp_path):
  path = write(tmp_path / 'vocabulary.csv', '1,Electric_guitar,/m/02sgy\n0,Bark,/m/05tny_\n')
  assert class_lists.vocabulary(path) == [('Bark', '/m/05tny_'), ('Electric guitar', '/m/02sgy')]


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('file,labels\na,Speech;Quack;Moo\n', "'Quack', 'Moo' are none of the 3 classes"),
    (
      'file,labels\na,/m/0zz;Moo\n',
      "'/m/0zz', 'Moo' are none of the 3 classes; whose a mid is, a CSV index,mid,display_name says",
    ),
    ('file,start,end,labels\na,3,3,Speech\n', 'a: from 3 to 3 s is no span'),
    ('file,start,end,labels\na,x,3,Speech\n', 'from x to 3 s'),
    ('file,start,labels\na,1,Speech\n', 'start and end go together'),
    ('file,labels\n,Speech\n', 'row 2 has no file'),
    ('file,fold\na,1\n', 'no column mids or labels'),
    ('# YTID\na, 1, 2\n', 'is not YTID'),
    ('# YTID\n', 'no rows in it'),
  ],
)
def test_what_is_wrong_is_named(tmp_path, classes, text, message):
  with pytest.raises(UserError, match=message):
    weak_labels.read(write(tmp_path / 'x.csv', text), classes)


def test_rows_of_two_clips_of_one_name_fit_neither(tmp_path, classes):
  table = weak_labels.read(write(tmp_path / 'x.csv', 'path,labels\na/1.wav,Speech\nb/1.wav,Bow-wow\n'), classes)
  assert table.find('b/1.wav')[0].labels == (2,)
  with pytest.raises(UserError, match='rows of a/1.wav and b/1.wav fit it'):
    table.find('c/1.wav')


def test_a_table_of_labels_is_a_teacher_of_zeros_and_ones(tmp_path):
  table = write(tmp_path / 'x.csv', 'file,start,end,labels\na.wav,0,2,Speech\na.wav,1.5,2,Bow-wow\n')
  names = write(tmp_path / 'classes.csv', VOCABULARY)
  teacher = frozen_teacher.load(table, labels=str(names))
  assert teacher.description['outputs'] == batch_keys.MULTI_LABEL and teacher.class_names[1] == 'Music, loud'
  params = RecordParams(window_seconds=1, hop_seconds=1, images_per_window=2)
  given = teacher.precomputed({'params': params, 'videos': [{'id': 'a.mp4', 'windows': 3, 'first_window': 0}]})
  answers = [given('a.mp4', window) for window in range(3)]
  np.testing.assert_array_equal(answers, [[[1, 0, 0]] * 2, [[1, 0, 1]] * 2, [[0, 0, 0]] * 2])
  (tmp_path / 'other.csv').write_text(
    VOCABULARY.replace('Speech', 'Talk').replace('Bow-wow', 'Speech').replace('Talk', 'Bow-wow')
  )
  assert (
    frozen_teacher.load(table, labels=str(tmp_path / 'other.csv')).digest != teacher.digest
  )  # the same columns, other classes
  with pytest.raises(UserError, match='no row for b.mp4'):
    clip_labels.load_weak(table).targets({'params': params, 'videos': [{'id': 'b.mp4'}]})
