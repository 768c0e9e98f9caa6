"""Parts of the service that need no student: batches, budgets, who may ask, decoding, the extension."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import re
import runpy
import tempfile
import threading
import wave

import media_clips
import numpy as np
import pytest
import threadpoolctl
import uvloop
from PIL import Image
from starlette.responses import Response

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.models import student_settings
from audionet_tf.service import metrics as service_metrics
from audionet_tf.service import middleware, predict_api
from audionet_tf.service import settings as service_settings
from audionet_tf.service.batching import Batcher
from audionet_tf.service.captions import decoder, jobs, video_download
from audionet_tf.service.settings import EXTENSION_ORIGIN, Budget, RequestRefused

WEB = pathlib.Path(middleware.__file__).parent / 'web'
EXTENSION = WEB / 'extension'


class Student:
  """Doubles its input once `go` is set; keeps the shapes of its calls."""

  def __init__(self):
    self.shapes, self.go = [], threading.Event()

  def __call__(self, waveform):
    self.shapes.append(waveform.shape)
    self.go.wait(20)
    if waveform.shape[1] == 13:
      raise RuntimeError('thirteen')
    return {'twice': 2 * waveform}


async def submit_all(batcher, student, waveforms):
  """The outputs or errors of all requests; the first one is running when the others are submitted."""
  first = asyncio.create_task(batcher.submit(waveforms[0]))
  while not student.shapes:
    await asyncio.sleep(0.001)
  others = [asyncio.create_task(batcher.submit(waveform)) for waveform in waveforms[1:]]
  await asyncio.sleep(0)
  student.go.set()
  return await asyncio.gather(first, *others, return_exceptions=True)


def sounds(*shapes):
  return [np.full(shape, number, np.float32) for number, shape in enumerate(shapes)]


def test_batcher_groups_requests_of_equal_length():
  student, sizes = Student(), []
  batcher = Batcher(student, 100, 10, lambda requests, seconds: sizes.append(requests))
  waveforms = sounds((1, 5), (2, 5), (1, 7), (1, 5), (3, 7))
  answers = asyncio.run(submit_all(batcher, student, waveforms))
  assert student.shapes == [(1, 5), (3, 5), (4, 7)] and sizes == [1, 2, 2]
  for waveform, answer in zip(waveforms, answers, strict=True):
    np.testing.assert_array_equal(answer['twice'], 2 * waveform)


def test_a_batch_has_a_largest_size_unless_one_request_is_larger():
  student = Student()
  asyncio.run(submit_all(Batcher(student, 10, 10), student, sounds((1, 5), (1, 5), (1, 5), (1, 5), (4, 5))))
  assert student.shapes == [(1, 5), (2, 5), (1, 5), (4, 5)]


def test_an_error_fails_its_batch_only_and_too_many_requests_are_refused():
  student = Student()
  answers = asyncio.run(submit_all(Batcher(student, 100, 2), student, sounds((1, 5), (1, 13), (1, 5), (1, 5))))
  assert isinstance(answers[1], RuntimeError) and isinstance(answers[3], RequestRefused) and answers[3].status == 503
  np.testing.assert_array_equal(answers[2]['twice'], np.full([1, 5], 4))


def test_a_cancelled_request_is_not_predicted():
  async def run():
    student = Student()
    batcher = Batcher(student, 100, 10)
    first = asyncio.create_task(batcher.submit(np.zeros([1, 5], np.float32)))
    while not student.shapes:
      await asyncio.sleep(0.001)
    second = asyncio.create_task(batcher.submit(np.zeros([1, 6], np.float32)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    student.go.set()
    await first
    await asyncio.sleep(0.01)
    return student.shapes

  assert asyncio.run(run()) == [(1, 5)]


def test_the_number_of_other_calls_is_limited():
  async def run():
    student = Student()
    batcher = Batcher(student, 100, 2)
    calls = [asyncio.create_task(batcher.call(student, row)) for row in sounds((1, 5), (1, 5), (1, 5))]
    await asyncio.sleep(0)
    student.go.set()
    return await asyncio.gather(*calls, return_exceptions=True), await batcher.call(len, 'four')

  (*answered, refused), later = asyncio.run(run())
  assert [answer['twice'].shape for answer in answered] == [(1, 5)] * 2 and later == 4
  assert isinstance(refused, RequestRefused) and refused.status == 503


def test_a_budget_is_shared_and_given_back():
  budget = Budget(10)
  with budget.share() as take, budget.share() as other:
    take(4)
    other(6)
    with pytest.raises(RequestRefused, match='try again') as refused:
      take(1)
    assert refused.value.status == 503 and budget.held == 10
  assert budget.held == 0


def test_a_compressed_body_keeps_nobody_waiting_and_is_counted_as_it_grows():
  plain = random.Random(0).randbytes(1000) * 9000
  taken, events, mine = [], [], threading.current_thread()

  def take(size):
    assert threading.current_thread() is mine  # a budget is of the loop alone
    taken.append(size)
    if sum(taken) > 5 << 20:
      raise RequestRefused(503, 'no room')

  async def inflated(take, most=1 << 24):
    content = await predict_api.decoded(gzip.compress(plain), 'gzip', most, take)
    events.append('decoded')
    return content

  async def other():
    events.append('other')

  async def both():
    return await asyncio.gather(inflated(lambda size: taken.append(size)), other())

  assert asyncio.run(both())[0] == plain and sum(taken) == len(plain)
  assert events == ['other', 'decoded']
  taken.clear()
  for most, status in ((1 << 24, 503), (len(plain) - 1, 503), (2 << 20, 413)):
    with pytest.raises(RequestRefused) as refused:
      asyncio.run(inflated(take, most))
    assert refused.value.status == status and sum(taken) < len(plain)
    taken.clear()


def status_for(host, hosts=('localhost',), **headers):
  """Status of the response to a request with these headers, to an application that answers everything with 204."""
  headers = {'host': host, **{name.replace('_', '-'): value for name, value in headers.items()}}
  scope = {'type': 'http', 'method': 'OPTIONS' if len(headers) > 2 else 'GET', 'path': '/'}
  scope['headers'] = [(name.encode(), value.encode()) for name, value in headers.items()]
  metrics, messages = service_metrics.Metrics(), []

  async def send(message):
    messages.append(message)

  app = middleware.guarded(Response(status_code=204), hosts, ('https://b.example',), metrics)
  asyncio.run(app(scope, None, send))
  start, *_ = messages
  assert dict(start['headers'])[b'x-content-type-options'] == b'nosniff'
  assert f'status="{start["status"]}"' in metrics.text()[0].decode()
  return start['status']


def test_foreign_host_names_are_refused_wherever_the_service_listens(monkeypatch):
  monkeypatch.setattr('socket.gethostname', lambda: 'Den')
  monkeypatch.setattr('socket.getfqdn', lambda: 'den.home')
  local = service_settings.allowed_host_names('127.0.0.1', ['B.home'])
  network = service_settings.allowed_host_names('0.0.0.0', [])
  assert local == {'localhost', '127.0.0.1', '::1', 'b.home'}
  for host in ('localhost:8501', '127.0.0.1:8501', '[::1]:8501', 'b.HOME'):
    assert status_for(host, local) == 204
  for host in ('den.home', 'DEN:80', '192.168.0.7:8501', '[fe80::1]:8501'):
    assert status_for(host, network) == 204
  for host in ('evil.example', '1.evil.example', '', 'localhost.evil.example', '127.0.0.1.evil.example:8501'):
    assert status_for(host, local) == status_for(host, network) == 421
    assert status_for(host, ()) == 204  # where any name is allowed


def test_other_origins_are_refused_and_allowed_ones_answered():
  own = '192.168.0.7:8501'
  assert status_for(own, origin=f'http://{own}') == status_for(own, origin='https://b.example') == 204
  for origin in ('http://evil.example', 'null', 'http://192.168.0.7', 'https://b.example:1', 'https://b.example.evil'):
    assert status_for(own, origin=origin) == 403
    assert status_for(own, origin=origin, access_control_request_method='POST') == 403
  for origin in ('http://[', 'http://[::1', '//]'):
    assert status_for(own, origin=origin) == 400
  preflight = {'origin': 'https://b.example', 'access_control_request_private_network': 'true'}
  assert status_for(own, **preflight, access_control_request_method='POST') == 200
  assert status_for(own, **preflight, access_control_request_method='DELETE') == 400


def test_allowed_clients_that_no_request_can_match_are_mistakes():
  service_settings.check_allowed_clients(
    ['sounds.example.org', 'den'], ['https://example.org', 'http://[::1]:80', 'moz-extension://a']
  )
  for name in ('example.org:80', 'http://example.org', ''):
    with pytest.raises(UserError, match='allowed_host is'):
      service_settings.check_allowed_clients([name], [])
  for origin in ('https://example.org/', 'example.org', 'https://Example.org', '*', 'null', 'https://'):
    with pytest.raises(UserError, match='allowed_origin is'):
      service_settings.check_allowed_clients([], [origin])


def decoded(path, most=100):
  out, reports = io.BytesIO(), []
  seconds = decoder.decode(
    str(path), out, {'sample_rate_hz': 16000, 'mono': 'mean', 'max_seconds': most}, reports.append, print
  )
  with wave.open(io.BytesIO(out.getvalue())) as sound:
    assert sound.getparams()[:3] == (1, 2, 16000)
    return seconds, np.frombuffer(sound.readframes(sound.getnframes()), np.int16), reports


def test_the_decoder_gives_the_sound_that_students_get(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', 45, fps=1, rate_hz=44100, sound_start=0.5)
  start, expected = media_clips.decode_sound(path)
  seconds, pcm, reports = decoded(path)
  assert start == 8000 and not pcm[:start].any() and seconds == len(pcm) / 16000
  np.testing.assert_array_equal(pcm[start:] / 32768, expected)
  assert [round(s) // 20 for s in reports] == [1, 2]
  with pytest.raises(MediaError, match='longer than the 40 s'):
    decoded(path, 40)


def test_processes_are_started_without_a_fork_of_the_service(tmp_path, monkeypatch):
  """A fork ends OpenBLAS's threads, and a matrix product at that moment waits for them for ever."""
  program = tmp_path / 'python'
  program.write_text('#!/bin/sh\necho \'{"seconds": 1}\'\necho \'{"done": 2, "name": "a video"}\'\n')
  program.chmod(0o755)
  monkeypatch.setattr(jobs.sys, 'executable', str(program))
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.1, {})
  reports = []

  async def both():
    with tempfile.TemporaryFile() as file:
      seconds = await jobs.decode(file, file, settings, service_settings.Limits(), reports.append)
    with pytest.raises(UserError, match='without a message'):
      await video_download.run_download({}, 10)
    return seconds

  with threadpoolctl.threadpool_limits(2):
    np.ones([600, 600]) @ np.ones([600, 600])  # it has its threads from now on
    before = set(os.listdir('/proc/self/task'))
    assert uvloop.run(both()) == (2, []) and [message['seconds'] for message in reports] == [0, 1]
    assert before <= set(os.listdir('/proc/self/task'))


def test_the_extension_has_the_identity_that_the_service_admits():
  key = base64.b64decode(json.loads((WEB / 'manifest.json').read_text())['key'])
  identity = ''.join(chr(ord('a') + int(digit, 16)) for digit in hashlib.sha256(key).hexdigest()[:32])
  assert f'chrome-extension://{identity}' == EXTENSION_ORIGIN


def test_the_icons_of_the_extension_are_the_drawing_in_their_sizes():
  """As Chromium wants them, and as scripts/lib/draw_icons.py draws icon.svg."""
  draw = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[2] / 'scripts/lib/draw_icons.py'))
  manifest = json.loads((WEB / 'manifest.json').read_text())
  assert manifest['icons'] == manifest['action']['default_icon'] and set(manifest['icons']) == {'16', '32', '48', '128'}
  for size, name in manifest['icons'].items():
    with Image.open(WEB / name) as picture:
      assert picture.format == 'PNG' and picture.size == (int(size), int(size))
      saved, drawn = (np.asarray(each.convert('RGBA'), int) for each in (picture, draw['icon'](int(size))))
      assert np.abs(saved - drawn).max() <= 2  # whatever the version of Pillow
      middle, corner = saved[int(size) // 2, int(size) // 16], saved[0, 0]
      assert middle.tolist() == [0x0B, 0x5F, 0xD0, 255] and corner[3] < 64


def test_the_extension_asks_for_no_more_than_it_uses_and_nothing_is_missing():
  manifest = json.loads((WEB / 'manifest.json').read_text())
  assert manifest['host_permissions'] == ['http://127.0.0.1/*'] and 'content_scripts' not in manifest
  scripts = ''.join(path.read_text() for path in EXTENSION.glob('*.js'))
  used = {'activeTab', *re.findall(r'chrome\.(offscreen|scripting|storage|tabCapture)\b', scripts)}
  assert set(manifest['permissions']) == used
  pages = ''.join(path.read_text() for path in EXTENSION.glob('*.html'))
  named = re.findall(r'(?:src|href)="([^"]+)"', pages) + re.findall(r"'((?:\.{1,2}/)?\w+\.(?:js|html))'", scripts)
  assert [name for name in named if not (EXTENSION / name).is_file()] == []
  from_root = re.findall(r"'(extension/[\w.]+)'", scripts)
  from_root += [
    manifest['action']['default_popup'],
    manifest['background']['service_worker'],
    *manifest['icons'].values(),
  ]
  assert [name for name in from_root if not (WEB / name).is_file()] == []
  assert not re.search(r'https?://(?!127\.0\.0\.1)', scripts + pages)


def test_no_page_makes_markup_or_code_of_text():
  """Names of files and classes, which these pages show, may be anybody's."""
  sources = [path for folder in (WEB, WEB.parent / 'review_web') for path in folder.rglob('*') if path.is_file()]
  sources = {path: path.read_text() for path in sources if path.suffix in ('.js', '.html')}
  assert {path.parent.name for path in sources} == {'web', 'extension', 'local', 'review_web'}
  ways = r'(inner|outer)HTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc'
  ways += r'|(?<!wasm-unsafe-)\beval\b|\bFunction\(|set(Timeout|Interval)\([\'"`]|javascript:'
  assert [(path.name, found.group()) for path, text in sources.items() if (found := re.search(ways, text))] == []
