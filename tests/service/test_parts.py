"""Parts of the service that need no student: batches, budgets, who may ask, decoding, the extension's manifest."""

import asyncio
import base64
import hashlib
import io
import json
import os
import pathlib
import re
import tempfile
import threading
import wave

import media_clips
import numpy as np
import pytest
import threadpoolctl
import uvloop

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.models import student_file
from audionet_tf.service import decoder, jobs, middleware, video_download
from audionet_tf.service import settings as service_settings
from audionet_tf.service.batching import Batcher
from audionet_tf.service.settings import EXTENSION_ORIGIN, Budget, Refused

EXTENSION = pathlib.Path(video_download.__file__).parent / 'web' / 'extension'


class Student:
  """Answers twice what it hears, when it is let; keeps the shapes that it was asked."""

  def __init__(self):
    self.shapes, self.go = [], threading.Event()

  def __call__(self, waveform):
    self.shapes.append(waveform.shape)
    self.go.wait(20)
    if waveform.shape[1] == 13:
      raise RuntimeError('thirteen')
    return {'twice': 2 * waveform}


async def asked(batcher, student, waveforms):
  """What came of every question, answers or errors; the first one is under way when the others are asked."""
  first = asyncio.create_task(batcher.ask(waveforms[0]))
  while not student.shapes:
    await asyncio.sleep(0.001)
  rest = [asyncio.create_task(batcher.ask(waveform)) for waveform in waveforms[1:]]
  await asyncio.sleep(0)
  student.go.set()
  return await asyncio.gather(first, *rest, return_exceptions=True)


def sounds(*shapes):
  return [np.full(shape, number, np.float32) for number, shape in enumerate(shapes)]


def test_those_who_wait_are_answered_together_by_their_length():
  student, watched = Student(), []
  batcher = Batcher(student, 100, 10, lambda joined, seconds: watched.append(joined))
  waveforms = sounds((1, 5), (2, 5), (1, 7), (1, 5), (3, 7))
  answers = asyncio.run(asked(batcher, student, waveforms))
  assert student.shapes == [(1, 5), (3, 5), (4, 7)] and watched == [1, 2, 2]
  for waveform, answer in zip(waveforms, answers, strict=True):
    np.testing.assert_array_equal(answer['twice'], 2 * waveform)


def test_a_call_holds_so_many_samples_and_no_more_unless_one_request_does():
  student = Student()
  asyncio.run(asked(Batcher(student, 10, 10), student, sounds((1, 5), (1, 5), (1, 5), (1, 5), (4, 5))))
  assert student.shapes == [(1, 5), (2, 5), (1, 5), (4, 5)]


def test_an_error_is_for_those_who_asked_and_too_many_are_sent_away():
  student = Student()
  answers = asyncio.run(asked(Batcher(student, 100, 2), student, sounds((1, 5), (1, 13), (1, 5), (1, 5))))
  assert isinstance(answers[1], RuntimeError) and isinstance(answers[3], Refused) and answers[3].status == 503
  np.testing.assert_array_equal(answers[2]['twice'], np.full([1, 5], 4))


def test_who_gave_up_is_not_heard():
  async def run():
    student = Student()
    batcher = Batcher(student, 100, 10)
    first = asyncio.create_task(batcher.ask(np.zeros([1, 5], np.float32)))
    while not student.shapes:
      await asyncio.sleep(0.001)
    second = asyncio.create_task(batcher.ask(np.zeros([1, 6], np.float32)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    student.go.set()
    await first
    await asyncio.sleep(0.01)
    return student.shapes

  assert asyncio.run(run()) == [(1, 5)]


def test_calls_of_other_functions_are_as_many_at_most():
  async def run():
    student = Student()
    batcher = Batcher(student, 100, 2)
    calls = [asyncio.create_task(batcher.other(student, row)) for row in sounds((1, 5), (1, 5), (1, 5))]
    await asyncio.sleep(0)
    student.go.set()
    return await asyncio.gather(*calls, return_exceptions=True), await batcher.other(len, 'four')

  (*answered, refused), later = asyncio.run(run())
  assert [answer['twice'].shape for answer in answered] == [(1, 5)] * 2 and later == 4
  assert isinstance(refused, Refused) and refused.status == 503


def test_bytes_are_shared_and_come_back():
  budget = Budget(10)
  with budget.share() as take, budget.share() as other:
    take(4)
    other(6)
    with pytest.raises(Refused, match='try again') as refused:
      take(1)
    assert refused.value.status == 503 and budget.held == 10
  assert budget.held == 0


def answer_to(host, hosts=('localhost',), origin=None):
  """Status that the guard refuses a request with; None where it lets it pass."""
  headers = [(b'host', host.encode()), *([(b'origin', origin.encode())] if origin else [])]
  scope = {'type': 'http', 'method': 'GET', 'headers': headers}
  refused = middleware.Guard(None, hosts, ('https://b.example',), None).refused(scope, origin)
  return refused and refused.status_code


def test_a_name_that_a_site_makes_point_here_is_refused_wherever_the_service_listens(monkeypatch):
  monkeypatch.setattr('socket.gethostname', lambda: 'Den')
  monkeypatch.setattr('socket.getfqdn', lambda: 'den.home')
  local, network = service_settings.names_of('127.0.0.1', ['B.home']), service_settings.names_of('0.0.0.0', [])
  assert local == {'localhost', '127.0.0.1', '::1', 'b.home'}
  for host in ('localhost:8501', '127.0.0.1:8501', '[::1]:8501', 'b.HOME'):
    assert answer_to(host, local) is None
  for host in ('den.home', 'DEN:80', '192.168.0.7:8501', '[fe80::1]:8501'):
    assert answer_to(host, network) is None
  for host in ('evil.example', '1.evil.example', '', 'localhost.evil.example', '[', '127.0.0.1.evil.example:8501'):
    assert answer_to(host, local) == answer_to(host, network) == 421
  assert answer_to('192.168.0.7', network, 'http://evil.example') == 403
  assert answer_to('192.168.0.7', network, 'https://b.example') is None


def test_who_is_allowed_in_vain_is_a_mistake():
  service_settings.check_askers(
    ['sounds.example.org', 'den'], ['https://example.org', 'http://[::1]:80', 'moz-extension://a']
  )
  for name in ('example.org:80', 'http://example.org', ''):
    with pytest.raises(UserError, match='allowed_host is'):
      service_settings.check_askers([name], [])
  for origin in ('https://example.org/', 'example.org', 'https://Example.org', '*', 'null', 'https://'):
    with pytest.raises(UserError, match='allowed_origin is'):
      service_settings.check_askers([], [origin])


def decoded(path, most=100):
  out, told = io.BytesIO(), []
  seconds = decoder.decode(str(path), out, {'sample_rate_hz': 16000, 'mono': 'mean', 'max_seconds': most}, told.append)
  with wave.open(io.BytesIO(out.getvalue())) as sound:
    assert sound.getparams()[:3] == (1, 2, 16000)
    return seconds, np.frombuffer(sound.readframes(sound.getnframes()), np.int16), told


def test_the_decoder_gives_the_sound_that_students_hear(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', 45, fps=1, rate_hz=44100, sound_start=0.5)
  start, expected = media_clips.decode_sound(path)
  seconds, pcm, told = decoded(path)
  assert start == 8000 and not pcm[:start].any() and seconds == len(pcm) / 16000
  np.testing.assert_array_equal(pcm[start:] / 32768, expected)
  assert [round(s) // 20 for s in told] == [1, 2]
  with pytest.raises(MediaError, match='longer than the 40 s'):
    decoded(path, 40)


def test_programs_are_started_without_a_fork_of_the_service(tmp_path, monkeypatch):
  """A fork ends the threads behind NumPy's products, and who multiplies at that moment waits for them for ever."""
  program = tmp_path / 'python'
  program.write_text('#!/bin/sh\necho \'{"seconds": 1}\'\necho \'{"done": 2, "name": "a video"}\'\n')
  program.chmod(0o755)
  monkeypatch.setattr(jobs.sys, 'executable', str(program))
  settings = student_file.StudentConfig('audionet', 16000, 'mean', 0.1, {})
  told = []

  async def both():
    with tempfile.TemporaryFile() as file:
      seconds = await jobs.decoded(file, file, settings, service_settings.Limits(), told.append)
    with pytest.raises(UserError, match='without an answer'):
      await video_download.answer_of({}, 10)
    return seconds

  with threadpoolctl.threadpool_limits(2):
    np.ones([600, 600]) @ np.ones([600, 600])  # it has its threads from now on
    before = set(os.listdir('/proc/self/task'))
    assert uvloop.run(both()) == 2 and [message['seconds'] for message in told] == [0, 1]
    assert before <= set(os.listdir('/proc/self/task'))


def test_the_extension_has_the_identity_that_the_service_admits():
  key = base64.b64decode(json.loads((EXTENSION / 'manifest.json').read_text())['key'])
  identity = ''.join(chr(ord('a') + int(digit, 16)) for digit in hashlib.sha256(key).hexdigest()[:32])
  assert f'chrome-extension://{identity}' == EXTENSION_ORIGIN


def test_the_extension_asks_for_no_more_than_it_uses_and_nothing_is_missing():
  manifest = json.loads((EXTENSION / 'manifest.json').read_text())
  assert manifest['host_permissions'] == ['http://127.0.0.1/*'] and 'content_scripts' not in manifest
  scripts = ''.join(path.read_text() for path in EXTENSION.glob('*.js'))
  used = {'activeTab', *re.findall(r'chrome\.(offscreen|scripting|storage|tabCapture)\b', scripts)}
  assert set(manifest['permissions']) == used
  pages = ''.join(path.read_text() for path in EXTENSION.glob('*.html'))
  named = re.findall(r'(?:src|href)="([^"]+)"', pages) + re.findall(r"'(?:\./)?(\w+\.(?:js|html))'", scripts)
  named += [manifest['action']['default_popup'], manifest['background']['service_worker']]
  assert [name for name in named if not (EXTENSION / name).is_file()] == []
  assert not re.search(r'innerHTML|\beval\b|https?://(?!127\.0\.0\.1)', scripts + pages)
