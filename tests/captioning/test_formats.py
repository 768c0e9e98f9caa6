"""Events as files: read back by other programs' rules, whatever the names are."""

import csv
import json
import os
import re

import pytest
import webvtt

from audionet_tf.captioning import event_detection, formats, rules
from audionet_tf.core import text
from audionet_tf.core.errors import UserError

HOSTILE = [
  '<script>alert(1)</script>', 'a\n\n00:00:00.000 --> 99:00:00.000\nowned', '-->', '\x1b[2J\x00\x85', '\ud800', '',
  'b,"c";\t=d', '\u202egnp.exe', 'WEBVTT', '&lt;b&gt; & \\N {\\an8}', 'Türglocke \N{BELL}', 'x' * 5000,
  '日本語の音', 'NOTE a', '12',
]  # fmt: skip
NAMES = [text.one_line(name) for name in HOSTILE]
EVENTS = [event_detection.Event(2.0 * i, 2.0 * i + 1.5, name, 0.5, 0.75) for i, name in enumerate(NAMES)]
ABOUT = {'file': 'a clip.mp4', 'seconds': 60.0}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('captions')
  formats.write(folder, 'a clip.mp4', formats.FORMATS, EVENTS, event_detection.cues(EVENTS), ABOUT)
  return folder


def test_names_are_one_line_each():
  for name in NAMES:
    assert 0 < len(name) <= text.LONGEST_NAME and name == name.strip()
    assert name.splitlines() == [name] and not any(c in name for c in '\x00\x1b\t\u202e')
    name.encode()
  assert NAMES[3:6] == ['[2J', '?', '?'] and NAMES[10] == HOSTILE[10] and NAMES[12] == HOSTILE[12]


def seconds(stamp):
  hours, minutes, rest = stamp.replace(',', '.').split(':')
  return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def test_webvtt(folder):
  lines = (folder / 'a clip.mp4.vtt').read_text(encoding='utf-8').split('\n')
  assert lines[0] == 'WEBVTT' and lines[1] == ''
  blocks = '\n'.join(lines[2:]).strip().split('\n\n')
  entities = {'&lt;': '<', '&gt;': '>', '&amp;': '&'}
  for block, event in zip(blocks, EVENTS, strict=True):
    times, shown = block.split('\n')  # one line of text, whatever was in the name
    assert [seconds(stamp) for stamp in times.split(' --> ')] == [event.start_seconds, event.end_seconds]
    assert not re.search(r'[<>]|&(?!amp;|lt;|gt;)', shown)
    assert re.sub('&lt;|&gt;|&amp;', lambda found: entities[found[0]], shown) == event.name
  assert len(webvtt.read(str(folder / 'a clip.mp4.vtt'))) == len(EVENTS)


def test_srt(folder):
  blocks = (folder / 'a clip.mp4.srt').read_text(encoding='utf-8').strip().split('\n\n')
  for number, (block, event) in enumerate(zip(blocks, EVENTS, strict=True), 1):
    counted, times, shown = block.split('\n')
    assert counted == str(number)
    assert [seconds(stamp) for stamp in times.split(' --> ')] == [event.start_seconds, event.end_seconds]
    assert len(shown) == len(event.name) and not set(shown) & set('<>{}')


def test_tables_and_labels(folder):
  document = json.loads((folder / 'a clip.mp4.events.json').read_text())
  assert [event['name'] for event in document['events']] == NAMES and document['seconds'] == 60.0
  assert formats.read_events(folder / 'a clip.mp4.events.json') == EVENTS
  with open(folder / 'a clip.mp4.events.csv', newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert [row['name'] for row in rows] == NAMES
  assert [float(row['end_seconds']) for row in rows] == [event.end_seconds for event in EVENTS]
  labels = (folder / 'a clip.mp4.labels.txt').read_text(encoding='utf-8').splitlines()
  assert [line.split('\t') for line in labels[:1]] == [['0.000000', '1.500000', NAMES[0]]]
  assert {line.count('\t') for line in labels} == {2} and len(labels) == len(EVENTS)
  for line, event in zip((folder / 'a clip.mp4.rttm').read_text(encoding='utf-8').splitlines(), EVENTS, strict=True):
    fields = line.split(' ')
    assert fields[:3] == ['SPEAKER', 'a_clip.mp4', '1'] and len(fields) == 10
    assert (float(fields[3]), float(fields[4])) == (event.start_seconds, 1.5)
    assert fields[7] == event.name.replace(' ', '_')


def test_nothing_heard(tmp_path):
  formats.write(tmp_path, 'a', formats.FORMATS, [], [], ABOUT)
  assert (tmp_path / 'a.vtt').read_text() == 'WEBVTT\n'
  assert (tmp_path / 'a.srt').read_text().strip() == ''
  assert len(webvtt.read(str(tmp_path / 'a.vtt'))) == 0
  assert formats.read_events(tmp_path / 'a.events.json') == []


@pytest.mark.parametrize(
  'written',
  [
    '',
    '[]',
    '{}',
    '{"events": [{}]}',
    '{"events": [{"start_seconds": 1, "end_seconds": 0, "name": "a", "score": 1, "peak": 1}]}',
    '{"events": [{"start_seconds": 0, "end_seconds": NaN, "name": "a", "score": 1, "peak": 1}]}',
    '{"events": [{"start_seconds": 0, "end_seconds": 1, "name": 7, "score": 1, "peak": 1}]}',
    '{"events": [{"start_seconds": "0", "end_seconds": 1, "name": "a", "score": 1, "peak": 1}]}',
  ],
)
def test_what_holds_no_events(tmp_path, written):
  (tmp_path / 'x.json').write_text(written)
  with pytest.raises(UserError, match='x.json: cannot read events'):
    formats.read_events(tmp_path / 'x.json')
  with pytest.raises(UserError, match='no such file'):
    formats.read_events(tmp_path / 'y.json')


CLASSES = ['/m/1', '/m/2', '/m/3']


@pytest.mark.parametrize(
  ('written', 'names'),
  [
    ('class_name,display_name\n/m/2,Dog\n/m/9,Cow\n', {'/m/2': 'Dog'}),
    ('index,mid,display_name\n0,/m/3,Cat\n1,/m/1, Dog \n2,/m/2,\n', {'/m/3': 'Cat', '/m/1': 'Dog', '/m/2': '/m/2'}),
    ('index,mid,display_name\n1,/x,B\n0,/y,A\n2,/z,"C, D"\n', {'/m/1': 'A', '/m/2': 'B', '/m/3': 'C, D'}),
  ],
)
def test_display_names(tmp_path, written, names):
  (tmp_path / 'n.csv').write_text(written)
  assert rules.read_names(tmp_path / 'n.csv', CLASSES) == names


@pytest.mark.parametrize('written', ['index,display_name\n0,A\n', 'class_name,display_name\nx,y\n', 'a,b\n1,2\n'])
def test_display_names_of_others(tmp_path, written):
  (tmp_path / 'n.csv').write_text(written)
  with pytest.raises(UserError, match=r'n\.csv: (names none|no column)'):
    rules.read_names(tmp_path / 'n.csv', CLASSES)


def test_thresholds_and_stop_lists(tmp_path):
  (tmp_path / 't.csv').write_text('class_name,threshold\ndog,0.4\n')
  assert rules.read_thresholds(tmp_path / 't.csv') == {'dog': 0.4}
  (tmp_path / 't.csv').write_text('class_name,threshold\ndog,0.4\ncat,much\n')
  with pytest.raises(UserError, match="line 3: threshold is 'much'"):
    rules.read_thresholds(tmp_path / 't.csv')
  (tmp_path / 'stop.txt').write_text('dog\n\ncat, big\n')
  assert rules.read_stop([str(tmp_path / 'stop.txt')]) == ('dog', 'cat, big')
  assert rules.read_stop(['dog', ' cat ', '']) == ('dog', 'cat')


def test_a_file_whose_name_is_not_utf8_is_written(tmp_path):
  name = os.fsdecode(b'caf\xe9.mp4')
  formats.write(tmp_path, name, formats.FORMATS, EVENTS, event_detection.cues(EVENTS), ABOUT | {'file': name})
  for suffix, _ in formats.FORMATS.values():
    (tmp_path / (name + suffix)).read_bytes().decode('utf-8')
  assert json.loads((tmp_path / f'{name}.events.json').read_bytes())['file'] == name
