"""Mutated requests: each gets an answer of the client's fault or a right one, and the next good request its own."""

import json

import httpx
import media_clips
import mutating
import numpy as np
import pytest
import tone_service
import tones

from audionet_tf.saved_model import loader
from audionet_tf.service import app

pytestmark = pytest.mark.long
MODEL = '/v1/models/audionet'
REQUESTS = 300  # of JSON; as many uploads are as long as UPLOADS
UPLOADS = 100
ANSWERS = {200, 400, 404, 405, 411, 413, 415, 422}  # and none of 500 to 599


@pytest.fixture(scope='module')
def client(tmp_path_factory):
  served = loader.load(tone_service.export(tmp_path_factory.mktemp('exports')))
  with tone_service.client(app.make(served, limits=tone_service.LIMITS)) as client:
    yield client


def predictions(client):
  sound = np.random.default_rng(0).uniform(-1, 1, [2, 640]).tolist()
  answer = client.post(f'{MODEL}:predict', json={'instances': sound})
  assert answer.status_code == 200
  return answer.json()


def send(client, path, content, name, number, seed, **options):
  try:
    answer = client.post(path, content=content, **options)
  except httpx.TransportError as error:
    return f'{name} {number}, seed {seed}: {error!r}'
  text = answer.content.decode(errors='replace')
  if answer.status_code not in ANSWERS or 'Traceback' in text:
    return f'{name} {number}, seed {seed}: {answer.status_code} {text[:300]}'
  return None


@pytest.mark.parametrize('method', ['predict', 'classify'])
def test_mutated_json(client, method, seed, share):
  rows = np.random.default_rng(1).uniform(-1, 1, [2, 640]).round(3).tolist()
  bodies = {
    'predict': [{'instances': rows}, {'inputs': {'waveform': rows}}, {'signature_name': 'windows', 'inputs': rows[0]}],
    'classify': [{'examples': [{'waveform': row} for row in rows]}],
  }
  before, found = predictions(client), []
  for number in range(share(REQUESTS)):
    rng = mutating.seeded(seed, f'json {method}', number)
    content = mutating.of_json(json.dumps(rng.choice(bodies[method])).encode(), rng)
    found.append(send(client, f'{MODEL}:{method}', content, method, number, seed))
  assert not list(filter(None, found)), '\n'.join(filter(None, found))
  assert predictions(client) == before


def test_mutated_uploads(client, tmp_path, seed, share):
  """The multipart body as a whole is mutated: its frame and the clip within."""
  clip = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[tones.sound(1, ('low', 0.2, 0.8))])
  request = httpx.Request('POST', 'http://x/', files={'file': ('a.wav', clip.read_bytes())})
  whole, headers = request.read(), {'Content-Type': request.headers['content-type'], 'Accept': 'application/json'}

  def captions():
    answer = client.post('/v1/captions', content=whole, headers=headers)
    assert answer.status_code == 200
    return answer.json()['events']

  before, found = captions(), []
  for number in range(share(UPLOADS)):
    content = mutating.of_bytes(whole, mutating.seeded(seed, 'upload', number))
    found.append(send(client, '/v1/captions', content, 'upload', number, seed, headers=headers))
  assert not list(filter(None, found)), '\n'.join(filter(None, found))
  assert captions() == before
