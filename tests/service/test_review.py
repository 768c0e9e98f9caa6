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
from audionet_tf.media import wav_file
from audionet_tf.service import review_app, server


@pytest.fixture
def review(tmp_path):
  (tmp_path / 'sounds').mkdir()
  events = []
  for number, name in enumerate(['dog', 'cat', 'dog']):
    wav_file.write(tmp_path / f'sounds/a_{number:05}.wav', np.zeros(8000, np.int16), 8000)
    times = {'start_seconds': number, 'end_seconds': number + 1}
    events.append({'file_name': f'sounds/a_{number:05}.wav', 'source': 'a.wav', **times, 'name': name, 'score': 0.3})
  made = review_folder.Review(tmp_path, ['dog', 'cat'], events, {})
  made.write({})
  (tmp_path / 'events.json').write_text(json.dumps({'labels': made.labels, 'events': events}))
  return made


@pytest.fixture
def client(review):
  return TestClient(review_app.application(review, {'testserver'}))


def test_requests(review, client):
  assert client.get('/v1/review').json() == {'labels': ['dog', 'cat'], 'events': review.events, 'decided': {}}
  for number, asked in ((0, {'label': 'dog'}), (1, {'label': None}), (2, {'label': 'owl'}), (2, {})):
    answer = client.post(f'/v1/review/{number}', json=asked)
    assert (answer.status_code, answer.json()) == (200, {})
  assert client.get('/v1/review').json()['decided'] == {'0': 'dog', '1': None}
  assert review_folder.read(review.folder).decided == {0: 'dog', 1: None}
  assert client.get('/sounds/a_00001.wav').content[:4] == b'RIFF'
  for path in ('/', '/review.js', '/review.css'):
    assert client.get(path).status_code == 200
  assert "default-src 'self'" in client.get('/').headers['content-security-policy']


@pytest.mark.parametrize(
  ('path', 'body', 'status'),
  [
    ('/v1/review/3', '{"label": "dog"}', 400),
    ('/v1/review/x', '{"label": "dog"}', 422),
    ('/v1/review/0', '{"label": 5}', 400),
    ('/v1/review/0', '[]', 400),
    ('/v1/review/0', 'no JSON', 400),
    ('/v1/review/0', '[' * 3000, 400),
    ('/v1/review/0', '{"label": "two\\nlines"}', 400),
    ('/v1/review/0', json.dumps({'label': 'x' * 5000}), 413),
  ],
)
def test_refusals_change_nothing(review, client, path, body, status):
  assert client.post(path, content=body).status_code == status
  assert review.decided == {}


def test_other_sites_and_names_are_refused(review, client):
  assert client.post('/v1/review/0', json={'label': 'x'}, headers={'Origin': 'https://evil.org'}).status_code == 403
  assert client.get('/v1/review', headers={'Host': 'evil.org'}).status_code == 421
  for path in ('/sounds/../events.json', '/sounds/%2e%2e/events.json', '/gone'):
    assert client.get(path).status_code == 404
  assert review.decided == {}


@contextlib.contextmanager
def running(review):
  """The address at which a review answers."""
  listening = server.bind_socket('127.0.0.1', 0)
  running_server = server.Server(server.configuration(review_app.application(review), log_level='critical'))
  thread = threading.Thread(target=running_server.run, kwargs={'sockets': [listening]}, daemon=True)
  thread.start()
  try:
    running_service.wait(lambda: running_server.started)
    yield f'http://127.0.0.1:{listening.getsockname()[1]}'
  finally:
    running_server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.mark.long
@pytest.mark.skipif(chromium.PROGRAM is None, reason='no Chromium')
def test_keys_decide_and_go_on(review):
  with running(review) as address, chromium.running() as browser:
    page = browser.page(address)

    def press(key, then):
      page.run(f'document.dispatchEvent(new KeyboardEvent("keydown", {{key: {json.dumps(key)}, bubbles: true}}))')
      page.wait(then)

    name = 'document.getElementById("name").textContent'
    page.wait(f'{name} === "dog"')
    press('a', f'{name} === "cat"')
    press('x', f'{name} === "dog"')
    press('u', f'{name} === "cat"')
    press('1', f'{name} === "dog"')
    page.run('document.getElementById("reject").focus()')
    page.press(' ', 32, ' ')  # as on every button
    page.wait(f'{name} === "All are decided"')
  assert review_folder.read(review.folder).decided == {0: 'dog', 1: 'dog', 2: None}


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
  tones.write_embedding_student(tmp_path, tones.NAMES)
  wav_file.write(tmp_path / 'a.wav', (tones.sound(2, ('low', 0, 2)) * 32767).astype(np.int16), tones.RATE)
  for flags, message in (
    (['--model=run'], 'has no classes yet; commands name them by --classes'),
    (['--model=run', '--classes=gone.txt'], 'gone.txt'),
    (['--classes=words.npz'], '--classes needs --model'),
  ):
    done = commands.run('audionet_tf.review', '--port=0', *flags, 'a.wav', cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1, done.stderr
  words = ['audionet_tf.review', '--port=0', '--output=named', '--model=run', '--classes=words.npz', 'a.wav']
  child = commands.start(words, tmp_path, stderr=tmp_path / 'stderr')
  try:
    running_service.wait(lambda: (tmp_path / 'named/events.json').exists() or not child.is_alive(), 120)
  finally:
    child.kill()
    child.join()
  found = review_folder.read(tmp_path / 'named')
  assert found.labels == tones.NAMES and {event['name'] for event in found.events} == {'low'}


def test_files_that_cannot_be_read_are_told_and_the_starter_once(tmp_path):
  (tmp_path / 'text.wav').write_text('no sound')
  done = commands.run('audionet_tf.review', '--port=0', 'text.wav', cwd=tmp_path)
  assert done.returncode == 1 and 'none of 1 files can be read' in done.stderr
  assert done.stderr.count('using the starter') == 1


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
