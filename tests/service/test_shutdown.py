"""A shutdown with work under way: every client gets an answer or a clean close, and no traceback is printed."""

import asyncio
import contextlib
import io
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import wave

import httpx
import pytest
import running_service

from audionet_tf.service import early_ends
from audionet_tf.service.settings import RequestRefused


def sound(seconds):
  """Bytes of a WAV of silence."""
  file = io.BytesIO()
  with wave.open(file, 'wb') as writer:
    writer.setparams((1, 1, 8000, 0, 'NONE', ''))
    writer.writeframes(b'\x80' * (8000 * seconds))
  return file.getvalue()


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_every_client_gets_an_answer(exported, number):
  """Hours of sound, so that none of it is done in the time that a shutdown leaves."""
  command = [sys.executable, '-m', 'audionet_tf.serve', f'--model={exported}', '--port=0', '--captions_at_once=1']
  with subprocess.Popen([*command, '--max_minutes=1000'], stderr=subprocess.PIPE, text=True) as process:
    try:
      host, port = re.search(r'http://(.*):(\d+)', process.stderr.readline()).groups()
      address, answers = f'http://{host}:{port}', []
      running_service.wait(lambda: ready(address), 200)
      upload = sound(6000)

      def ask(accept):
        answers.append(
          httpx.post(f'{address}/v1/captions', files={'file': upload}, headers={'Accept': accept}, timeout=60)
        )

      clients = [threading.Thread(target=ask, args=(kind,)) for kind in ('text/vtt', 'text/event-stream')]
      for client in clients:
        client.start()
      running_service.wait(lambda: 'audionet_captioning 2' in httpx.get(f'{address}/metrics').text, 60)
      head = b'POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n'
      slow, idle, half = (socket.create_connection((host, int(port)), 30) for _ in range(3))
      slow.sendall(head + b'Content-Length: 1000\r\n\r\n--x\r\n')
      half.sendall(b'GET /')
      running_service.wait(lambda: is_read(slow), 60)  # what the service has not read it cannot answer
    finally:
      process.send_signal(number)
    for client in clients:
      client.join(60)
    assert process.wait(60) in (0, -number)
    assert process.stderr.read() == ''
  whole, stream = sorted(answers, key=lambda answer: answer.headers['content-type'])
  assert whole.status_code == 503 and whole.json() == {'error': 'the service is shutting down'}
  assert stream.text.endswith('event: error\ndata: {"error": "the service is shutting down", "status": 503}\n\n')
  assert b'503 Service Unavailable' in slow.recv(1 << 16)
  for connection in (idle, half):
    with contextlib.suppress(ConnectionResetError):
      assert connection.recv(1) == b''


def is_read(connection):
  """Whether the other side of a connection, a process of this machine, has read all that was sent."""
  port = connection.getsockname()[1]
  for line in pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]:
    _, _, remote, _, queues, *_ = words = line.split()
    if int(remote.rpartition(':')[2], 16) == port:
      return int(queues.rpartition(':')[2], 16) == 0 and words[9] != '0'  # nothing waits, and it was accepted
  return False


def ready(address):
  try:
    return httpx.get(f'{address}/readyz').status_code == 200
  except httpx.TransportError:
    return False


def test_work_ends_when_the_service_stops():
  async def run():
    work, ended = early_ends.Work(), []

    async def endless():
      async with work.until_stopped():
        try:
          await asyncio.sleep(1000)
        finally:
          ended.append(True)

    async def late():
      async with work.until_stopped():
        raise TimeoutError('of its own')

    with pytest.raises(TimeoutError, match='of its own'):
      await late()
    tasks = [asyncio.create_task(endless()) for _ in range(3)]
    await asyncio.sleep(0)
    work.stop()
    return await asyncio.gather(*tasks, endless(), return_exceptions=True), ended

  refused, ended = asyncio.run(run())
  assert [type(error) for error in refused] == [RequestRefused] * 4 and {error.status for error in refused} == {503}
  assert len(ended) == 3


def test_work_that_takes_a_while_to_end_is_ended_once():
  """A server stops its work after a while and again at its end."""

  async def run():
    work, may_end, ended = early_ends.Work(), asyncio.Event(), []

    async def slow():
      async with work.until_stopped():
        try:
          await asyncio.sleep(1000)
        finally:
          await may_end.wait()
          ended.append(True)

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    work.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.stop()
    may_end.set()
    return (await asyncio.gather(task, return_exceptions=True))[0], ended

  refused, ended = asyncio.run(run())
  assert isinstance(refused, RequestRefused) and refused.status == 503 and ended == [True]
