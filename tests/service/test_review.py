"""The page of reviews: its requests, its refusals, its keys in a browser."""

import contextlib
import json
import threading

import chromium
import commands
import numpy as np
import pytest
import running_service
import tones
from starlette.testclient import TestClient

from audionet_tf.captioning import review_folder, review_place
from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import word_tables
from audionet_tf.media import wav_file
from audionet_tf.models import registry, student_file
from audionet_tf.service import review_app, server


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'review needs FILE after the flags (reviewed holds no review to go on with)'),
    (['gone.wav'], 'no such file: gone.wav'),
    (['--output=.', 'gone.wav'], 'holds a review; leave the files out'),
    (['--output=s3://bucket/review', 'gone.wav'], 'a review is kept in a folder of this machine'),
  ],
)
def test_mistakes_are_one_line(review, arguments, message):
  done = commands.run('audionet_tf.review', *arguments, cwd=review.folder)
  assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1


def test_classes_of_a_table_name_the_events_of_a_student_of_embeddings(tmp_path):
  settings = student_file.StudentConfig(
    'audionet', tones.RATE, 'mean', 0.5, {}, {'space': {'source': 'embedding:x.npz'}}, embeddings={'space': 3}
  )
  (tmp_path / 'space').mkdir()
  student_file.save(tmp_path / 'space/student.keras', registry.build('audionet', {'space': 3}), settings)
  word_tables.write(tmp_path / 'words.npz', word_tables.make(['low', 'high'], np.eye(2, 3)))
  wav_file.write(tmp_path / 'a.wav', (tones.sound(2, ('low', 0, 2)) * 32767).astype(np.int16), tones.RATE)
  for flags, message in (
    (['--model=space'], 'has no classes yet; commands name them by --classes'),
    (['--model=space', '--classes=gone.txt'], 'gone.txt'),
    (['--classes=words.npz'], '--classes needs --model'),
  ):
    done = commands.run('audionet_tf.review', '--port=0', *flags, 'a.wav', cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1, done.stderr
  words = ['audionet_tf.review', '--port=0', '--output=named', '--model=space', '--classes=words.npz', 'a.wav']
  child = commands.start(words, tmp_path, stderr=tmp_path / 'stderr')
  try:
    running_service.wait(lambda: (tmp_path / 'named/events.json').exists() or not child.is_alive(), 120)
  finally:
    child.kill()
    child.join()
  found = review_folder.read(tmp_path / 'named')
  assert found.labels == ['low', 'high'] and {event['name'] for event in found.events} <= {'low', 'high'}


def test_folders_of_something_else_are_kept(tmp_path):
  wav_file.write(tmp_path / 'a.wav', np.zeros(8000, np.int16), 8000)
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine/metadata.csv').write_text('file_name,label\n')
  done = commands.run('audionet_tf.review', '--output=mine', 'a.wav', cwd=tmp_path)
  assert done.returncode == 1 and 'mine: holds something that is no review' in done.stderr
  assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['metadata.csv']


@pytest.mark.parametrize(
  ('names', 'is_allowed'),
  [
    ([], True),
    (['.lock'], True),
    (['decided.json', 'metadata.csv', 'sounds', '.lock'], True),  # interrupted
    (['metadata.csv', 'sounds'], False),
    (['decided.json', 'notes.txt'], False),
  ],
)
def test_where_a_new_review_may_go(tmp_path, names, is_allowed):
  for name in names:
    (tmp_path / name).write_text('')
  with contextlib.nullcontext() if is_allowed else pytest.raises(UserError, match='no review'):
    review_place.check_new(tmp_path)


def test_one_review_at_a_time(review):
  with files.locked(review.folder):
    done = commands.run('audionet_tf.review', '--output=.', '--port=0', cwd=review.folder)
  assert done.returncode == 1 and 'another review is open there' in done.stderr and done.stderr.count('\n') == 1
