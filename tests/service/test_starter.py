"""The service of a student with categories and `unknown`, from its .keras file; and of one of its other heads."""

import httpx
import media_clips
import numpy as np
import pytest
import running_service
import soundnets
import starters
import tones

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_paths
from audionet_tf.saved_model import for_files
from audionet_tf.service import app


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return starters.write(tmp_path_factory.mktemp('box'), starters.KNOWS_NOTHING)


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
  noise = soundnets.noise(1, 44_100)[0]
  return media_clips.write(
    tmp_path_factory.mktemp('sounds') / 'noise.wav', 2.0, times=[], sounds=[noise], rate_hz=22_050
  )


def asked(made, ask):
  """`ask(client)`, with an httpx.Client of a app.Service."""
  with running_service.running(made) as address, httpx.Client(base_url=address, timeout=60) as client:
    return ask(client)


def captions(client, path, threshold=0.05):
  with open(path, 'rb') as file:
    return client.post(f'/v1/captions?threshold={threshold}', files={'file': (path.name, file)}).json()


def test_the_service_says_what_it_knows_and_what_is_unknown(path, sound, monkeypatch):
  monkeypatch.setattr(student_paths, 'STARTER_FOLDER', path.parent)

  def ask(client):
    about, found = client.get('/v1/service').json(), captions(client, sound)
    timeline = client.get(f'/v1/captions/{found["id"]}/timeline').json()['classes']
    return about, found, timeline, client.get('/v1/models/audionet/metadata').json()

  about, found, timeline, metadata = asked(app.make(for_files.load(path)), ask)
  assert about['starter'] and about['unknown'] and about['names'] == starters.NAMES and about['classes'] == 3
  assert found['events'] == [] and found['unknown_seconds'] == 2.0
  assert timeline['names'][timeline['top'][0][0][0]] == 'unknown'  # the drawing has it
  signatures = metadata['metadata']['signature_def']['signature_def']
  assert signatures['serving_default']['inputs']['waveform']['dtype'] == 'DT_FLOAT'
  assert {'probabilities', 'teacher/probabilities'} <= set(signatures['serving_default']['outputs'])


def test_another_head_captions_and_classifies(path, sound):
  served = for_files.load(path)
  with pytest.raises(UserError, match="head is 'x', allowed is one of category, teacher"):
    app.make(served, head='x')
  noise = soundnets.noise(2, 22_050)
  expected = served.predict(noise)['teacher/probabilities']

  def ask(client):
    examples = {'examples': [{'waveform': row.tolist()} for row in noise]}
    return (
      client.get('/v1/service').json(),
      captions(client, sound),
      client.post('/v1/models/audionet:classify', json=examples).json()['results'],
    )

  about, found, results = asked(app.make(served, head='teacher'), ask)
  assert about['names'] == soundnets.NAMES and not about['unknown'] and not about['starter']
  assert 'unknown_seconds' not in found and {event['name'] for event in found['events']} <= set(soundnets.NAMES)
  for row, probabilities in zip(results, expected, strict=True):
    best = np.argsort(-probabilities)[:5]
    assert [name for name, _ in row] == [soundnets.NAMES[number] for number in best]
    np.testing.assert_allclose([value for _, value in row], probabilities[best], atol=1e-5)


def test_known_sound_is_captioned_and_silence_is_unknown(tmp_path):
  """A student whose silence is called unknown, as in the tests of the page."""
  stretches = [('low', 1, 2), ('high', 3, 4.2)]
  path = media_clips.write(tmp_path / 'a.wav', 5.0, times=[], sounds=[tones.sound(5.0, *stretches)])
  made = app.make(tones.student(['unknown', 'low', 'high']))
  found = asked(made, lambda client: captions(client, path))
  assert [event['name'] for event in found['events']] == ['low', 'high']
  assert found['unknown_seconds'] == pytest.approx(5 - 1 - 1.2, abs=0.2)
