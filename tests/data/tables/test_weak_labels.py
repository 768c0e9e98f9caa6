"""Tables of weak labels: formats, lookup of clips, targets of windows, and errors."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys
from audionet_tf.data.params import RecordParams
from audionet_tf.data.tables import class_lists, weak_labels
from audionet_tf.teachers import clip_labels, frozen_teacher

VOCABULARY = 'index,mid,display_name\n0,/m/0a,Speech\n1,/m/0b,"Music, loud"\n2,/t/0c,Bow-wow\n'
AUDIOSET = (
  '# Segments\n# YTID, start_seconds, end_seconds, positive_labels\n-OAyRsvFGgc, 30.000, 40.000, "/m/0a,/t/0c"\n'
)


def write(path, text):
  """Writes the text; returns the path."""
  path.write_text(text)
  return path


@pytest.fixture
def classes(tmp_path):
  return class_lists.vocabulary(write(tmp_path / 'classes.csv', VOCABULARY))


def test_audioset_segments_match_a_downloaded_clip_or_part_of_a_video(tmp_path, classes):
  table = weak_labels.read(write(tmp_path / 'x.csv', AUDIOSET), classes)
  assert table.class_names == ['Speech', 'Music, loud', 'Bow-wow']
  clip = table.find('folder/-OAyRsvFGgc_30.mp4.gz')
  assert table.multi_hot(clip, 0, 1).tolist() == [1, 0, 1]  # the file begins with the clip
  whole = table.find('-OAyRsvFGgc.mp4')
  targets = [table.multi_hot(whole, start, start + 5).tolist() for start in (25, 26, 39, 40)]
  assert targets == [[0, 0, 0], [1, 0, 1], [1, 0, 1], [0, 0, 0]]
  assert table.find('other.mp4') is None


def test_other_formats_give_the_same_labels(tmp_path, classes):
  tables = (
    'fname,labels,mids,split\n64760,"Speech,Bow-wow","/m/0a,/t/0c",train\n',  # FSD50K's
    'path,labels\nx/64760.wav,speech;bow-wow\n',
    'filename,start,end,labels\n64760.wav,,,Speech\n64760.wav,,,Bow-wow\n',
  )
  for text in tables:
    table = weak_labels.read(write(tmp_path / 'x.csv', text), classes)
    assert table.multi_hot(table.find('dev/64760.wav'), 0, 10).tolist() == [1, 0, 1]
  table = weak_labels.read(write(tmp_path / 'x.csv', 'file,labels\na.wav,"Music, loud"\nb.wav,\n'), classes)
  assert table.multi_hot(table.find('a.wav'), 0, 1).tolist() == [0, 1, 0]  # a comma that belongs to the name
  assert table.multi_hot(table.find('b.wav'), 0, 1).tolist() == [0, 0, 0]
  table = weak_labels.read(write(tmp_path / 'x.csv', 'filename,category,fold\na.wav,rain,1\nb.wav,dog,1\n'))
  assert (table.class_names, table.find('b.mp4')[0].labels) == (['dog', 'rain'], (0,))  # ESC's; no vocabulary


@pytest.mark.parametrize('spellings', [('Dog', 'dog'), ('big_dog', 'big dog'), ('Big_Dog', 'big  dog')])
def test_spellings_of_one_label_are_one_class(tmp_path, spellings):
  path = write(tmp_path / 'x.csv', 'path,labels\na.wav,{}\nb.wav,{}\nc.wav,cat\n'.format(*spellings))
  table = weak_labels.read(path)
  assert table.class_names == sorted([min(spellings), 'cat'])
  hot = [table.multi_hot(table.find(f'{name}.wav'), 0, 1).tolist() for name in 'abc']
  assert hot[0] == hot[1] and [sum(each) for each in zip(*hot, strict=True)] in ([2, 1], [1, 2])


@pytest.mark.parametrize('names', [('Dog', 'dog'), ('big_dog', 'big dog'), ('dog', 'dog')])
def test_a_label_of_two_classes_is_refused(tmp_path, names):
  vocabulary = [('cat', ''), *((name, f'/m/{number}') for number, name in enumerate(names))]
  label = names[0] if len({*names}) == 1 else names[0].upper()  # the very name of one class is that class
  path = write(tmp_path / 'x.csv', f'path,labels\na.wav,{label}\nb.wav,cat\n')
  with pytest.raises(UserError, match=f"x.csv: '{label}': of more than one class"):
    weak_labels.read(path, vocabulary)
  write(path, 'path,labels\na.wav,/m/1\nb.wav,cat\n')  # without doubt
  assert [row.labels for row in weak_labels.read(path, vocabulary).rows] == [(2,), (0,)]


def test_the_very_name_of_a_class_is_that_class(tmp_path):
  vocabulary = [('Dog', ''), ('dog', '')]  # of a student that learned both
  path = write(tmp_path / 'x.csv', 'path,labels\na.wav,Dog\nb.wav,dog\n')
  assert [row.labels for row in weak_labels.read(path, vocabulary).rows] == [(0,), (1,)]


def test_fsd50k_vocabulary(tmp_path):
  path = write(tmp_path / 'vocabulary.csv', '1,Electric_guitar,/m/02sgy\n0,Bark,/m/05tny_\n')
  assert class_lists.vocabulary(path) == [('Bark', '/m/05tny_'), ('Electric guitar', '/m/02sgy')]


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('file,labels\na,Speech;Quack;Moo\n', "'Quack', 'Moo': not among the 3 classes"),
    (
      'file,labels\na,/m/0zz;Moo\n',
      "'/m/0zz', 'Moo': not among the 3 classes; to resolve mids, pass a CSV index,mid,display_name as --vocabulary",
    ),
    ('file,start,end,labels\na,3,3,Speech\n', 'a: start 3 s, end 3 s: end must be after start'),
    ('file,start,end,labels\na,x,3,Speech\n', 'start x s, end 3 s'),
    ('file,start,labels\na,1,Speech\n', 'give both start and end, or neither'),
    ('file,labels\n,Speech\n', 'line 2 has no file'),
    ('file,fold\na,1\n', 'no column mids or labels'),
    ('# YTID\na, 1, 2\n', 'expected YTID'),
    ('# YTID\n', 'the table has no rows'),
  ],
)
def test_invalid_tables_are_named(tmp_path, classes, text, message):
  with pytest.raises(UserError, match=message):
    weak_labels.read(write(tmp_path / 'x.csv', text), classes)


def test_ambiguous_file_names_are_refused(tmp_path, classes):
  table = weak_labels.read(write(tmp_path / 'x.csv', 'path,labels\na/1.wav,Speech\nb/1.wav,Bow-wow\n'), classes)
  assert table.find('b/1.wav')[0].labels == (2,)
  with pytest.raises(UserError, match='matches rows of a/1.wav and b/1.wav'):
    table.find('c/1.wav')


def test_a_multi_label_table_is_a_teacher_of_zeros_and_ones(tmp_path):
  table = write(tmp_path / 'x.csv', 'file,start,end,labels\na.wav,0,2,Speech\na.wav,1.5,2,Bow-wow\n')
  names = write(tmp_path / 'classes.csv', VOCABULARY)
  teacher = frozen_teacher.load(table, labels=str(names))
  assert teacher.description['outputs'] == batch_keys.MULTI_LABEL and teacher.class_names[1] == 'Music, loud'
  params = RecordParams(window_seconds=1, hop_seconds=1, images_per_window=2)
  targets = teacher.precomputed({'params': params, 'videos': [{'id': 'a.mp4', 'windows': 3, 'first_window': 0}]})
  windows = [targets('a.mp4', window) for window in range(3)]
  np.testing.assert_array_equal(windows, [[[1, 0, 0]] * 2, [[1, 0, 1]] * 2, [[0, 0, 0]] * 2])
  (tmp_path / 'other.csv').write_text(
    VOCABULARY.replace('Speech', 'Talk').replace('Bow-wow', 'Speech').replace('Talk', 'Bow-wow')
  )
  assert (
    frozen_teacher.load(table, labels=str(tmp_path / 'other.csv')).digest != teacher.digest
  )  # the same columns, other classes
  with pytest.raises(UserError, match='no row for b.mp4'):
    clip_labels.load_weak(table).targets({'params': params, 'videos': [{'id': 'b.mp4'}]})
