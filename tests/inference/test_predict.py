"""Predictions for files: the same sound as in training, the same numbers in every format, and failures."""

import csv
import dataclasses
import gzip
import json
import subprocess
import sys
import tracemalloc

import commands
import media_clips
import numpy as np
import pytest

from audionet_tf.core import array_files
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.inference import predict, readers, table, writers
from audionet_tf.media import decoding, pipe, timeline
from audionet_tf.models import registry, student_settings
from audionet_tf.saved_model import export, loader

NAMES = ['rooster', 'crane', 'crane', 'Türglocke, "alt"', 'a', 'b', 'c']
FORMATS = ('json', 'csv', 'npz')


def softmax(x):
  powers = np.exp(x - x.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


@pytest.fixture(scope='module')
def model():
  model = registry.build('audionet', {'teacher': len(NAMES)})
  rng = np.random.default_rng(0)
  for variable in model.weights:
    variable.assign(rng.normal(size=variable.shape))
  return model


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': NAMES})
  return export.export(model, settings, tmp_path_factory.mktemp('exports'))


@pytest.fixture(scope='module')
def served(exported):
  return loader.load(exported)


def noise(seconds, rate_hz, channels=1, seed=0):
  rng = np.random.default_rng(seed)
  loudness = np.linspace(0.05, 0.5, round(seconds * rate_hz))  # so that every window has predictions of its own
  return (rng.uniform(-1, 1, [channels, loudness.size]) * loudness).astype(np.float32)


def write_sound(path, seconds=1.0, rate_hz=16000, channels=1, **more):
  return media_clips.write(path, seconds, times=[], rate_hz=rate_hz, sounds=[noise(seconds, rate_hz, channels)], **more)


def predict_sound(served, path, folder, formats=FORMATS, **options):
  return predict.predict_file(predict.file_predictor(served, formats, **options), path, folder, 'the model')


def read_csv(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.reader(file))


@pytest.mark.parametrize(('window', 'hop'), [(0.04, 0.04), (0.1, 0.03)])
def test_windows_are_those_of_the_records(model, served, tmp_path, window, hop):
  path = write_sound(tmp_path / 'a.wav', 2.05, rate_hz=48000, channels=2)
  summary = predict_sound(served, path, tmp_path, ['npz'], window_seconds=window, hop_seconds=hop, batch_size=16)
  windows = list(timeline.cut_windows(decoding.decode_audio(path, 16000), window, hop, 16000))
  expected = model(np.stack([pcm for _, pcm in windows]) / np.float32(32768))
  logits = np.asarray(expected['logits/teacher'], np.float64)[:, 0]
  with np.load(tmp_path / 'a.wav.npz', allow_pickle=False) as arrays:
    np.testing.assert_allclose(arrays['probabilities'], softmax(logits), atol=1e-6)
    np.testing.assert_allclose(arrays['embedding'], expected['embedding'], rtol=1e-5, atol=1e-6)
    assert arrays['start_seconds'].tolist() == [round(index * hop, 9) for index, _ in windows]
    assert arrays['end_seconds'].tolist() == [round(index * hop + window, 9) for index, _ in windows]
    np.testing.assert_allclose(summary.probabilities, arrays['probabilities'].mean(0), atol=1e-6)
  assert summary.windows == len(windows) == int((2.05 - window) / hop + 1e-9) + 1


def test_the_formats_agree(served, tmp_path):
  path = write_sound(tmp_path / 'a.wav', 1.0)
  predict_sound(served, path, tmp_path, top=3, batch_size=7)
  document = json.loads((tmp_path / 'a.wav.json').read_text())
  rows = read_csv(tmp_path / 'a.wav.csv')
  with np.load(tmp_path / 'a.wav.npz', allow_pickle=False) as arrays:
    arrays = dict(arrays)
  assert set(arrays) == {'start_seconds', 'end_seconds', 'probabilities', 'embedding', 'repeats', 'class_names'}
  assert document.pop('frame_probabilities') == [[float(f'{p:.7g}') for p in row] for row in arrays['probabilities']]
  for key in ('start_seconds', 'end_seconds'):
    assert document.pop(f'window_{key}') == arrays[key].tolist()
  assert document.pop('repeats') == 1 and arrays['repeats'].tolist() == [1]
  assert document == {
    'video_file': str(path),
    'model_file': 'the model',
    'sample_period_msec': 40,
    'window_msec': 40,
    'class_names': NAMES,
  }
  assert arrays['class_names'].tolist() == NAMES
  ranked = ['class_1', 'probability_1', 'class_2', 'probability_2', 'class_3', 'probability_3']
  assert rows[0] == ['start_seconds', 'end_seconds', *ranked, 'repeats']
  assert len(rows) == 26
  for row, start, end, values in zip(
    rows[1:], arrays['start_seconds'], arrays['end_seconds'], arrays['probabilities'], strict=True
  ):
    assert (float(row[0]), float(row[1])) == (start, end)
    best = np.argsort(-values, kind='stable')[:3]
    assert row[2:-1:2] == [NAMES[i] for i in best] and row[-1] == '1'
    np.testing.assert_allclose(np.array(row[3:-1:2], float), values[best], rtol=1e-6)
  for suffix in ('json', 'npz'):  # the figures are drawn from these
    read = readers.read_inference(tmp_path / f'a.wav.{suffix}')
    np.testing.assert_allclose(read.probabilities, arrays['probabilities'], rtol=1e-6)
    assert read.class_names == NAMES
    assert (read.start_seconds.tolist(), read.end_seconds.tolist()) == tuple(
      arrays[key].tolist() for key in ('start_seconds', 'end_seconds')
    )


def test_more_top_classes_than_classes(served, tmp_path):
  predict_sound(served, write_sound(tmp_path / 'a.wav', 0.2), tmp_path, ['csv'], top=50)
  assert [len(row) for row in read_csv(tmp_path / 'a.wav.csv')] == [3 + 2 * len(NAMES)] * 6


@pytest.mark.parametrize(('samples', 'windows'), [(1, 1), (639, 1), (640, 1), (1279, 1), (1600, 2)])
def test_any_length(model, served, tmp_path, samples, windows):
  sound = noise(samples / 16000, 16000)[:, :samples]
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[sound])
  summary = predict_sound(served, path, tmp_path)
  assert summary.windows == windows
  padded = np.zeros(windows * 640, np.float32)
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, 16000)])[: windows * 640]
  padded[: len(pcm)] = pcm / np.float32(32768)
  logits = np.asarray(model(padded.reshape(windows, 640))['logits/teacher'])[:, 0]
  document = json.loads((tmp_path / 'a.wav.json').read_text())
  np.testing.assert_allclose(document['frame_probabilities'], softmax(logits), atol=1e-6)


def test_silence_is_the_same_in_every_window(model, served, tmp_path):
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[np.zeros(8000, np.float32)])
  summary = predict_sound(served, path, tmp_path, ['npz'])
  expected = softmax(np.asarray(model(np.zeros([1, 640], np.float32))['logits/teacher'])[0, 0])
  with np.load(tmp_path / 'a.wav.npz') as arrays:
    np.testing.assert_allclose(arrays['probabilities'], np.tile(expected, (12, 1)), atol=1e-6)
  assert summary.seconds == pytest.approx(0.48)


def test_sound_that_starts_late_keeps_its_times(served, tmp_path):
  for name, sound, starts in (('long.mkv', noise(0.5, 16000), [0.52, 0.56]), ('short.mkv', noise(0.01, 16000), [0.5])):
    path = media_clips.write(tmp_path / name, 1.0, sounds=[sound], sound_start=0.5)
    predict_sound(served, path, tmp_path, ['npz'])
    with np.load(tmp_path / f'{name}.npz') as arrays:
      assert arrays['start_seconds'][: len(starts)].tolist() == starts
      assert arrays['end_seconds'][0] == pytest.approx(starts[0] + 0.04)


def test_compressed_files_are_read_and_named_as_they_are(served, tmp_path):
  path = write_sound(tmp_path / 'a.wav', 0.3)
  (tmp_path / 'a.wav.gz').write_bytes(gzip.compress(path.read_bytes()))
  (tmp_path / 'bad.wav.gz').write_bytes(gzip.compress(b'no sound at all'))
  plain, packed = (predict_sound(served, tmp_path / name, tmp_path, ['csv']) for name in ('a.wav', 'a.wav.gz'))
  assert plain.probabilities.tolist() == packed.probabilities.tolist()
  with pytest.raises(MediaError, match='bad.wav.gz: ') as error:
    predict_sound(served, tmp_path / 'bad.wav.gz', tmp_path)
  assert 'unpacked' not in str(error.value)


def test_nothing_half_written_stays(served, tmp_path, monkeypatch):
  def breaks(path, *arguments):
    yield 0, np.zeros(64000, np.int16)
    raise MediaError(path, 'damaged')

  monkeypatch.setattr(decoding, 'decode_audio', breaks)
  with pytest.raises(MediaError, match='x.wav: damaged'):
    predict_sound(served, 'x.wav', tmp_path, batch_size=8)
  monkeypatch.setattr(decoding, 'decode_audio', lambda *arguments: iter(()))
  with pytest.raises(UserError, match='no sound'):
    predict_sound(served, 'x.wav', tmp_path)
  assert not list(tmp_path.iterdir())


def stand_in(served, classes=20, value=1.0):
  """A FilePredictor that predicts `value` for every class."""
  framing = predict.file_predictor(served, FORMATS, batch_size=64).framing

  def predict_batch(pcm, count):
    rows = np.full([len(pcm), classes], value, np.float32)
    tops = {'top': np.zeros([len(pcm), 3], np.int32), 'top_probabilities': rows[:, :3]}
    return {'sum': rows.sum(0), 'probabilities': rows, 'embedding': rows, **tops}

  served = loader.LoadedExport(served.settings, [f'class {i}' for i in range(classes)], {}, None)
  return predict.FilePredictor(predict_batch, served, framing, 64, 3, FORMATS)


def test_batches_beyond_memory_are_refused(served):
  with pytest.raises(UserError, match=f'batch_size is {10**24}, allowed is 1 to {2**26 // 640} windows of 0.04 s'):
    predict.file_predictor(served, FORMATS, batch_size=10**24)


def test_outputs_that_are_not_finite_are_refused(served, tmp_path):
  path = write_sound(tmp_path / 'a.wav', 0.3)
  with pytest.raises(UserError, match='not finite'):
    predict.predict_file(stand_in(served, value=np.nan), path, tmp_path, 'm')
  assert [file.name for file in tmp_path.iterdir()] == ['a.wav']


def test_memory_does_not_grow_with_length(served, tmp_path, monkeypatch):
  predictor = stand_in(served)
  for module in (array_files, writers):  # else a copy of the longer file takes a larger buffer
    monkeypatch.setattr(module, 'COPY_BYTES', 1 << 16)

  def peak(seconds):
    second = np.zeros(16000, np.int16)
    monkeypatch.setattr(decoding, 'decode_audio', lambda *arguments: ((16000 * i, second) for i in range(seconds)))
    tracemalloc.start()
    summary = predict.predict_file(predictor, f'{seconds}.wav', tmp_path, 'm')
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.windows == 25 * seconds
    return peak_bytes

  peak(20)  # allocations that happen once
  short, long = peak(300), peak(600)
  written = {n: sum((tmp_path / f'{n}.wav.{key}').stat().st_size for key in FORMATS) for n in (300, 600)}
  assert long - short < 0.1 * (written[600] - written[300])
  rows = read_csv(tmp_path / '600.wav.csv')
  assert rows[-1][:2] == ['599.96', '600.0'] and len(rows) == 15001


class GeneratedPipe:
  """A pipe of raw stereo noise at 48 kHz, 16 bits, made as it is read."""

  def __init__(self, seconds):
    self.left = 48_000 * 4 * seconds
    self.noise = np.random.default_rng(0).integers(-9000, 9000, 48_000, np.int16).tobytes()

  def read1(self, size):
    data = self.noise[: min(size, self.left)]
    self.left -= len(data)
    return data


def test_memory_of_a_stream_does_not_grow(served):
  """Of the pipe, the resampler, the windows and the scores, after thousands of windows."""
  predictor = dataclasses.replace(stand_in(served), batch_size=1)

  def peak(seconds):
    tracemalloc.start()
    sound = pipe.Pipe(GeneratedPipe(seconds), sample_rate_hz=48_000, channels=2)
    count = sum(1 for _ in predict.live_blocks(predictor, sound.chunks(16_000)))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 25 * seconds
    return peak_bytes

  peak(5)  # allocations that happen once
  short, long = peak(40), peak(160)
  assert long - short < 3000 * 10  # ten bytes for each further window; its scores alone have a hundred


def infer(*arguments):
  return commands.run('audionet_tf.infer', *arguments)


@pytest.mark.long
def test_command_names_the_bad_file_and_reads_the_others(served, exported, tmp_path):
  (tmp_path / 'two\x1b[2J.wav').write_bytes(b'moves the cursor')
  good = [write_sound(tmp_path / 'one.wav', 1.0), write_sound(tmp_path / 'two.flac', 0.5, audio_codec='flac')]
  (tmp_path / 'broken.mp4').write_bytes(b'\x00' * 5000)
  files = [good[0], *(tmp_path / name for name in ('broken.mp4', 'missing.wav', 'two\x1b[2J.wav')), good[1]]
  done = infer(f'--model={exported.parent}', f'--output={tmp_path / "out"}', '--format=csv,json', '--top=2', *files)
  assert done.returncode == 1
  errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  for line, name in zip(errors, ('broken.mp4: ', 'missing.wav: ', 'two?[2J.wav: '), strict=True):
    assert name in line
  assert 'Traceback' not in done.stderr
  names = sorted(path.name for path in (tmp_path / 'out').iterdir())
  assert names == ['one.wav.csv', 'one.wav.json', 'two.flac.csv', 'two.flac.json']
  lines = done.stdout.splitlines()
  assert lines[0].split() == ['file', 'seconds', 'class', 'probability'] and len(lines) == 5
  summary = predict_sound(served, good[0], tmp_path, ['csv'])
  best = np.argsort(-summary.probabilities, kind='stable')[:2]
  assert lines[1].split() == ['one.wav', '1.0', *NAMES[best[0]].split(), f'{summary.probabilities[best[0]]:.4f}']
  assert lines[2].split() == [*NAMES[best[1]].split(), f'{summary.probabilities[best[1]]:.4f}']


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'infer needs FILE after the flags (--help'),
    (['--output=o', 'a.wav'], 'no such file: a.wav'),
    (['--model=m', '--output=o', '--format=csv,xml', 'a.wav'], "'xml' is not one of json, csv, npz"),
    (['--model=m', '--output=o', '--format=', 'a.wav'], "'' is not one of json"),
    (['--model=m', '--output=o', '--window_ms=0', 'a.wav'], '--window_ms=0: 0.0 is not number >= 1'),
    (['--model=m', '--output=o', '--window_ms=nan', 'a.wav'], '--window_ms=nan: must be a finite number'),
    (['--model=m', '--output=o', '--top=-1', 'a.wav'], '--top=-1: -1 is not a positive integer'),
    (['--model=m', '--output=o', 'x/a.wav', 'y/a.wav'], '2 inputs are called a.wav'),
    (['--model=m', 'a.wav', 'b.wav'], 'no such file: a.wav, b.wav'),
    (['--model=m', __file__], 'm: no SavedModel here; audionet_tf.export writes one'),
  ],
)
def test_command_refuses_at_once(tmp_path, arguments, message):
  command = [sys.executable, '-X', 'importtime', '-m', 'audionet_tf.infer', *arguments]
  done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
  assert done.returncode == 1 and not list(tmp_path.iterdir())
  errors = [line for line in done.stderr.splitlines() if not line.startswith('import time:')]
  assert len(errors) == 1 and errors[0].startswith('error: ') and message in errors[0]
  assert '| tensorflow\n' not in done.stderr


@pytest.mark.long
def test_command_without_output_prints_and_writes_nothing(exported, tmp_path):
  files = [write_sound(tmp_path / 'one.wav', 0.1), write_sound(tmp_path / 'long.wav', 2)]
  done = infer(f'--model={exported}', '--top=2', *files)
  assert done.returncode == 0, done.stderr
  assert sorted(path.name for path in tmp_path.iterdir()) == ['long.wav', 'one.wav']
  lines = done.stdout.splitlines()
  assert lines[0] == 'one.wav' and lines[1].split() == ['start', 'end', 'class', '1', 'class', '2']
  assert [line.split()[:2] for line in lines[2:4]] == [['0.00', '0.04'], ['0.04', '0.08']]
  assert 'long.wav' in lines and 'each row is the mean of 4 windows; --output=DIR keeps every one' in lines
  assert ['file', 'seconds', 'class', 'probability'] in [line.split() for line in lines]


@pytest.mark.parametrize('windows', [1, 24, 25, 48, 49, 97, 1000])
def test_a_table_for_the_screen_is_short_and_means_of_equal_spans(windows):
  rng = np.random.default_rng(0)
  probabilities = rng.uniform(size=[windows, 3]).astype(np.float32)
  screen = table.Table()
  for first in range(0, windows, 7):
    some = np.arange(first, min(first + 7, windows))
    times = {'start_seconds': some / 2, 'end_seconds': some / 2 + 0.5}
    screen.add(times | {'probabilities': probabilities[some]})
  rows = [line.split() for line in screen.text(['a', 'b', 'c'], 1).splitlines()][1:]
  span = 1
  while span * table.MOST_ROWS < windows:
    span *= 2
  if span > 1:
    assert rows.pop()[:8] == f'each row is the mean of {span} windows;'.split()
  expected = [probabilities[first : first + span].mean(0) for first in range(0, windows, span)]
  assert len(rows) == len(expected) <= table.MOST_ROWS
  for number, (row, means) in enumerate(zip(rows, expected, strict=True)):
    end = min(windows, (number + 1) * span) / 2
    assert row[:2] == [f'{number * span / 2:.2f}', f'{end:.2f}']
    assert row[2] == 'abc'[means.argmax()] and abs(float(row[3]) - means.max()) < 0.0051


@pytest.mark.long
def test_command_refuses_what_is_no_model(tmp_path):
  done = infer('--model=nothing', f'--output={tmp_path / "out"}', write_sound(tmp_path / 'a.wav', 0.1))
  assert done.returncode == 1 and not (tmp_path / 'out').exists()
  assert done.stderr.strip().splitlines() == [
    'error: nothing: no SavedModel here; audionet_tf.export writes one, training too, as RUN/export/1'
  ]
