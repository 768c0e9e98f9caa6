"""CSV and text files of other programs: encodings, separators, quotation marks, comments."""

import csv
import io

import pytest

from audionet_tf.captioning import rules
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset
from audionet_tf.data.tables import class_lists, clip_tables, csv_files, weak_labels
from audionet_tf.evaluation import clip_accuracy
from audionet_tf.teachers import clip_labels

ROWS = [['path', 'fold', 'target', 'category'], ['a.wav', '1', '0', 'café, bar'], ['b.wav', '2', '1', 'Straße']]
ENCODINGS = ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'cp1252']
SEPARATORS = [',', ';', '\t', '|']


def written(path, rows=ROWS, separator=',', encoding='utf-8', newline='\n', before=''):
  """Writes rows as Python's csv does, in one encoding."""
  text = io.StringIO()
  csv.writer(text, delimiter=separator, lineterminator=newline).writerows(rows)
  path.write_bytes((before + text.getvalue()).encode(encoding))
  return path


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('separator', SEPARATORS)
def test_every_encoding_and_separator_gives_the_same_clips(tmp_path, encoding, separator):
  for newline in ('\n', '\r\n', '\r'):
    path = written(tmp_path / 'x.csv', separator=separator, encoding=encoding, newline=newline)
    clips = clip_tables.read(path, labelled=True)
    assert [(c.name, c.fold, c.category) for c in clips] == [(row[0], row[1], row[3]) for row in ROWS[1:]]


@pytest.mark.parametrize('separator', SEPARATORS[1:])
def test_every_reader_of_tables_takes_other_separators_and_encodings(tmp_path, separator):
  def table(*rows):
    return written(tmp_path / 'x.csv', rows, separator, 'utf-16')

  names = ['dog', 'café']
  assert clip_accuracy.read_clips(table(*ROWS))[0][1] == 'café, bar'
  groups = table(['category', 'class_name', 'imagenet_index'], ['loud', 'dog', ''], ['loud', 'Café', ''])
  assert clip_accuracy.read_groups(groups, names) == {'loud': [0, 1]}
  assert rules.read_names(table(['class_name', 'display_name'], ['café', 'Bar']), names) == {'café': 'Bar'}
  assert rules.read_thresholds(table(['class_name', 'threshold'], ['café', '0.5'])) == {'café': 0.5}
  classes = table(['index', 'mid', 'display_name'], ['1', '/m/1', 'café'], ['0', '/m/0', 'dog'])
  assert class_lists.vocabulary(classes) == [('dog', '/m/0'), ('café', '/m/1')]
  assert clip_labels.load(table(*ROWS)).class_names == ['café, bar', 'Straße']
  segments = table(['-OAyRsvFGgc', '30.0', '40.0', '/m/1,/m/0'])
  assert audioset.read_segments(segments) == {'-OAyRsvFGgc': (30, 40)}
  assert weak_labels.read(segments).find('-OAyRsvFGgc.wav')[0].labels == (1, 0)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_class_names_of_every_encoding(tmp_path, encoding, capsys):
  (tmp_path / 'x.txt').write_bytes('dog\r\ncafé au lait\r\n'.encode(encoding))
  assert class_lists.read_class_names(tmp_path / 'x.txt') == ['dog', 'café au lait']
  assert class_lists.read_class_names(tmp_path / 'x.txt')[0] == 'dog'
  assert capsys.readouterr().err.count('not UTF-8; read as Windows-1252') == (encoding == 'cp1252')


LONE = 'quotation mark .* does not close'


@pytest.mark.parametrize(
  ('lines', 'message'),
  [
    (['a.wav,1,0,"dog', 'b.wav,1,0,cat'], f'line 2: .*{LONE}'),
    (['a.wav,1,0,dog', 'b.wav,1,0,"cat'], f'line 3: .*{LONE}'),
    (['a.wav,1,0,"dog', 'b.wav,1,0,cat', 'c.wav,1,0,"cat', 'd.wav,1,0,dog'], f'line 2: .*{LONE}'),
    (['a.wav,1,0,"dog', 'b.wav,1,0,cat"'], f'line 2: .*{LONE}'),
    (['"a.wav,1,0,dog', 'b.wav",1,0,cat'], f'line 2: .*{LONE}'),
    (['a.wav,1,0,"dog"s'], f'line 2: .*{LONE}'),
    (['a.wav,1,0,dog', 'b.wav,1,0,"' + 'x' * 200_000], r'line 3 has 2000\d+ characters, allowed are 131072'),
    (['a.wav,1,0,do\0g'], 'line 2 holds a NUL character'),
    (['a.wav,1,0,dog', '\0\0\0\0\0\0\0\0'], 'line 3 holds a NUL character'),
  ],
)
def test_damage_is_named_by_line_in_every_reader(tmp_path, lines, message):
  path = tmp_path / 'x.csv'
  path.write_text('\n'.join(['path,fold,target,category', *lines]) + '\n')
  for reader in (lambda p: clip_tables.read(p, labelled=True), clip_labels.load_table, weak_labels.read,
                 clip_accuracy.read_clips, class_lists.read_vocabulary):  # fmt: skip
    with pytest.raises(UserError, match=message) as caught:
      reader(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_labels_that_lack_quotation_marks_are_not_dropped(tmp_path):
  path = tmp_path / 'x.csv'
  path.write_text('path,labels\na.wav,dog,\nb.wav,dog,cat\n')
  for reader in (weak_labels.read, clip_labels.load_table):
    with pytest.raises(UserError, match='line 3 has 3 cells, the header has 2'):
      reader(path)
  path.write_text('-OAyRsvFGgc, 30, 40, /m/1,/m/2\n')  # the last column takes all that follows
  assert weak_labels.read(path).find('-OAyRsvFGgc.wav')[0].labels == (0, 1)


def test_quotation_marks_that_close_and_prose_of_several_lines_are_read(tmp_path):
  rows = [['path', 'category', 'description'], ['a "1".wav', '"dog", big', 'Recorded,\nin spring,\nby me, twice'],
          ['b.wav', 'cat', '']]  # fmt: skip
  clips = clip_tables.read(written(tmp_path / 'x.csv', rows))
  assert [(clip.name, clip.category) for clip in clips] == [(row[0], row[1]) for row in rows[1:]]


def test_what_spreadsheets_add_is_left_out(tmp_path):
  path = tmp_path / 'x.csv'
  path.write_text('sep=;\n# from a spreadsheet\n Path ; Category;\na.wav; dog;\n;;\n\nb.wav;cat\n')
  assert [(clip.name, clip.category) for clip in clip_tables.read(path)] == [('a.wav', 'dog'), ('b.wav', 'cat')]


def test_binary_files_and_missing_columns_are_named(tmp_path):
  path = tmp_path / 'x.csv'
  path.write_bytes(b'RIFF\x24\0\0\0WAVEfmt \x10\0\0\0' + bytes(range(256)))
  with pytest.raises(UserError, match='not a text file'):
    clip_tables.read(path)
  path.write_text('filename:category\na:b\n')
  with pytest.raises(UserError, match='no column filename or path; it has filename:category'):
    clip_tables.read(path)
  with pytest.raises(UserError, match='a folder; expected a CSV'):
    csv_files.read_rows(tmp_path)


def test_vocabularies_without_a_header(tmp_path):
  expected = [('Speech, male', '/m/0a'), ('Bark', '/t/0b')]
  path = written(tmp_path / 'x.csv', [['0', '/m/0a', 'Speech, male'], ['1', '/t/0b', 'Bark']])
  assert class_lists.vocabulary(path) == expected  # AudioSet's order
  path = written(tmp_path / 'x.csv', [['1', 'Bark', '/t/0b'], ['0', 'Speech,_male', '/m/0a']])
  assert class_lists.vocabulary(path) == expected  # FSD50K's
