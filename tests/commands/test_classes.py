"""--classes with a table of vectors: commands name the sounds of a student without classes, and need no text model."""

import json
import re
import subprocess
import sys

import commands
import httpx
import numpy as np
import pytest
import running_service
import scipy.io.wavfile
import tones
import web_folders

from audionet_tf.core import tflite_interpreter

WORDS = ['nothing at all', 'a deep tone', 'a shrill tone']
TONES = [('low', 1, 2), ('high', 3, 4.2)]
FLAGS = ('--model=run', '--classes=words.npz')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with a run and words.npz (`tones.write_embedding_student`) and a.wav, five seconds with TONES."""
  folder = tmp_path_factory.mktemp('world')
  tones.write_embedding_student(folder, WORDS)
  pcm = np.round(tones.sound(5, *TONES) * 32767).astype(np.int16)
  scipy.io.wavfile.write(folder / 'a.wav', tones.RATE, pcm)
  return folder


def assert_the_tones(events, key='name'):
  """That events, dicts, are TONES by their words, with silence between them."""
  heard = [event for event in events if event[key] != WORDS[0]]
  assert [event[key] for event in heard] == WORDS[1:]
  for event, (_, start, end) in zip(heard, TONES, strict=True):
    assert abs(event['start_seconds'] - start) <= 0.04 and abs(event['end_seconds'] - end) <= 0.04


def test_caption(world, tmp_path):
  done = commands.run(
    'audionet_tf.caption', *FLAGS, f'--output={tmp_path}', '--format=json,srt', 'a.wav', cwd=world, check=True
  )
  assert WORDS[1] in done.stdout
  assert_the_tones(json.loads((tmp_path / 'a.wav.events.json').read_text())['events'])
  assert WORDS[2] in (tmp_path / 'a.wav.srt').read_text()


@pytest.mark.long
def test_stream(world):
  with open(world / 'a.wav', 'rb') as sound:
    command = [sys.executable, '-m', 'audionet_tf.stream', *FLAGS, '--format=json']
    done = subprocess.run(command, stdin=sound, capture_output=True, text=True, timeout=280, cwd=world)
  assert done.returncode == 0, done.stderr
  lines = [json.loads(line) for line in done.stdout.splitlines()]
  assert_the_tones([line for line in lines if 'event' in line], 'event')
  windows = [line for line in lines if 'classes' in line]
  assert len(windows) == 125 and {*windows[0]['classes']} == {*WORDS}
  assert max(windows[30]['classes'], key=windows[30]['classes'].get) == WORDS[1]  # from 1.2 s on


def test_serve(world, tmp_path):
  line = tmp_path / 'stderr'
  child = commands.start(['audionet_tf.serve', *FLAGS, '--port=0'], world, stderr=line)
  try:
    running_service.wait(lambda: line.exists() and 'http://' in line.read_text(), 60)
    address = re.search(r'http://127\.0\.0\.1:\d+', line.read_text()).group()
    with httpx.Client(base_url=address, timeout=60) as client:
      running_service.wait(lambda: answers(client))
      assert client.get('/v1/service').json()['names'] == WORDS
      with open(world / 'a.wav', 'rb') as sound:
        assert_the_tones(client.post('/v1/captions', files={'file': ('a.wav', sound)}).json()['events'])
      window = tones.sound(0.04, ('high', 0, 1)).tolist()
      asked = {'examples': [{'waveform': window}]}
      ((best, *_),) = client.post('/v1/models/audionet:classify', json=asked).json()['results']
      assert best[0] == WORDS[2]
  finally:
    child.terminate()
    child.join(60)
  assert child.exitcode == 0


def answers(client):
  try:
    return client.get('/readyz').status_code == 200
  except httpx.TransportError:
    return False


def test_export_of_the_page(world, tmp_path_factory):
  """The folder knows the words, and its student gives their scores."""
  site = tmp_path_factory.mktemp('page') / 'site'
  flags = f'--web={site}', f'--web_packages={web_folders.packages(tmp_path_factory)}'
  commands.run('audionet_tf.export', *FLAGS, *flags, cwd=world, check=True)
  about = json.loads((site / 'labels.json').read_text())
  assert about['labels'] == about['names'] == WORDS and about['groups'] == [[0], [1], [2]]
  run = tflite_interpreter.interpreter(site / 'model.tflite').get_signature_runner('serving_default')
  for number, name in enumerate(tones.NAMES):
    stretches = [(name, 0, 1)] if name in tones.HERTZ else []
    (probabilities,) = run(waveform=tones.sound(0.04, *stretches)[None])['probabilities']
    assert probabilities.argmax() == number and probabilities.max() > 0.99
