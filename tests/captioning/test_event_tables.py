"""Tables of annotated events: what DCASE and Raven write, and what is wrong with others."""

import os

import pytest

from audionet_tf.captioning import event_detection, event_tables, formats
from audionet_tf.captioning.event_tables import Annotation
from audionet_tf.core.errors import UserError

RAVEN = 'Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)'


@pytest.mark.parametrize(
  'text',
  [
    'file,onset,offset,label\na.wav,0.5,1.25,dog bark\na.wav,0,1,cat\nb.wav,,,\n',
    'filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.25\tdog bark\na.wav\t0\t1\tcat\nb.wav\t\t\t\n',
  ],
)
def test_tables_of_dcase(tmp_path, text):
  (tmp_path / 'x.csv').write_text(text)
  expected = {'a.wav': [Annotation(0, 1, 'cat'), Annotation(0.5, 1.25, 'dog bark')], 'b.wav': []}
  assert event_tables.read(tmp_path / 'x.csv') == expected


def test_selection_tables_of_raven(tmp_path):
  rows = ['1\tWaveform 1\t1\t0.5\t1.5\t0\t8000\towl', '1\tSpectrogram 1\t1\t0.5\t1.5\t0\t8000\towl']
  rows += ['2\tSpectrogram 1\t1\t3\t4\t0\t8000\tcrow']
  (tmp_path / 'night.Table.1.selections.txt').write_text('\n'.join([f'{RAVEN}\tSpecies', *rows]))
  night = [Annotation(0.5, 1.5, 'owl'), Annotation(3, 4, 'crow')]
  assert event_tables.read(tmp_path / 'night.Table.1.selections.txt') == {'night': night}
  rows = ['1\tSpectrogram 1\t1\t60.5\t61.25\t0\t8000\tb.wav\t0.5\tfox']  # of a sequence of files
  (tmp_path / 'all.txt').write_text('\n'.join([f'{RAVEN}\tBegin File\tFile Offset (s)\tAnnotation', *rows]))
  assert event_tables.read(tmp_path) == {'night': night, 'b.wav': [Annotation(0.5, 1.25, 'fox')]}


def test_selections_of_several_files_may_have_equal_numbers(tmp_path):
  rows = [('a.wav', 0, 1), ('a.wav', 0, 1), ('b.wav', 0, 1), ('a.wav', 5, 6)]  # the second in another view
  lines = [f'1\tWaveform {i}\t1\t{begin}\t{end}\t0\t8000\t{name}\towl' for i, (name, begin, end) in enumerate(rows)]
  (tmp_path / 'all.txt').write_text('\n'.join([f'{RAVEN}\tBegin File\tAnnotation', *lines]))
  expected = {'a.wav': [Annotation(0, 1, 'owl'), Annotation(5, 6, 'owl')], 'b.wav': [Annotation(0, 1, 'owl')]}
  assert event_tables.read(tmp_path / 'all.txt') == expected


def test_what_caption_writes_for_raven_is_read(tmp_path):
  events = [event_detection.Event(0.25, 1.5, 'dog "bark"\t', 0.5, 0.75), event_detection.Event(2, 3, 'cat', 0.4, 0.4)]
  text = formats.raven(events, [], {'file': 'my clip.wav'})
  header, *rows = [line.split('\t') for line in text.splitlines()]
  assert header[:5] == RAVEN.split('\t')[:5] and len(rows) == 2 and rows[1][3:5] == ['2.000000', '3.000000']
  (tmp_path / 'x.selections.txt').write_text(text)
  read = event_tables.read(tmp_path / 'x.selections.txt')
  assert read == {'my clip.wav': [Annotation(0.25, 1.5, 'dog "bark"'), Annotation(2, 3, 'cat')]}


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('x.csv', 'file,onset,offset,label\na,1,2,x\n\n\na,2,1,x\n', 'line 5 is from 2 to 1 s'),
    ('x.txt', f'{RAVEN}\tSpecies\n\n1\tWaveform 1\t1\t2\t1\t0\t1\towl\n', 'line 3 is from 2 to 1 s'),
    ('x.csv', 'file,onset,offset\na,1,2\n', 'no column event_label or label'),
    ('x.csv', 'file,onset,offset,label\na,2,1,x\n', 'line 2 is from 2 to 1 s'),
    ('x.csv', 'file,onset,offset,label\na,nan,1,x\n', "time is 'nan'; expected are seconds"),
    ('x.csv', 'file,onset,offset,label\na,-1,1,x\n', "time is '-1'"),
    ('x.csv', 'file,onset,offset,label\na,0,1,\n', 'line 2 has no label'),
    ('x.csv', 'file,onset,offset,label\n,0,1,x\n', 'line 2 names no file'),
    ('x.txt', f'{RAVEN}\n1\tSpectrogram 1\t1\t0\t1\t0\t1\n', 'no column annotation or label'),
    ('x.txt', 'a label track\n1\n', 'no column begin time'),
  ],
)
def test_tables_that_are_refused(tmp_path, name, text, message):
  (tmp_path / name).write_text(text)
  with pytest.raises(UserError, match=message):
    event_tables.read(tmp_path / name)


def test_a_folder_without_tables(tmp_path):
  with pytest.raises(UserError, match='no selection tables'):
    event_tables.read(tmp_path)


def test_a_pipe_among_the_tables_of_a_folder_is_named(tmp_path):
  os.mkfifo(tmp_path / 'a.txt')
  with pytest.raises(UserError, match=r'a\.txt: not a regular file'):
    event_tables.read(tmp_path)


def test_files_are_found_by_name_or_by_what_stands_before_the_suffix(tmp_path):
  for name in ('a.wav', 'b.flac', 'c.wav', 'c.mp3', 'b.Table.1.selections.txt', 'events.csv'):
    (tmp_path / name).write_bytes(b'')
  os.mkfifo(tmp_path / 'e.wav')  # named where it is read
  (tmp_path / 'b').mkdir()
  found, missing = event_tables.locate(['a.wav', 'b', 'c', 'd.wav', 'e', 'e.wav'], tmp_path)
  pipes = dict.fromkeys(('e', 'e.wav'), tmp_path / 'e.wav')
  assert found == {'a.wav': tmp_path / 'a.wav', 'b': tmp_path / 'b.flac'} | pipes
  assert missing == {'c': '2 files are called so', 'd.wav': 'no such file'}


def test_tables_of_one_file_are_compared_with_it_together(tmp_path):
  """One is called after the file, the other names it: Raven writes either, as its columns are chosen."""
  row = '1\tSpectrogram 1\t1\t{}\t{}\t0\t8000\t{}'
  for number, columns, cells in ((1, 'Species', (3, 4, 'owl')), (2, 'Begin File\tSpecies', (1, 2, 'clip.wav\tcrow'))):
    lines = [f'{RAVEN}\t{columns}', row.format(*cells)]
    (tmp_path / f'clip.Table.{number}.selections.txt').write_text('\n'.join(lines))
  for name in ('clip.wav', 'other.wav'):
    (tmp_path / name).write_bytes(b'')
  annotated = event_tables.read(tmp_path)
  assert set(annotated) == {'clip', 'clip.wav'}
  annotated |= {'./clip.wav': [Annotation(0, 1, 'fox')], 'other.wav': [Annotation(0, 1, 'cat')], 'gone': []}
  joined = event_tables.by_file(annotated, event_tables.locate(annotated, tmp_path)[0])
  clip = [Annotation(0, 1, 'fox'), Annotation(1, 2, 'crow'), Annotation(3, 4, 'owl')]
  assert joined == {'clip': clip, 'other.wav': [Annotation(0, 1, 'cat')]}


def test_names_that_lead_out_of_the_folder_or_are_too_long_are_missing(tmp_path):
  (tmp_path / 'media/below').mkdir(parents=True)
  for name in ('out.wav', 'media/below/a.wav'):
    (tmp_path / name).write_bytes(b'')
  root, long = tmp_path / 'media', 'x' * 5000
  outside = ['../out.wav', 'below/../../out.wav', str(tmp_path / 'out.wav')]
  found, missing = event_tables.locate([*outside, long, 'below/a.wav'], root)
  assert found == {'below/a.wav': root / 'below/a.wav'}
  assert missing == dict.fromkeys(outside, f'not below {root}') | {long: 'no such file'}
