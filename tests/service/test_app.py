"""The service over HTTP, with a real export: TensorFlow Serving's REST API, allowed clients, the page, health."""

import concurrent.futures
import dataclasses
import gzip
import http.client
import pathlib
import re
import signal
import subprocess
import sys

import httpx
import numpy as np
import orjson
import pytest
import running_service
import tone_service
import tones

from audionet_tf.service import app
from audionet_tf.service.batching import Batcher
from audionet_tf.service.settings import EXTENSION_ORIGIN, Budget

MODEL = '/v1/models/audionet'
WEB = pathlib.Path(app.__file__).parent / 'web'


@pytest.fixture(autouse=True)
def nothing_is_left(made, tmp_path, monkeypatch):
  """After every test."""
  with tone_service.nothing_is_left(made, tmp_path, monkeypatch):
    yield


def test_status_and_metadata_are_those_of_tensorflow_serving(client, served):
  state = client.get(MODEL).json()
  assert state == {
    'model_version_status': [
      {'version': '1', 'state': 'AVAILABLE', 'status': {'error_code': 'OK', 'error_message': ''}}
    ]
  }
  assert client.get(f'{MODEL}/versions/1').json() == state
  document = client.get(f'{MODEL}/metadata').json()
  assert document['model_spec'] == {'name': 'audionet', 'signature_name': '', 'version': '1'}
  signatures = document['metadata']['signature_def']['signature_def']
  default = signatures['serving_default']
  assert default['method_name'] == 'tensorflow/serving/predict'
  assert default['inputs']['waveform']['dtype'] == 'DT_FLOAT'
  assert [dim['size'] for dim in default['inputs']['waveform']['tensor_shape']['dim']] == ['-1', '-1']
  assert set(default['outputs']) == set(served.signatures['serving_default'].structured_outputs)
  assert set(signatures) >= {'serving_default', 'windows'}


def waveforms(count, samples=640):
  return np.random.default_rng(0).uniform(-1, 1, [count, samples]).astype(np.float32)


@pytest.mark.parametrize('path', [MODEL, f'{MODEL}/versions/1'])
def test_predict_by_rows_and_by_tensors(client, served, path):
  sound = waveforms(3)
  expected = served.predict(sound)
  rows = client.post(f'{path}:predict', json={'instances': sound.tolist()}).json()['predictions']
  assert len(rows) == 3 and set(rows[0]) == set(expected)
  named = [{'waveform': row} for row in sound.tolist()]
  request = {'signature_name': 'serving_default', 'instances': named}
  assert client.post(f'{path}:predict', json=request).json()['predictions'] == rows
  for inputs in (sound.tolist(), {'waveform': sound.tolist()}):
    columns = client.post(f'{path}:predict', json={'inputs': inputs}).json()['outputs']
    for name, values in expected.items():
      by_row = [row[name] for row in rows]
      assert by_row == columns[name]
      if name == 'top_classes':
        assert by_row == values.tolist()
      else:
        np.testing.assert_allclose(by_row, values, atol=1e-6)


def test_the_other_signature_takes_one_waveform(client, served):
  sound = waveforms(1, 2000)[0]
  expected = served.windows(sound)
  outputs = client.post(
    f'{MODEL}:predict', json={'signature_name': 'windows', 'inputs': {'waveform': sound.tolist()}}
  ).json()['outputs']
  np.testing.assert_allclose(outputs['probabilities'], expected['probabilities'], atol=1e-6)
  np.testing.assert_allclose(outputs['end_seconds'], [0.04, 0.08, 0.12], atol=1e-6)


def test_classify_gives_the_highest_first(client):
  sound = [tones.sound(0.04, (name, 0, 1)).tolist() for name in ('low', 'high')]
  request = {'examples': [{'waveform': row} for row in sound]}
  results = client.post(f'{MODEL}:classify', json=request).json()['results']
  assert [row[0][0] for row in results] == tone_service.NAMES[1:]
  assert all(len(row) == 3 and abs(sum(value for _, value in row) - 1) < 1e-5 for row in results)


def test_concurrent_requests_get_their_own_predictions(client, served, made):
  requests = [waveforms(1 + i % 3, 640 + 160 * (i % 2)) + i / 100 for i in range(24)]
  expected = [served.predict(sound)['probabilities'] for sound in requests]

  def predict(sound):
    return client.post(f'{MODEL}:predict', json={'inputs': sound.tolist()}).json()['outputs']['probabilities']

  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for outputs, values in zip(pool.map(predict, requests), expected, strict=True):
      np.testing.assert_allclose(outputs, values, atol=1e-6)


@pytest.mark.parametrize(
  ('path', 'body', 'status', 'message'),
  [
    (f'{MODEL}:predict', b'{"instances": [[1', 400, 'not JSON'),
    (f'{MODEL}:predict', b'[1]', 400, 'not a JSON object'),
    (f'{MODEL}:predict', b'{}', 400, 'instances'),
    (f'{MODEL}:predict', b'{"instances": [[0]], "inputs": [[0]]}', 400, 'either'),
    (f'{MODEL}:predict', b'{"instances": []}', 400, 'non-empty list'),
    (f'{MODEL}:predict', b'{"instances": [[1, 2], [1]]}', 400, 'array of numbers'),
    (f'{MODEL}:predict', b'{"instances": [["1", "2"]]}', 400, 'array of numbers'),
    (f'{MODEL}:predict', b'{"instances": [[true]]}', 400, 'array of numbers'),
    (f'{MODEL}:predict', b'{"instances": [[null]]}', 400, 'array of numbers'),
    (f'{MODEL}:predict', b'{"inputs": [[1e39]]}', 400, 'float32'),
    (f'{MODEL}:predict', b'{"inputs": ' + b'[' * 60 + b']' * 60 + b'}', 400, 'array of numbers'),
    (f'{MODEL}:predict', b'{"inputs": ' + b'[' * 5000 + b']' * 5000 + b'}', 400, 'not JSON'),
    (f'{MODEL}:predict', b'{"inputs": {"sound": [[1]]}}', 400, 'expected is waveform'),
    (f'{MODEL}:predict', b'{"signature_name": "x\\ny", "inputs": [[1]]}', 400, 'allowed are serving_default'),
    (f'{MODEL}:predict', b'{"signature_name": "windows", "inputs": [[1]]}', 400, 'samples'),
    (f'{MODEL}:predict', b'{"inputs": [[' + b'0,' * (1 << 20) + b'0]]}', 413, 'allowed are 1 MiB'),
    (f'{MODEL}:classify', b'{"examples": [[0]]}', 400, 'examples'),
    (f'{MODEL}:regress', b'{}', 404, 'predict, classify'),
    (f'{MODEL}/versions/2:predict', b'{"inputs": [[0]]}', 404, 'available is audionet, version 1'),
    ('/v1/models/other:predict', b'{"inputs": [[0]]}', 404, 'available is audionet'),
    ('/v1/captions', b'{"url": "http://127.0.0.1/"}', 415, 'multipart'),
  ],
)
def test_a_mistake_is_one_line_with_a_status(client, path, body, status, message):
  answer = client.post(path, content=body)
  assert answer.status_code == status
  assert set(answer.json()) == {'error'}
  assert message in answer.json()['error'] and '\n' not in answer.json()['error']


def test_gzip_bodies_are_read_as_tensorflow_serving_does(client, made):
  plain = orjson.dumps({'inputs': waveforms(2).tolist()})
  expected = client.post(f'{MODEL}:predict', content=plain).json()
  for encoding in ('gzip', 'GZIP', 'identity'):
    body = plain if encoding == 'identity' else gzip.compress(plain)
    answer = client.post(f'{MODEL}:predict', content=body, headers={'Content-Encoding': encoding})
    assert (answer.status_code, answer.json()) == (200, expected)
  bomb = gzip.compress(b' ' * (made.limits.request_bytes + 1))
  for body, encoding, status, message in (
    (bomb, 'gzip', 413, 'more than the 1 MiB allowed, decompressed'),
    (gzip.compress(plain)[:-9], 'gzip', 400, 'truncated'),
    (plain, 'gzip', 400, 'not gzip, or damaged'),
    (plain, 'br', 415, 'allowed are gzip and identity'),
  ):
    answer = client.post(f'{MODEL}:predict', content=body, headers={'Content-Encoding': encoding})
    assert answer.status_code == status and message in answer.json()['error']
  assert made.bodies.held == 0


def test_int16_values_are_noticed(client):
  sound = (waveforms(2) * 32767).round()
  for request in ({'inputs': sound.tolist()}, {'instances': sound.astype(int).tolist()}):
    answer = client.post(f'{MODEL}:predict', json=request)
    assert answer.status_code == 400 and 'allowed is -1 to 1; divide int16 by 32768' in answer.json()['error']
  loud = {'inputs': (1.5 * waveforms(2) / abs(waveforms(2)).max()).tolist()}  # as decoded MP3 may be
  assert client.post(f'{MODEL}:predict', json=loud).status_code == 200


def test_limits_of_predictions(client, made, monkeypatch):
  request = {'inputs': waveforms(2).tolist()}
  for changed, status, message in (({'requests_bytes': 9}, 503, 'try again'), ({'answer_bytes': 9}, 413, 'less sound')):
    monkeypatch.setattr(made, 'limits', dataclasses.replace(tone_service.LIMITS, **changed))
    monkeypatch.setattr(made, 'bodies', Budget(made.limits.requests_bytes))
    answer = client.post(f'{MODEL}:predict', json=request)
    assert answer.status_code == status and message in answer.json()['error']
    assert made.bodies.held == 0
  monkeypatch.setattr(made, 'limits', dataclasses.replace(tone_service.LIMITS, predict_seconds=0.2))
  connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
  connection.putrequest('POST', f'{MODEL}:predict')
  connection.putheader('Content-Length', '100')
  connection.endheaders(b'{"inputs":')  # and nothing more
  answer = connection.getresponse()
  assert answer.status == 408 and b'0.2 s' in answer.read()
  connection.close()


def test_a_student_that_fails_at_warm_up_is_never_ready(served):
  def fails(waveform):
    raise RuntimeError('no')

  broken = app.make(served)
  broken.batcher = Batcher(fails, 1, 1)
  with running_service.running(broken) as address:
    running_service.wait(lambda: broken.failure)
    answer = httpx.get(f'{address}/readyz')
  assert answer.status_code == 503 and 'fails at warm-up' in answer.json()['error']


def test_requests_of_other_sites_are_refused(client):
  assert client.get('/v1/service', headers={'Host': 'evil.example'}).status_code == 421
  for origin in ('http://evil.example', 'null', 'http://127.0.0.1:1'):
    answer = client.post(f'{MODEL}:predict', json={'inputs': [[0]]}, headers={'Origin': origin})
    assert answer.status_code == 403 and 'access-control-allow-origin' not in answer.headers
  own = str(client.base_url).rstrip('/')
  assert client.get('/v1/service', headers={'Origin': own}).status_code == 200
  preflight = {'Origin': EXTENSION_ORIGIN, 'Access-Control-Request-Method': 'POST'}
  answer = client.options('/v1/captions', headers=preflight)
  assert answer.status_code == 200 and answer.headers['access-control-allow-origin'] == EXTENSION_ORIGIN
  answer = client.get('/v1/service', headers={'Origin': EXTENSION_ORIGIN})
  assert answer.headers['access-control-allow-origin'] == EXTENSION_ORIGIN and 'Origin' in answer.headers['vary']


MALFORMED = {
  'Host': ['[', '[::1', '[]', 'a b', 'a@127.0.0.1', '127.0.0.1/x', '127.0.0.1#', '127.0.0.1:x', '127.0.0.1:99999'],
  'Origin': ['http://[', 'http://[::1', 'http://[]', 'http://a:99999', 'http://a:b', 'http://x y', '//', '[', '', 'a'],
}


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_malformed_hosts_and_origins_are_refused_wherever_they_arrive(client, name, value):
  for method, place in (
    ('GET', '/'),
    ('GET', '/v1/service/'),
    ('POST', f'{MODEL}:predict'),
    ('OPTIONS', '/v1/captions'),
    ('GET', '/nothing'),
  ):
    headers = {name: value, 'Access-Control-Request-Method': 'POST'}
    answer = client.request(method, place, headers=headers)
    assert answer.status_code == 400 and name in answer.json()['error']


@pytest.mark.parametrize('name', ['Host', 'Origin'])
def test_two_hosts_or_origins_are_refused(client, name):
  own = client.base_url.netloc.decode()
  connection = http.client.HTTPConnection(own)
  connection.putrequest('GET', '/v1/service', skip_host=True)
  for header, value in (('Host', own), ('Origin', f'http://{own}'), (name, own)):
    connection.putheader(header, value)
  connection.endheaders()
  answer = connection.getresponse()
  assert answer.status == 400 and f'2 headers {name}'.encode() in answer.read()
  connection.close()


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'])
@pytest.mark.parametrize('place', [f'{MODEL}:predict', f'{MODEL}/versions/1:classify'])
def test_predictions_are_asked_for_with_post_only(client, method, place):
  answer = client.request(method, place)
  assert answer.status_code == 405 and answer.headers['allow'] == 'POST'
  assert method == 'HEAD' or f'{method} asks for no prediction' in answer.json()['error']
  assert client.get(f'{MODEL}:regress').status_code == 404


def test_a_content_encoding_that_is_not_taken_is_named(client):
  for place in (f'{MODEL}:classify', '/v1/captions'):
    answer = client.post(place, content=b'x', headers={'Content-Encoding': 'br'})
    assert answer.status_code == 415 and "'br'" in answer.json()['error']


def test_the_page_needs_nothing_from_elsewhere(client):
  page = client.get('/')
  policy = page.headers['content-security-policy']
  assert "default-src 'self'" in policy and 'unsafe' not in policy
  assert page.headers['cross-origin-resource-policy'] == 'same-origin'
  kinds = {'.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml'}
  for place in re.findall(r'(?:src|href)="([^"]+)"', page.text):
    answer = client.get(f'/{place}')
    assert answer.status_code == 200 and answer.headers['cache-control'] == 'no-cache'
    assert answer.headers['content-type'].partition(';')[0] == kinds[pathlib.Path(place).suffix]
  assert not re.search(r'style="|onclick|<script>|<style>', page.text)
  files = [path.relative_to(WEB) for path in WEB.rglob('*') if path.suffix in kinds]
  assert len(files) > 12
  for file in files:
    assert not re.search(r'https?://(?!www\.w3\.org|127\.0\.0\.1)', client.get(f'/{file}').text)


def test_the_page_is_read_only_and_nothing_beside_it_is_served(client):
  for place in ('/%2e%2e/service.py', '/..%2fservice.py', '//etc/passwd', '/extension', '/x' * 5000, '/a%00b'):
    answer = client.get(place)
    assert answer.status_code == 404 and set(answer.json()) == {'error'}
  assert client.post('/index.html').status_code == 405
  assert client.get('/v1/captions').status_code == 405 and client.get('/v1/nothing').status_code == 404


@pytest.mark.parametrize(
  ('value', 'status'),
  [('bytes=0-9', 206), ('bytes=abc', 400), ('bytes=9-1', 400), ('lines=1-2', 400), ('bytes=900000-', 416), ('x', 400)],
)
def test_ranges_of_the_page(client, value, status):
  answer = client.get('/app.js', headers={'Range': value})
  assert answer.status_code == status
  if status == 206:
    assert len(answer.content) == 10 and answer.headers['content-range'].startswith('bytes 0-9/')
  else:
    assert answer.headers['content-type'] == 'application/json' and 'Range' in answer.json()['error']


def test_health_readiness_and_metrics(client):
  running_service.wait(lambda: client.get('/readyz').status_code == 200)
  assert client.get('/healthz').json() == {'status': 'alive'}
  assert [client.head(place).status_code for place in ('/healthz', '/readyz', '/')] == [200, 200, 200]
  client.get('/made/up/path')
  client.post(f'{MODEL}:predict', json={'instances': waveforms(1).tolist()})
  metrics = client.get('/metrics').text
  assert re.search(r'audionet_requests_total\{method="POST",route="predict",status="200"\} \d', metrics)
  assert 'route="unknown"' in metrics and 'made' not in metrics
  assert re.search(r'audionet_captioned_seconds_total \d', metrics)
  about = client.get('/v1/service').json()
  assert about['sample_rate_hz'] == 16000 and about['live'] == {'samples': 640, 'examples': 25}


def test_the_client_of_the_documentation(client, capsys):
  text = (pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'serving.md').read_text()
  (example,) = re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  exec(example.replace('http://127.0.0.1:8501', str(client.base_url).rstrip('/')), {})
  assert capsys.readouterr().out.startswith('silence 0.99')


def answers(address):
  """Whether the address responds with status 200."""
  try:
    return httpx.get(address).status_code == 200
  except httpx.ConnectError:
    return False


def test_the_command_serves_and_shuts_down(exported):
  command = [sys.executable, '-m', 'audionet_tf.serve', f'--model={exported}', '--port=0']
  with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
    try:
      line = process.stderr.readline()
      address = re.search(r'http://127\.0\.0\.1:\d+', line).group()
      running_service.wait(lambda: answers(f'{address}/healthz'))
      assert httpx.post(f'{address}{MODEL}:predict', json={'inputs': [[0.0] * 640]}).status_code == 200
    finally:
      process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
