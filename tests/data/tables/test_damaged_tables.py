"""Every reader of tables, given each kind of damage: the same values, or one line that names the file and the line."""

import pathlib

import pytest

from audionet_tf.captioning import rules
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset
from audionet_tf.data.tables import class_lists, clip_tables, weak_labels
from audionet_tf.evaluation import clip_accuracy
from audionet_tf.teachers import clip_labels

CLASSES = ['dog', 'cat']


def weak(path):
  table = weak_labels.read(path)
  return table.class_names, [(row.name, row.start, row.end, row.labels) for row in table.rows]


# By name: the reader, its table, the column that every row needs.
READERS = {
  'accuracy': (clip_accuracy.read_clips, 'path,category\na.wav,dog\nb.wav,cat\n', 'path'),
  'clips': (clip_tables.read, 'filename,comment\na.wav,x\nb.wav,y\n', 'filename'),
  'groups': (
    lambda path: clip_accuracy.read_groups(path, CLASSES),
    'category,class_name,imagenet_index\nx,dog,1\ny,cat,2\n',
    'category',
  ),
  'labelled clips': (
    lambda path: clip_tables.read(path, labelled=True),
    'filename,fold,category\na.wav,1,dog\nb.wav,2,cat\n',
    'filename',
  ),
  'labels': (
    lambda path: clip_labels.load(path).class_names,
    'path,target,category\na.wav,0,dog\nb.wav,1,cat\n',
    'path',
  ),
  'names': (lambda path: rules.read_names(path, CLASSES), 'class_name,display_name\ndog,Dog\ncat,Cat\n', None),
  'segments': (audioset.read_segments, '# id\n-OAyRsvFGgc, 30, 40, "/m/1,/m/0"\n-XilaFMUwng, 5, 6, /m/1\n', 'YTID'),
  'thresholds': (rules.read_thresholds, 'class_name,threshold\ndog,0.5\ncat,0.2\n', 'class_name'),
  'vocabulary': (class_lists.vocabulary, 'mid,index,display_name\n/m/0,0,dog\n/m/1,1,cat\n', None),
  'vocabulary without header': (class_lists.vocabulary, '0,/m/0,dog\n1,/m/1,cat\n2,/m/2,cow\n', None),
  'weak': (weak, 'file,start,end,labels\na.wav,0,1,"dog,cat"\nb.wav,,,cat\n', 'file'),
  'weak segments': (weak, '# id\n-OAyRsvFGgc, 30, 40, "/m/1,/m/0"\n-XilaFMUwng, 5, 6, /m/1\n', 'YTID'),
}
HEADED = sorted(name for name, (_, text, _) in READERS.items() if not text.startswith(('#', '0')))


def write(folder, content):
  (folder / 'x.csv').write_bytes(content if isinstance(content, bytes) else content.encode())
  return folder / 'x.csv'


def refused(reader, path, message):
  with pytest.raises(UserError, match=message) as caught:
    reader(path)
  assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)


@pytest.mark.parametrize('name', sorted(READERS))
@pytest.mark.parametrize(
  'change',
  [
    lambda text: text.replace('\n', '\r'),
    lambda text: text.replace('\n', '\r\r\n'),
    lambda text: text.replace('\n', '\n\n'),
    lambda text: text + '\x1a',
    lambda text: '\ufeff\ufeff' + text,
    lambda text: text.encode('utf-16'),
  ],
)
def test_what_does_no_harm(tmp_path, name, change):
  reader, text, _ = READERS[name]
  expected = reader(write(tmp_path, text))
  assert reader(write(tmp_path, change(text))) == expected


@pytest.mark.parametrize('name', sorted(READERS))
@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda text: text.replace('dog', '"dog').replace('Dog', '"Dog').replace('/m/1,', '"/m/1,').replace('x\n', '"x\n'),
     r'line \d: a quotation mark'),
    (lambda text: text.strip() + 'x' * 140_000, r'line \d has 140\d+ characters, allowed are 131072'),
    (lambda text: 'x' * 140_000 + text, r'line 1 has 140\d+ characters, allowed are 131072'),
    (lambda text: text + 'a\0', r'line \d holds a NUL'),
    (lambda text: '', 'no rows|holds no segments'),
    (lambda text: '# nothing\n\n', 'no rows|holds no segments'),
    (lambda text: text.encode('utf-16') + b'a', 'not a text file'),
  ],
)  # fmt: skip
def test_damage_is_one_line(tmp_path, name, change, message):
  reader, text, _ = READERS[name]
  refused(reader, write(tmp_path, change(text)), message)


@pytest.mark.parametrize('name', HEADED)
def test_a_column_twice(tmp_path, name):
  reader, text, _ = READERS[name]
  header, *rows = text.splitlines()
  last = header.split(',')[-1]
  text = '\n'.join(['# title', f'{header},{last.upper()}', *(f'{row},z' for row in rows)])
  refused(reader, write(tmp_path, text), f'line 2 names two columns {last}; rename or remove one')


@pytest.mark.parametrize('name', sorted(READERS))
def test_what_is_no_file(tmp_path, name):
  reader, text, _ = READERS[name]
  write(tmp_path, text)
  for path in (tmp_path, tmp_path / 'none.csv', tmp_path / 'x.csv' / 'y.csv', tmp_path / f'{"n" * 300}.csv'):
    refused(reader, path, 'a folder|no such file|not a directory|file name too long')


@pytest.mark.parametrize('name', sorted(name for name, (_, _, column) in READERS.items() if column))
def test_a_row_without_its_first_cell(tmp_path, name):
  reader, text, column = READERS[name]
  *rows, last = text.splitlines()
  first = last.partition(',')[0]
  message = f'line 5 (has no {column}|is not {column})'
  refused(reader, write(tmp_path, '\n'.join(['# title', *rows, '', last.removeprefix(first)])), message)


@pytest.mark.parametrize(
  ('name', 'row', 'message'),
  [
    ('accuracy', 'c.wav,', 'line 4 has no category'),
    ('groups', ',dog,1', 'line 4 has no category'),
    ('groups', f'z,none,{"1" * 5000}', "the model has no class of category 'z'"),
    ('labelled clips', 'c.wav,1', 'line 4 has no category'),
    ('labels', 'c.wav,2,', 'line 4 has no category'),
    ('labels', 'c.wav,,dog', "line 4: target is ''; expected is a whole number"),
    ('labels', f'c.wav,{"1" * 5000},cow', "line 4: target is '1+…; expected is a whole number"),
    ('names', 'dog,Hound', "line 4 gives 'dog' another display_name"),
    ('segments', '-OAyRsvFGgc, 50, 60, /m/1', 'line 4 has another segment of -OAyRsvFGgc'),
    ('thresholds', 'cow,nan', "line 4: threshold is 'nan', allowed is 0 to 1"),
    ('thresholds', 'cow,1e999', "line 4: threshold is '1e999', allowed is 0 to 1"),
    ('thresholds', 'cow,-1', "line 4: threshold is '-1', allowed is 0 to 1"),
    ('thresholds', 'dog,0.3', "line 4 gives 'dog' another threshold"),
    ('vocabulary', '/m/2,2,', 'line 4 has no display_name'),
    ('vocabulary without header', '3,/m/3,', 'line 4 has no display_name'),
    ('weak', f'c.wav,0,{"1" * 5000},dog', r'line 4: c\.wav: start 0 s, end 1{40} s: expected are numbers'),
    (
      'weak segments',
      '_A30xsFBMXA, 40, 30, /m/1',
      'line 4: _A30xsFBMXA: start 40 s, end 30 s: end must be after start',
    ),
  ],
)
def test_a_row_that_cannot_be(tmp_path, name, row, message):
  reader, text, _ = READERS[name]
  refused(reader, write(tmp_path, f'{text}{row}\n'), message)


@pytest.mark.parametrize(('name', 'number'), [('names', 1), ('thresholds', 1), ('segments', 1)])
def test_a_row_twice(tmp_path, name, number):
  reader, text, _ = READERS[name]
  expected = reader(write(tmp_path, text))
  assert reader(write(tmp_path, text + text.splitlines()[number] + '\n')) == expected


@pytest.mark.parametrize('newline', ['\n', '\r', '\r\n', '\r\r\n'])
def test_lists_of_names(tmp_path, newline):
  path = tmp_path / 'names.txt'
  path.write_bytes(newline.join(['dog', 'café\u2028bar', 'cat', '', '']).encode())
  assert class_lists.read_class_names(path) == ['dog', 'café\u2028bar', 'cat']
  path.write_bytes(newline.join(['dog', ' ', 'cat']).encode())
  refused(class_lists.read_class_names, path, 'line 2 is empty; expected is a class name on every line')
  for content in (b'', b' \n\n', '\ufeff'.encode()):
    path.write_bytes(content)
    refused(class_lists.read_class_names, path, 'holds no class names')
  refused(class_lists.read_class_names, pathlib.Path(tmp_path), 'a folder')
