"""audionet_tf.stream as a command: the scores of infer, the events of caption, pipes, Ctrl-C, a closed reader."""

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys

import commands
import numpy as np
import pytest
import starters
import tones
from scipy.io import wavfile

from audionet_tf.core.errors import UserError
from audionet_tf.media import microphone
from audionet_tf.saved_model import export


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """Folder of an export that knows two tones, in windows of 40 ms."""
  served = tones.student()
  return export.export(served.module, served.settings, tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
  """WAV of six seconds at another rate than the student's, in stereo, the length left open as by a pipe."""
  path = tmp_path_factory.mktemp('sound') / 'a.wav'
  samples = tones.sound(6, ('low', 1, 3), ('high', 4, 5))
  doubled = np.repeat(samples, 2)  # 32 kHz: what the doubling adds lies above what the filters hear
  wavfile.write(path, 2 * tones.RATE, np.round(np.stack([doubled, doubled], 1) * 32767).astype(np.int16))
  data = bytearray(path.read_bytes())
  place = data.index(b'data') + 4
  data[4:8] = data[place : place + 4] = struct.pack('<I', 0xFFFFFFFF)
  path.write_bytes(data)
  return path


def stream(*arguments, stdin, module='audionet_tf.stream', **options):
  """subprocess.run of the command with its input from a file."""
  with open(stdin, 'rb') as file:
    words = [sys.executable, '-m', module, *map(str, arguments)]
    return subprocess.run(words, stdin=file, capture_output=True, text=True, timeout=280, **options)


@pytest.mark.long
@pytest.mark.parametrize('hop', [[], ['--hop_ms=15', '--window_ms=60']])
def test_scores_are_those_of_infer_and_events_those_of_caption(model, sound, tmp_path, hop):
  done = stream(f'--model={model}', '--format=json', '--top=0', *hop, stdin=sound)
  assert done.returncode == 0, done.stderr
  lines = [json.loads(line) for line in done.stdout.splitlines()]
  windows = [line for line in lines if 'classes' in line]
  commands.run('audionet_tf.infer', f'--model={model}', f'--output={tmp_path}', *hop, sound, check=True)
  expected = json.loads((tmp_path / 'a.wav.json').read_text())
  assert len(windows) == len(expected['frame_probabilities']) > 100
  found = [[line['classes'][name] for name in expected['class_names']] for line in windows]
  np.testing.assert_allclose(found, expected['frame_probabilities'], atol=1e-5)
  assert [line['start_seconds'] for line in windows] == expected['window_start_seconds']
  commands.run('audionet_tf.caption', f'--model={model}', f'--output={tmp_path}', *hop, sound, check=True)
  captions = json.loads((tmp_path / 'a.wav.events.json').read_text())['events']
  events = sorted((line for line in lines if 'event' in line), key=lambda line: line['start_seconds'])
  assert [event['event'] for event in events] == [event['name'] for event in captions]
  for event, caption in zip(events, captions, strict=True):
    for key in ('start_seconds', 'end_seconds', 'score', 'peak'):
      assert event[key] == pytest.approx(caption[key], abs=0.02), key
  assert {'low'} == {name for line in windows if 1.5 < line['start_seconds'] < 2.5 for name in line['sounding']}


@pytest.mark.long
def test_infer_reads_a_pipe_as_it_reads_a_file(model, sound, tmp_path):
  done = stream(f'--model={model}', f'--output={tmp_path}/pipe', '-', stdin=sound, module='audionet_tf.infer')
  assert done.returncode == 0, done.stderr
  commands.run('audionet_tf.infer', f'--model={model}', f'--output={tmp_path}/file', sound, check=True)
  found, expected = (json.loads((tmp_path / path).read_text()) for path in ('pipe/stdin.json', 'file/a.wav.json'))
  np.testing.assert_allclose(found['frame_probabilities'], expected['frame_probabilities'], atol=1e-5)
  assert found['video_file'] == 'stdin'


@pytest.mark.long
def test_the_starter_hears_raw_samples_and_ctrl_c_ends_it(tmp_path):
  """A pipe that stays open: the line of the first window comes, then Ctrl-C."""
  starters.write(tmp_path / 'box')
  words = [sys.executable, starters.__file__, tmp_path / 'box', 'audionet_tf.stream', '--sample_rate=22050']
  child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  noise = np.random.default_rng(0).integers(-9000, 9000, 22_050 + 600, np.int16)  # a window, and what a resampler holds
  child.stdin.write(noise.tobytes())
  child.stdin.flush()
  line = child.stdout.readline().decode()
  assert line.split()[:2] == ['0.00', '1.00'] and 'dog_bark' in line and 'unknown' in line
  child.send_signal(signal.SIGINT)
  out, errors = child.communicate(timeout=60)
  assert child.returncode == 130
  assert errors.decode().splitlines()[1:] == ['error: interrupted'] and errors.startswith(b'using the starter')
  assert [text for text in out.decode().splitlines() if 'event: ' not in text] == []  # of what was going on


@pytest.mark.long
def test_a_reader_that_closes_ends_it(model, sound):
  read, write = os.pipe()
  with open(sound, 'rb') as file:
    words = [sys.executable, '-m', 'audionet_tf.stream', f'--model={model}']
    child = subprocess.Popen(words, stdin=file, stdout=write, stderr=subprocess.PIPE)
  os.close(write)
  os.read(read, 10)
  os.close(read)
  _, errors = child.communicate(timeout=100)
  assert (child.returncode, errors) == (0, b'')


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--channels=2'], '--channels goes with --sample_rate'),
    (['--device=1'], '--device goes with --microphone'),
    (['--microphone', '--sample_rate=8000'], 'leave out --sample_rate'),
    (['--names=nowhere.csv'], 'nowhere.csv: no such file'),
    (['--model=nowhere'], 'nowhere: no SavedModel here'),
    (['a.wav'], "unexpected argument 'a.wav'"),
    (['--threshold=0', '--model=starter'], 'threshold is 0, allowed is'),
    (['--model=starter'], 'stdin: no sound in it'),
  ],
)
def test_mistakes_are_one_line(arguments, message):
  done = stream(*arguments, stdin=os.devnull)
  assert done.returncode == 1 and done.stdout == ''
  assert done.stderr.count('\n') == 1 and done.stderr.startswith('error: ') and message in done.stderr


class Microphone:
  """A stand-in for sounddevice: three blocks of a ramp at 48 kHz, then an error."""

  PortAudioError = type('PortAudioError', (Exception,), {})

  def __init__(self):
    self.blocks = 0

  def query_devices(self, device, kind):
    assert (device, kind) == (3, 'input')
    return {'default_samplerate': 48_000.0}

  def InputStream(self, rate, device, channels, dtype):
    assert (rate, device, channels, dtype) == (48_000, 3, 1, 'float32')
    return self

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def read(self, frames):
    self.blocks += 1
    if self.blocks > 3:
      raise self.PortAudioError('unplugged')
    return np.full([frames, 1], self.blocks / 8, np.float32), False


def test_microphone_is_heard_at_its_own_rate(monkeypatch):
  monkeypatch.setitem(sys.modules, 'sounddevice', Microphone())
  heard = []
  with pytest.raises(UserError, match='the microphone cannot be used .*unplugged'):
    for _, pcm in microphone.chunks(48_000, '3'):
      heard.append(pcm)
  np.testing.assert_array_equal(np.concatenate(heard), np.repeat([4096, 8192, 12288], 480))


@pytest.mark.skipif(importlib.util.find_spec('sounddevice') is not None, reason='sounddevice is installed')
def test_a_missing_library_is_named():
  done = stream('--microphone', stdin=os.devnull)
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert 'needs sounddevice' in done.stderr and '[microphone]' in done.stderr
