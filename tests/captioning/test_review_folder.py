"""Events to review: their order, their sounds, decisions on disk, and what training takes of them."""

import csv
import errno
import json
import os

import numpy as np
import pytest
import scipy.io.wavfile
import tones

from audionet_tf.captioning import captioner, event_detection, review_folder
from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.sound_folders import labelled, recordings

RULES = event_detection.DetectionConfig(stop=('silence',))


@pytest.fixture(scope='module')
def predictor():
  return captioner.predictor(tones.student())


@pytest.fixture
def sounds(tmp_path):
  scipy.io.wavfile.write(tmp_path / 'a b.wav', tones.RATE, tones.sound(9, ('low', 1, 3), ('high', 4, 4.5)))
  scipy.io.wavfile.write(tmp_path / 'c.wav', tones.RATE, 0.5 * tones.sound(4, ('low', 0, 0.5)))
  (tmp_path / 'broken.wav').write_bytes(b'nothing')
  return [tmp_path / name for name in ('a b.wav', 'broken.wav', 'c.wav')]


def table(folder):
  with open(folder / 'metadata.csv', newline='') as file:
    return [(row['file_name'], row['label']) for row in csv.DictReader(file)]


def test_events_in_order_of_doubt_with_their_sounds(tmp_path, predictor, sounds, capsys):
  review = review_folder.make(tmp_path / 'review', predictor, RULES, sounds)
  assert 'broken.wav' in capsys.readouterr().err
  assert review.labels == ['low', 'high'] and len(review.events) == 3
  scores = [event['score'] for event in review.events]
  assert scores == sorted(scores)
  for event in review.events:
    rate, pcm = scipy.io.wavfile.read(tmp_path / 'review' / event['file_name'])
    spectrum = np.abs(np.fft.rfft(pcm))
    assert rate == tones.RATE and abs(spectrum.argmax() * rate / len(pcm) - tones.HERTZ[event['name']]) < 10
    assert len(pcm) / rate == pytest.approx(max(1, event['end_seconds'] - event['start_seconds']), abs=0.01)
  assert {event['file_name'].rpartition('_')[0] for event in review.events} == {'sounds/a-b', 'sounds/c'}
  assert table(tmp_path / 'review') == []


def test_decisions_are_written_and_read_and_taken_back(tmp_path, predictor, sounds):
  folder = tmp_path / 'review'
  review = review_folder.make(folder, predictor, RULES, sounds)
  names = [event['file_name'] for event in review.events]
  review.decide(0, 'low')
  review.decide(1, None)
  review.decide(2, 'owl, barn')
  assert table(folder) == [(names[0], 'low'), (names[2], 'owl, barn')]
  again = review_folder.read(folder)
  assert again == review
  again.undo(0)
  again.undo(0)
  assert table(folder) == [(names[2], 'owl, barn')] and review_folder.read(folder).decided == {1: None, 2: 'owl, barn'}
  for number, label in ((3, 'x'), (-1, 'x'), (0, 'two\nlines'), (0, ''), (0, 'x' * 121)):
    with pytest.raises(ValueError):
      again.decide(number, label)


@pytest.mark.parametrize(('module', 'name'), [(review_folder.files, 'write_json'), (review_folder.csv, 'writer')])
def test_what_cannot_be_written_is_not_decided(tmp_path, predictor, sounds, monkeypatch, module, name):
  """As on a full disk: neither of both files, and not with the next decision either."""
  folder = tmp_path / 'review'
  review = review_folder.make(folder, predictor, RULES, sounds)
  review.decide(0, 'low')
  before = [(folder / each).read_bytes() for each in ('decided.json', 'metadata.csv')]

  def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  for change in (lambda: review.decide(1, 'high'), lambda: review.undo(0), lambda: review.decide(0, None)):
    with monkeypatch.context() as patch:
      patch.setattr(module, name, full)
      with pytest.raises(DiskFullError):
        change()
    assert review.decided == {0: 'low'}
    assert [(folder / each).read_bytes() for each in ('decided.json', 'metadata.csv')] == before
  review.decide(2, 'owl')
  assert review_folder.read(folder).decided == review.decided == {0: 'low', 2: 'owl'}


def test_training_takes_the_folder_and_tells_recordings(tmp_path, predictor, sounds):
  review = review_folder.make(tmp_path / 'review', predictor, RULES, sounds)
  for number in range(3):
    review.decide(number, 'x')
  (tmp_path / 'review/sounds/d_00009.wav').write_bytes(b'')
  with pytest.raises(UserError, match="one class alone, 'x'"):
    labelled.read(tmp_path / 'review')
  found = [labelled.Sound(tmp_path, event['file_name'], 'x') for event in review.events]
  assert {recordings.recording(sound) for sound in found} == {(recordings.NUMBERS, 'a-b'), (recordings.NUMBERS, 'c')}


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('events.json', '{}'),
    ('events.json', '[]'),
    ('events.json', '{"labels": [], "events": [{"name": 1}]}'),
    ('decided.json', '{"9": "x"}'),
    ('decided.json', '{"a": "x"}'),
    ('decided.json', '[' * 100_000),
    ('decided.json', '{"0": 1}'),
  ],
)
def test_damaged_folders_are_one_line(tmp_path, predictor, sounds, name, text):
  review_folder.make(tmp_path / 'review', predictor, RULES, sounds)
  (tmp_path / 'review' / name).write_text(text)
  with pytest.raises(UserError, match='not a folder of audionet_tf.review'):
    review_folder.read(tmp_path / 'review')


@pytest.mark.parametrize(
  ('key', 'value'),
  [('score', 'x'), ('score', float('nan')), ('start_seconds', float('inf')), ('name', None), ('file_name', 1)],
)
def test_events_that_the_page_cannot_show_are_one_line(tmp_path, predictor, sounds, key, value):
  review_folder.make(tmp_path / 'review', predictor, RULES, sounds)
  found = json.loads((tmp_path / 'review/events.json').read_text())
  found['events'][0][key] = value
  (tmp_path / 'review/events.json').write_text(json.dumps(found))
  with pytest.raises(UserError, match='not a folder of audionet_tf.review'):
    review_folder.read(tmp_path / 'review')


def test_nothing_to_review(tmp_path, predictor, sounds):
  with pytest.raises(UserError, match='none of 1 files can be read'):
    review_folder.make(tmp_path / 'review', predictor, RULES, sounds[1:2])
  scipy.io.wavfile.write(tmp_path / 'silence.wav', tones.RATE, tones.sound(2))
  with pytest.raises(UserError, match='no event in 1 files; a lower --threshold finds more'):
    review_folder.make(tmp_path / 'review', predictor, RULES, [*sounds[1:2], tmp_path / 'silence.wav'])
