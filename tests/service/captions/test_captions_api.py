"""Captions over HTTP, with a real export: times, forms, progress, limits, and uploads without sound."""

import contextlib
import errno
import http.client
import io
import json
import os
import re
import socket
import threading
import time

import media_clips
import pytest
import running_service
import tone_service
import tones

from audionet_tf.captioning import captioner
from audionet_tf.service.captions import jobs
from audionet_tf.service.settings import Limits

TONES = [('low', 1, 2), ('high', 3, 4.2)]
HOP_SECONDS = 0.04


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A video of five seconds with a low tone in the second second and a high one from the third on."""
  path = tmp_path_factory.mktemp('clips') / 'clip.mkv'
  return media_clips.write(path, 5, fps=5, sounds=[tones.sound(5, *TONES)], audio_codec='flac')


@pytest.fixture(autouse=True)
def nothing_is_left(made, tmp_path, monkeypatch):
  """After every test."""
  with tone_service.nothing_is_left(made, tmp_path, monkeypatch):
    yield


def upload(client, path, accept='application/json', query='', name=None):
  with open(path, 'rb') as file:
    files = {'file': (name or path.name, file)}
    return client.post(f'/v1/captions{query}', files=files, headers={'Accept': accept})


def test_captions_are_right_in_time_and_those_of_the_command(client, served, clip):
  document = upload(client, clip).json()
  detected = [(e['name'], e['start_seconds'], e['end_seconds']) for e in document['events'] if e['name'] != 'silence']
  assert [name for name, _, _ in detected] == tone_service.NAMES[1:]
  for (_, start, end), (_, begins, ends) in zip(detected, TONES, strict=True):
    assert abs(start - begins) <= HOP_SECONDS and abs(end - ends) <= HOP_SECONDS
  expected = captioner.captions(captioner.predictor(served), clip)
  assert [(e.name, e.start_seconds, e.end_seconds) for e in expected.events] == [
    (e['name'], e['start_seconds'], e['end_seconds']) for e in document['events']
  ]
  assert document['file'] == 'clip.mkv' and document['seconds'] == 5 and document['threshold'] == 0.2


def test_captions_as_webvtt_and_again_by_their_id(client, clip):
  answer = upload(client, clip, 'text/vtt')
  assert answer.headers['content-type'].startswith('text/vtt')
  assert 'high &lt;b&gt;tone&lt;/b&gt; --&gt; &amp; more' in answer.text
  place = answer.headers['location']
  assert client.get(f'{place}.vtt').text == answer.text
  times = re.findall(r'^(\S+) --> (\S+)$', answer.text, re.MULTILINE)
  assert [re.sub(r'[:.]', '', end) for _, end in times[:-1]] == [re.sub(r'[:.]', '', start) for start, _ in times[1:]]
  some, fewer = (client.get(f'{place}.json?threshold={value}').json()['events'] for value in (0.5, 0.997))
  assert {event['name'] for event in some} == set(tone_service.NAMES)
  assert {event['name'] for event in fewer} == set(tone_service.NAMES[1:])
  assert client.get(f'{place}.csv').text.startswith('start_seconds,')
  for wrong, status in (('?threshold=2', 400), ('?threshold=nan', 400), ('?threshold=x', 400)):
    assert client.get(f'{place}{wrong}').status_code == status
  for path in (f'{place}.exe', '/v1/captions/..%2f..%2fetc%2fpasswd', '/v1/captions/unknown/timeline'):
    assert client.get(path).status_code == 404


def test_the_timeline_shows_what_sounds_when(client, clip):
  place = upload(client, clip).headers['location']
  shown = client.get(f'{place}/timeline').json()
  classes = shown['classes']
  for seconds, name in ((0.5, 'silence'), (1.5, 'low'), (3.5, tone_service.NAMES[2])):
    column = next(i for i, end in enumerate(classes['end_seconds']) if seconds < end)
    number, percent = classes['top'][column][0]
    assert classes['names'][number] == name and percent > 90
  wave = shown['wave']
  loud = [high > 20 for high in wave['high']]
  assert abs(loud.index(True) * wave['block_seconds'] - 1) < 0.02
  mel = shown['mel']
  assert abs(mel['columns'] * mel['column_seconds'] - 5) < 0.1


def server_sent(text):
  return [(name, json.loads(data)) for name, data in re.findall(r'event: (\w+)\ndata: (.*)\n\n', text)]


def test_progress_is_streamed(client, clip):
  answer = upload(client, clip, 'text/event-stream')
  assert answer.headers['content-type'].startswith('text/event-stream')
  assert answer.headers['x-accel-buffering'] == 'no'  # of proxies
  messages = server_sent(answer.text)
  assert {name for name, _ in messages[:-1]} == {'progress'} and messages[-1][0] == 'result'
  stages = [data['stage'] for _, data in messages[:-1]]
  assert stages == sorted(stages) and {'decoding', 'listening'} <= set(stages)
  assert messages[-1][1]['events']


@pytest.fixture
def hostile(tmp_path, clip):
  """Function from a name to a file without readable sound."""
  secret = tmp_path / 'secret.wav'
  media_clips.write(secret, 1, times=[])
  contents = {
    'text': b'hello',
    'cut': clip.read_bytes()[:3000],
    'playlist': f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n'.encode(),
    'concat': f'ffconcat version 1.0\nfile {secret}\n'.encode(),
    'nothing': b'',
  }

  def make(name):
    path = tmp_path / name
    path.write_bytes(contents[name])
    return path

  return make


@pytest.mark.parametrize('name', ['text', 'cut', 'playlist', 'concat', 'nothing'])
def test_bad_uploads_are_refused(client, hostile, name):
  answer = upload(client, hostile(name), name='../../a\x1b[31m.wav')
  assert answer.status_code == 422 and '/proc' not in answer.json()['error']


def test_limits_of_uploads(client, made, tmp_path, monkeypatch):
  large = tmp_path / 'large.wav'
  large.write_bytes(bytes(tone_service.LIMITS.upload_bytes + 1))
  assert upload(client, large).status_code == 413
  boundary = {'Content-Type': 'multipart/form-data; boundary=x'}
  head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
  pieces = (bytes(1 << 16) for _ in range(100))  # of unknown length
  answer = client.post('/v1/captions', content=(piece for part in ([head], pieces) for piece in part), headers=boundary)
  assert answer.status_code == 413
  assert client.post('/v1/captions', content=b'rubbish', headers=boundary).status_code == 400
  assert client.post('/v1/captions', files={'other': b'1'}).status_code == 400
  long = media_clips.write(tmp_path / 'long.wav', 140, times=[], rate_hz=8000)
  answer = upload(client, long)
  assert answer.status_code == 422 and 'longer than the 130 s' in answer.json()['error']
  assert client.post('/v1/captions', json={'url': 'https://youtu.be/-OAyRsvFGgc'}).status_code == 403
  monkeypatch.setattr(made.jobs, 'limits', Limits(decode_seconds=0.01))
  answer = upload(client, long)
  assert answer.status_code == 422 and 'within 0.01 s' in answer.json()['error']


@pytest.mark.parametrize('charset', ['undefined', 'idna', 'punycode', 'utf-16', 'hex', 'x' * 100])
def test_a_charset_that_a_name_is_not_in_is_a_mistake_of_the_client(client, charset):
  headers = {'Content-Type': f'multipart/form-data; boundary=x; charset={charset}'}
  head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="\xff\xfe"\r\n\r\n'
  answer = client.post('/v1/captions', content=head + b'no sound\r\n--x--\r\n', headers=headers)
  assert answer.status_code in (400, 422) and set(answer.json()) == {'error'}


def test_what_is_lost_of_the_sound_is_in_the_answer(client, tmp_path, clip):
  assert upload(client, clip).json()['warnings'] == []
  loud = tmp_path / 'loud.wav'  # values of int16 as floats
  media_clips.write(loud, 1, times=[], sounds=[20_000 * tones.sound(1, *TONES[:1]) + 9000], audio_codec='pcm_f32le')
  answer = upload(client, loud)
  (warning,) = answer.json()['warnings']
  assert warning.startswith('samples reach 9000, beyond 1 they are clipped; divide them by 32768')
  assert client.get(f'{answer.headers["location"]}.json').json()['warnings'] == [warning]
  assert server_sent(upload(client, loud, 'text/event-stream').text)[-1][1]['warnings'] == [warning]
  assert upload(client, loud, 'text/vtt').text.startswith('WEBVTT')


class FullFile(io.BytesIO):
  """Stands for an upload on a full disk."""

  _rolled = True

  def __init__(self, *_, **__):
    super().__init__()

  def write(self, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize('place', ['upload', 'sound'])
def test_a_full_disk_is_not_the_fault_of_the_file(client, clip, monkeypatch, place):
  with monkeypatch.context() as patch:
    if place == 'upload':
      patch.setattr('starlette.formparsers.SpooledTemporaryFile', FullFile)
    else:
      patch.setattr(jobs.tempfile, 'TemporaryFile', lambda **_: open('/dev/full', 'r+b', buffering=0))  # noqa: SIM115
    answer = upload(client, clip)
    assert answer.status_code == 507 and answer.headers['retry-after']
    assert answer.json() == {'error': 'no space left for uploads on the server; try again later'}
    if place == 'sound':
      told = server_sent(upload(client, clip, 'text/event-stream').text)[-1]
      assert told[0] == 'error' and told[1]['status'] == 507
  assert upload(client, clip).status_code == 200


def test_too_many_uploads_at_once_are_refused(client, made, clip):
  with contextlib.ExitStack() as places:
    for _ in range(tone_service.LIMITS.captions_at_once + tone_service.LIMITS.captions_waiting):
      places.enter_context(made.jobs.place())
    answer = upload(client, clip)
    assert answer.status_code == 503 and answer.headers['retry-after']
  assert upload(client, clip).status_code == 200


def test_slow_uploads_keep_nobody_out(client, made, clip):
  part = b'--x\r\n'
  head = b'POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n'
  places = tone_service.LIMITS.captions_at_once + tone_service.LIMITS.captions_waiting
  with contextlib.ExitStack() as connections:
    for _ in range(places):
      connection = socket.create_connection((client.base_url.host, client.base_url.port), 20)
      connections.enter_context(connection).sendall(head + b'Content-Length: 1000\r\n\r\n' + part)
    running_service.wait(lambda: made.uploads.held == places * len(part))
    assert made.jobs.admitted == 0
    assert upload(client, clip).status_code == 200
    assert made.uploads.held == places * len(part)  # they are still there
  running_service.wait(lambda: made.uploads.held == 0)


@pytest.mark.parametrize('accept', ['text/event-stream', 'application/json'])
def test_a_client_that_leaves_cancels_its_job(client, made, tmp_path, monkeypatch, accept):
  """The thread reads the sound until it notices: its place is free, and the sound closed, only then."""
  clip = media_clips.write(tmp_path / 'a.wav', 3, times=[])
  entered, cancelled, go_on, read = threading.Event(), threading.Event(), threading.Event(), []

  def score(predictor, path, report):
    entered.set()
    try:
      for _ in range(2000):
        report(1.0)
        time.sleep(0.01)
    except jobs.Cancelled:
      cancelled.set()
      go_on.wait(20)
      with open(path, 'rb') as sound:
        read.append(sound.read(4))
      raise

  def answered():
    return sum(sample.value for family in made.metrics.requests.collect() for sample in family.samples)

  monkeypatch.setattr('audionet_tf.service.captions.timeline.score', score)
  request = client.build_request('POST', '/v1/captions', files={'file': clip.read_bytes()}, headers={'Accept': accept})
  connection, before = http.client.HTTPConnection(client.base_url.host, client.base_url.port), answered()
  connection.request('POST', '/v1/captions', request.read(), dict(request.headers))
  assert entered.wait(20) and made.jobs.admitted == 1
  connection.close()
  try:
    assert cancelled.wait(20)
    running_service.wait(lambda: answered() > before)
    client.get('/healthz')  # whatever was to be cancelled is by now
    assert made.jobs.admitted == 1 and made.jobs.slots.locked()
  finally:
    go_on.set()
  running_service.wait(lambda: made.jobs.admitted == 0)
  assert read == [b'RIFF']
