"""Connections of clients that are slow, endless, too many or gone, over sockets of their own."""

import contextlib
import json
import re
import socket
import time

import httpx
import pytest
import running_service
import tone_service

from audionet_tf.service import bodies, connections, server

MODEL = '/v1/models/audionet'
GET = b'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n'
POST = f'POST {MODEL}:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n'.encode()
CHUNKED = POST + b'Transfer-Encoding: chunked\r\n\r\n'
UPLOAD = b'POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n'


@pytest.fixture(scope='module')
def port(made):
  with running_service.running(made, host_names=('127.0.0.1',)) as address:
    yield int(address.rpartition(':')[2])


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
  """Deadlines that a test can wait for."""
  for name in ('HEAD_SECONDS', 'EXCESS_SECONDS', 'IDLE_SECONDS', 'STALL_SECONDS', 'YOUNG_SECONDS'):
    monkeypatch.setattr(connections, name, 0.3)
  monkeypatch.setattr(bodies, 'SILENT_SECONDS', 0.5)


def connect(port):
  return socket.create_connection(('127.0.0.1', port), 20)


def rest(connection):
  """All that arrives until the server closes the connection; a test that waits for ever fails."""
  received = b''
  try:
    while piece := connection.recv(1 << 16):
      received += piece
  except ConnectionResetError:
    pass
  return received


def answer(port, request):
  """(status, JSON body) of the only response before the connection is closed; (None, None) where there is none."""
  with connect(port) as connection:
    with contextlib.suppress(ConnectionError):  # it is refused before all of it is sent
      connection.sendall(request)
    return parsed(rest(connection))


def parsed(received):
  if not received:
    return None, None
  head, _, body = received.partition(b'\r\n\r\n')
  assert len(re.findall(rb'HTTP/1\.1 \d', received)) == 1
  return int(head.split()[1]), json.loads(body)


def drip(connection, piece):
  """Sends a piece again and again until the server closes the connection."""
  for _ in range(10_000):
    try:
      connection.sendall(piece)
    except ConnectionError:
      return
    time.sleep(0.02)
  pytest.fail('the server listens for ever')


@pytest.mark.parametrize('begin', [b'', b'G', b'GET / HTTP/1.1\r\n', GET, GET + b'X: '])
def test_a_head_that_does_not_arrive_is_not_waited_for(port, begin):
  status, body = answer(port, begin)
  assert status == (408 if begin else None)
  assert not begin or 'did not arrive' in body['error']


@pytest.mark.parametrize('begin', [b'', GET, POST + b'Content-Length: 5\r\n\r\n{}   ' + GET])
def test_bytes_that_drip_in_do_not_extend_the_time(port, begin):
  with connect(port) as connection:
    connection.sendall(begin)
    drip(connection, b'x' if begin else b'\r\n')


def test_an_idle_connection_is_closed_and_a_used_one_is_not(port):
  with connect(port) as connection:
    for _ in range(3):
      connection.sendall(GET + b'\r\n')
      assert b'alive' in connection.recv(1 << 16)
    assert rest(connection) == b''


@pytest.mark.parametrize(
  'begin',
  [
    POST + b'Content-Length: 100\r\n\r\n{',
    CHUNKED + b'1\r\n{\r\n',
    CHUNKED + b'1\r\n{\r\n0\r\n',
    UPLOAD + b'Content-Length: 100\r\n\r\n--x',
    UPLOAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n--x\r\n',
  ],
)
def test_a_body_that_does_not_arrive_is_not_waited_for(port, made, begin):
  status, body = answer(port, begin)
  assert status == 408 and 'nothing of the request arrived for 0.5 s' in body['error']
  assert made.jobs.admitted == made.bodies.held == made.uploads.held == 0


@pytest.mark.parametrize('path', [b'/healthz', b'/v1/captions/x', b'/'])
def test_a_body_that_nobody_wants_is_not_waited_for(port, path):
  with connect(port) as connection:
    connection.sendall(b'PUT ' + path + b' HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000000\r\n\r\n')
    drip(connection, b'x')


@pytest.mark.parametrize(
  ('begin', 'unit'),
  [
    (b'', b'\r\n'),
    (b'', b'x'),
    (b'GET /', b'x'),
    (GET, b'a: b\r\n'),
    (GET, b'x'),
    (GET + b'X: ', b'x'),
    (CHUNKED + b'1;', b'x'),
    (CHUNKED + b'1\r\n{\r\n0\r\n', b'a: b\r\n'),
    (CHUNKED + b'1\r\n{\r\n0\r\nX: ', b'x'),
    (CHUNKED, b'1\r\n \r\n'),
  ],
)
def test_what_never_ends_is_refused(port, begin, unit):
  status, body = answer(port, begin + unit * ((8 << 20) // len(unit)))
  assert status in (400, 431) and set(body) == {'error'}


def test_a_head_may_be_as_long_as_allowed(port):
  room = connections.HEAD_BYTES - 200
  with connect(port) as connection:
    connection.sendall(GET + b'X: ' + b'x' * room + b'\r\nConnection: close\r\n\r\n')
    assert b'alive' in rest(connection)
  assert answer(port, GET + b'X: ' + b'x' * connections.HEAD_BYTES + b'\r\n\r\n')[0] == 431


def test_pipelined_requests_are_answered_in_order_and_not_without_end(port):
  with connect(port) as connection:
    connection.sendall(GET + b'\r\n' + POST + b'Content-Length: 2\r\n\r\n[]' + GET + b'Connection: close\r\n\r\n')
    received = rest(connection)
  assert re.findall(rb'HTTP/1\.1 (\d+)', received) == [b'200', b'400', b'200']
  with connect(port) as connection:
    connection.sendall((GET + b'\r\n') * 1000)
    received = rest(connection)
  assert re.findall(rb'HTTP/1\.1 (\d+)', received) == [b'200'] * (connections.PIPELINED + 1)


def test_the_responses_before_a_malformed_request_are_sent(port):
  with connect(port) as connection:
    connection.sendall(POST + b'Content-Length: 2\r\n\r\n[]' + b'nonsense\r\n\r\n')
    assert b'not a JSON object' in rest(connection)


@pytest.mark.parametrize('request_', [b'nonsense\r\n\r\n', b'GET http://[ HTTP/1.1\r\n\r\n', CHUNKED + b'zz\r\n'])
def test_a_malformed_request_is_refused_in_the_form_of_all_errors(port, request_):
  assert answer(port, request_) == (400, {'error': 'not a valid HTTP request'})


@pytest.mark.parametrize(
  'begin', [b'', GET, POST + b'Content-Length: 100\r\n\r\n{', UPLOAD + b'Content-Length: 9\r\n\r\n-']
)
def test_clients_that_send_nothing_shut_nobody_out(port, monkeypatch, begin):
  monkeypatch.setattr(connections, 'CONNECTIONS', 20)
  for name in ('HEAD_SECONDS', 'YOUNG_SECONDS'):
    monkeypatch.setattr(connections, name, 60)
  monkeypatch.setattr(bodies, 'SILENT_SECONDS', 60)
  crowd = [connect(port) for _ in range(60)]
  try:
    for connection in crowd:
      with contextlib.suppress(ConnectionError):  # it made room for a later one
        connection.sendall(begin)
    for _ in range(5):
      with httpx.Client(base_url=f'http://127.0.0.1:{port}') as client:
        assert client.post(f'{MODEL}:predict', json={'inputs': [[0.0] * 640]}).status_code == 200
  finally:
    for connection in crowd:
      connection.close()


def test_room_is_made_by_the_client_that_sends_least(port):
  class Made:
    def __init__(self, since, arrived, waits=True):
      self.since, self.arrived, self.waiting, self.transport, self.aborted = since, arrived, waits, self, False

    def waits(self):
      return self.waiting

    def is_closing(self):
      return self.aborted

    def abort(self):
      self.aborted = True

  newest, busy, fast, slow, silent = Made(99.9, 0), Made(0, 0, False), Made(90, 1e6), Made(50, 100), Made(95, 0)
  everyone = {newest, busy, fast, slow, silent}
  gone = []
  for _ in range(5):
    connections.make_room(everyone, 100)
    gone += [each for each in everyone if each.aborted and each not in gone]
  assert gone == [silent, slow, fast, newest]


def test_a_client_that_does_not_read_its_response_is_cut_off(port, made):
  body = json.dumps({'instances': [[0]] * 10000}).encode()
  with connect(port) as connection:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(4):  # more than the system's own buffers take
      connection.sendall(POST + b'Content-Length: %d\r\n\r\n%s' % (len(body), body))
    running_service.wait(lambda: made.answers.held)
    running_service.wait(lambda: not made.answers.held)


def test_open_files_are_allowed_as_far_as_the_system_lets(monkeypatch):
  limits = {'now': (256, 1000)}
  monkeypatch.setattr(server.resource, 'getrlimit', lambda kind: limits['now'])
  monkeypatch.setattr(server.resource, 'setrlimit', lambda kind, values: limits.update(now=values))
  server.allow_files(2048)
  assert limits['now'] == (1000, 1000)
  server.allow_files(512)
  assert limits['now'] == (1000, 1000)


@pytest.fixture(autouse=True)
def nothing_is_left(made, tmp_path, monkeypatch):
  """After every test."""
  with tone_service.nothing_is_left(made, tmp_path, monkeypatch):
    yield
