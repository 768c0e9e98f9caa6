"""Many clients at once, some of which leave: memory stays flat, and nothing is left of them."""

import concurrent.futures
import gc
import json
import pathlib
import random
import re
import socket
import threading

import httpx
import media_clips
import pytest
import running_service
import tone_service
import tones

from audionet_tf.service import app
from audionet_tf.service.settings import Limits

MODEL = '/v1/models/audionet'
GROWTH_BYTES = 64 << 20  # of which fragments and caches are the most; a leak of one upload or answer each is more
ROUND = ['predict'] * 1000 + ['upload'] * 50 + ['leave'] * 30


def resident_bytes():
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmRSS:\s+(\d+) kB', status).group(1)) << 10


def leave(client, clip, generator):
  """Begins a request and leaves at a random place of it, or right after it."""
  body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + clip + b'\r\n--x--\r\n'
  kind = b'multipart/form-data; boundary=x'
  path = b'/v1/captions'
  if generator.random() < 0.5:
    body, kind, path = (
      json.dumps({'instances': [[0.5]] * 5000}).encode(),
      b'application/json',
      f'{MODEL}:predict'.encode(),
    )
  head = b'POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n' % (
    path,
    kind,
    len(body),
  )
  request = head + body
  with socket.create_connection((client.base_url.host, client.base_url.port), 60) as connection:
    connection.sendall(request[: generator.choice([generator.randrange(len(request)), len(request)])])


def play(client, clip, seed):
  """1,000 predictions, 50 uploads and 30 clients that leave, in random order, twelve at a time. Returns statuses."""
  generator = random.Random(seed)
  jobs = [(kind, random.Random(generator.random())) for kind in ROUND]
  generator.shuffle(jobs)

  def act(job):
    kind, own = job
    if kind == 'leave':
      leave(client, clip, own)
      return kind, 0
    if kind == 'upload':
      return kind, client.post('/v1/captions', files={'file': clip}).status_code
    rows = [[own.uniform(-1, 1) for _ in range(640)] for _ in range(own.choice([1, 1, 1, 20]))]
    return kind, client.post(f'{MODEL}:predict', json={'inputs': rows}).status_code

  with concurrent.futures.ThreadPoolExecutor(12) as pool:
    return list(pool.map(act, jobs))


@pytest.mark.long
def test_memory_is_flat_and_nothing_is_left(served, tmp_path, monkeypatch, seed):
  clip = media_clips.write(tmp_path / 'a.wav', 20, times=[], sounds=[tones.sound(20, ('low', 1, 2))]).read_bytes()
  made = app.make(served, limits=Limits(captions_at_once=2, captions_waiting=100, results_kept=8))
  with (
    running_service.running(made, host_names=('127.0.0.1',)) as address,
    httpx.Client(base_url=address, timeout=600) as client,
    tone_service.nothing_is_left(made, tmp_path, monkeypatch),
  ):
    running_service.wait(lambda: made.ready, 120)
    play(client, clip, seed)  # warms up every cache
    gc.collect()
    threads, before = set(threading.enumerate()), resident_bytes()
    for number in (seed + 1, seed + 2):
      statuses = play(client, clip, number)
      assert {status for kind, status in statuses if kind != 'leave'} == {200}
      running_service.wait(
        lambda: made.jobs.admitted == made.bodies.held == made.answers.held == made.uploads.held == 0, 120
      )
    gc.collect()
    assert resident_bytes() - before < GROWTH_BYTES
    assert [
      thread for thread in set(threading.enumerate()) - threads if thread.name.startswith(('predict', 'caption'))
    ] == []
    assert not made.batcher.waiting and made.batcher.calls == 0 and not made.work.deadlines
