"""Students with steps: a row is a step of one pass over the whole sound, with its own time; short sound is repeated."""

import csv
import dataclasses
import json

import commands
import media_clips
import numpy as np
import pytest
import soundnets

from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.evaluation import predictor
from audionet_tf.inference import predict, steps
from audionet_tf.media import decoding
from audionet_tf.models import alignment, registry
from audionet_tf.saved_model import export, loader

RATE = 22_050
HEADS = {'scenes': ['park', 'street'], 'objects': soundnets.NAMES}  # not in the order of the alphabet
FIELD = 159_774 / RATE  # receptive field of a step, seconds
SETTINGS = soundnets.settings('soundnet5', 5.0, HEADS)


@pytest.fixture(scope='module')
def model():
  return soundnets.student('soundnet5', {head: len(names) for head, names in HEADS.items()})


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
  folder = tmp_path_factory.mktemp('export')
  export.export(model, SETTINGS, folder)
  return folder


@pytest.fixture(scope='module')
def served(folder):
  return loader.load(folder)


def write_sound(path, seconds, rate_hz=RATE, channels=1, **more):
  sound = np.stack([soundnets.noise(1, round(seconds * rate_hz), i)[0] for i in range(channels)])
  return media_clips.write(path, times=[], sounds=[sound], rate_hz=rate_hz, **more)


def softmax(x):
  powers = np.exp(x - x.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def predict_sound(served, path, folder, **options):
  summary = predict.predict_file(predict.file_predictor(served, ['npz', 'csv', 'json'], **options), path, folder, 'm')
  with np.load(folder / f'{path.name}.npz') as arrays:
    return summary, dict(arrays)


def sound_of(path):
  return np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE, 'first')])[None] / np.float32(32768)


@pytest.mark.parametrize(
  ('seconds', 'rate', 'channels'), [(2.6, RATE, 1), (7, RATE, 1), (30, 8_000, 1), (13.3, 48_000, 2)]
)
def test_rows_are_steps_of_one_pass(model, served, tmp_path, seconds, rate, channels):
  path = write_sound(tmp_path / 'a.wav', seconds, rate, channels)
  summary, arrays = predict_sound(served, path, tmp_path)
  sound = sound_of(path)
  layers = registry.layer_model(model, 'soundnet5', ['conv4', 'conv5_scenes'])(sound, training=False)
  np.testing.assert_allclose(arrays['probabilities'], softmax(layers['conv5_scenes'].numpy()[0]), atol=1e-4)
  assert arrays['class_names'].tolist() == HEADS['scenes']
  centers, hop = registry.step_seconds('soundnet5', sound.size, RATE)
  begins, ends = np.maximum(centers - hop / 2, 0), np.minimum(centers + hop / 2, sound.size / RATE)
  outer = max(0, centers[0] - FIELD / 2), min(sound.size / RATE, centers[-1] + FIELD / 2)  # their receptive fields
  np.testing.assert_allclose(arrays['start_seconds'], [outer[0], *begins[1:]])
  np.testing.assert_allclose(arrays['end_seconds'], [*ends[:-1], outer[1]])
  times = registry.step_seconds('soundnet5', sound.size, RATE, 'conv4')[0]
  for row, begin, end in zip(arrays['embedding'], begins, ends, strict=True):
    inside = layers['conv4'].numpy()[0][(times >= begin) & (times < end)]
    np.testing.assert_allclose(row, inside.mean(0), rtol=1e-4, atol=1e-5)
  assert (summary.windows, summary.repeats) == (len(centers), 1)
  document = json.loads((tmp_path / 'a.wav.json').read_text())
  assert document['window_msec'] == document['sample_period_msec'] == pytest.approx(1000 * hop)
  best = (tmp_path / 'a.wav.csv').read_text().splitlines()[1].split(',')[2]
  assert best == HEADS['scenes'][arrays['probabilities'][0].argmax()]


@pytest.mark.parametrize('short', [1, 0])
def test_a_step_is_predicted_as_soon_as_the_sound_is_long_enough(served, tmp_path, short):
  """Two steps need 56,798 + 98,304 samples (7.03 s): one fewer gives one, and no sound is made up."""
  samples = 56_798 + 98_304 - short
  sound = soundnets.noise(1, samples)[0]
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[sound], rate_hz=RATE)
  summary, arrays = predict_sound(served, path, tmp_path)
  assert (summary.windows, summary.repeats) == (2 - short, 1)
  # The last row ends with its receptive field, or with the sound.
  last = min(28_398.5 + (1 - short) * 98_304 + 159_774 / 2, samples)
  np.testing.assert_allclose(arrays['end_seconds'][-1], last / RATE)


def test_long_sound_in_pieces(model, served, tmp_path, monkeypatch):
  monkeypatch.setattr(steps.chunking, 'PIECE_SAMPLES', 1)
  monkeypatch.setattr(steps.chunking, 'FIELDS', 3)
  path = write_sound(tmp_path / 'a.wav', 90)
  _, arrays = predict_sound(served, path, tmp_path)
  layers = registry.layer_model(model, 'soundnet5', ['conv4', 'conv5_scenes'])(sound_of(path), training=False)
  np.testing.assert_allclose(arrays['probabilities'], softmax(layers['conv5_scenes'].numpy()[0]), atol=1e-4)
  times, hidden = registry.step_seconds('soundnet5', 90 * RATE, RATE, 'conv4')[0], layers['conv4'].numpy()[0]
  centers, hop = registry.step_seconds('soundnet5', 90 * RATE, RATE)
  assert arrays['start_seconds'][1:].tolist() == arrays['end_seconds'][:-1].tolist()
  begins = [max(0, centers[0] - hop / 2), *arrays['start_seconds'][1:]]
  ends = [*begins[1:], min(90, centers[-1] + hop / 2)]
  for row, begin, end in zip(arrays['embedding'], begins, ends, strict=True):
    np.testing.assert_allclose(row, hidden[(times >= begin) & (times < end)].mean(0), rtol=1e-4, atol=1e-5)


def test_short_sound_is_repeated(model, served, tmp_path):
  path = write_sound(tmp_path / 'a.wav', 0.1)
  summary, arrays = predict_sound(served, path, tmp_path)
  sound = np.tile(sound_of(path), 26)
  expected = softmax(model(sound, training=False)['logits/scenes'].numpy()[0])
  np.testing.assert_allclose(arrays['probabilities'], expected, atol=1e-4)
  assert summary.repeats == 26 and arrays['repeats'].tolist() == [26] and summary.seconds == 0.1
  assert (arrays['start_seconds'].tolist(), arrays['end_seconds'].tolist()) == ([0], [0.1])
  document = json.loads((tmp_path / 'a.wav.json').read_text())
  assert (document['window_start_seconds'], document['window_end_seconds'], document['repeats']) == ([0], [0.1], 26)
  header, row = (line.split(',') for line in (tmp_path / 'a.wav.csv').read_text().splitlines())
  assert (header[:2], row[:2]) == (['start_seconds', 'end_seconds'], ['0.0', '0.1'])
  assert (header[-1], row[-1]) == ('repeats', '26')


def test_all_steps_of_repeated_sound_are_one_row():
  """SoundNet-8 needs 209,374 samples: 9 s become 18 s, which give three steps, each of which covers all of it."""
  tables = registry.network('soundnet8').layer_windows
  rng, sound = np.random.default_rng(0), np.zeros(9 * RATE, np.int16)
  times = registry.step_seconds('soundnet8', 18 * RATE, RATE, 'conv7')[0]
  hidden, probabilities = rng.random([len(times), 4]), rng.dirichlet(np.ones(5), 3)
  shapes = []

  def predict_pieces(pcm):
    shapes.append(pcm.shape)
    return hidden, probabilities

  chunks = [(RATE + 3 * i * RATE, part) for i, part in enumerate(np.split(sound, 3))]  # it starts late
  tables = {layer: tables[layer] for layer in ('conv7', 'conv8')}
  (block,) = steps.extend_ends(steps.step_blocks(chunks, predict_pieces, tables, RATE, 2))
  assert shapes == [(1, 18 * RATE)] and len(registry.step_seconds('soundnet8', 18 * RATE, RATE)[0]) == 3
  assert (block['start_seconds'], block['end_seconds'], block['repeats']) == ([1], [10], 2)
  np.testing.assert_allclose(block['probabilities'], [probabilities.mean(0)])
  np.testing.assert_allclose(block['sum'], probabilities.mean(0))
  np.testing.assert_allclose(block['embedding'], [hidden[(times >= 0) & (times < 18)].mean(0)])
  assert block['top'].tolist() == [np.argsort(-probabilities.mean(0))[:2].tolist()]


def test_the_first_and_last_row_are_as_long_as_their_receptive_fields():
  """Two blocks of rows of 1 s with fields of 4 s; the sound starts 0.9 s before the first centre and ends far later."""

  def block(first, rows, sound_end):
    centers = first + np.arange(rows)
    spans = {'start_seconds': centers - 0.5, 'end_seconds': centers + 0.5}
    return spans | {'field_seconds': (first - 2, centers[-1] + 2), 'sound_seconds': (first - 0.9, sound_end)}

  first, last = steps.extend_ends([block(2.0, 2, 5.0), block(4.0, 1, 10.0)])
  assert (first['start_seconds'].tolist(), first['end_seconds'].tolist()) == ([1.1, 2.5], [2.5, 3.5])
  assert (last['start_seconds'].tolist(), last['end_seconds'].tolist()) == ([3.5], [6])
  (alone,) = steps.extend_ends([block(2.0, 1, 2.2)])
  assert (alone['start_seconds'].tolist(), alone['end_seconds'].tolist()) == ([1.1], [2.5])
  assert not list(steps.extend_ends([]))


@pytest.mark.parametrize(
  ('window', 'seconds', 'rows', 'repeats', 'reported'),
  [(4.0, 9.0, 2, 1, 1), (4.0, 1.5, 1, 1, 3), (1.0, 2.5, 2, 3, 3), (1.0, 0.1, 1, 3, 30)],
)
def test_windows_on_request(model, served, tmp_path, window, seconds, rows, repeats, reported):
  path = write_sound(tmp_path / 'a.wav', seconds)
  summary, arrays = predict_sound(served, path, tmp_path, window_seconds=window)
  size = round(window * RATE)
  sound = sound_of(path)[0]
  cut = (sound[: rows * size] if len(sound) >= size else np.resize(sound, size)).reshape(rows, size)
  logits = model(np.tile(cut, [1, repeats]), training=False)['logits/scenes'].numpy()
  np.testing.assert_allclose(arrays['probabilities'], softmax(logits).mean(1), atol=1e-4)
  assert arrays['start_seconds'].tolist() == [window * i for i in range(rows)]
  assert arrays['end_seconds'].tolist() == [min(window * (i + 1), seconds) for i in range(rows)]
  assert summary.repeats == reported == arrays['repeats']


@pytest.mark.parametrize('head', [None, *HEADS])
@pytest.mark.parametrize('window', [None, 4.0])
def test_a_head_on_request(model, served, tmp_path, window, head):
  """Steps and windows alike: 9 s are two steps of the whole, or two windows of 4 s with a step each."""
  path = write_sound(tmp_path / 'a.wav', 9.0)
  _, arrays = predict_sound(served, path, tmp_path, window_seconds=window, head=head)
  sound = sound_of(path)
  cut = sound if window is None else sound[0, : 8 * RATE].reshape(2, -1)
  logits = model(cut, training=False)[f'logits/{head or "scenes"}'].numpy()
  expected = softmax(logits)[0] if window is None else softmax(logits).mean(1)
  np.testing.assert_allclose(arrays['probabilities'], expected, atol=1e-4)
  names = HEADS[head or 'scenes']
  assert arrays['class_names'].tolist() == names
  with open(tmp_path / 'a.wav.csv', newline='', encoding='utf-8') as file:
    rows = list(csv.reader(file))[1:]
  top = min(3, len(names))
  # Untrained, the classes are nearly level, so the order is that of the probabilities in the file.
  assert [row[2:-1:2] for row in rows] == [[names[i] for i in np.argsort(-p)[:top]] for p in arrays['probabilities']]


def test_a_head_that_is_not_there_is_refused(served):
  with pytest.raises(UserError, match=r"head is 'places', allowed is one of scenes, objects$"):
    predict.file_predictor(served, ['npz'], head='places')
  assert predict.file_predictor(served, ['npz'], head='objects').class_names == HEADS['objects']


def test_sound_that_starts_late_keeps_its_times(served, tmp_path):
  sound = soundnets.noise(1, 3 * RATE)[0]
  path = media_clips.write(tmp_path / 'a.mkv', 4.0, sounds=[sound], rate_hz=RATE, sound_start=0.5)
  _, arrays = predict_sound(served, path, tmp_path)
  assert arrays['start_seconds'][0] == pytest.approx(0.5, abs=1e-3)
  assert arrays['end_seconds'][-1] == pytest.approx(3.5, abs=1e-3)


def test_outputs_that_are_not_finite_are_refused(served, tmp_path):
  path = write_sound(tmp_path / 'a.wav', 3.0)
  hidden, logits = np.zeros([100, 256], np.float32), np.full([1, 2], np.nan, np.float32)
  tables = registry.network('soundnet5').layer_windows
  tables = {'conv4': tables['conv4'], 'conv5_scenes': tables['conv5']}

  def blocks(path):
    sound = decoding.decode_audio(path, RATE, 'first')
    return steps.step_blocks(sound, lambda pcm: (hidden, logits), tables, RATE, 2)

  framing = predict.file_predictor(served, ['npz']).framing
  bad = predict.FilePredictor(None, served, framing, 1, 2, ('npz',), steps.StepPredictor(blocks, 1.0))
  with pytest.raises(UserError, match='not finite'):
    predict.predict_file(bad, path, tmp_path, 'm')
  assert [file.name for file in tmp_path.iterdir()] == ['a.wav']


def test_an_export_without_the_layers_predicts_windows_only_on_request(served, tmp_path):
  signatures = {name: function for name, function in served.signatures.items() if name != 'layers'}
  old = dataclasses.replace(served, signatures=signatures)
  with pytest.raises(UserError, match='lacks the signature layers, .* export the student again, or .*--window_ms'):
    predict.file_predictor(old, ['npz'])
  summary, _ = predict_sound(old, write_sound(tmp_path / 'a.wav', 11), tmp_path, window_seconds=5.0)
  assert summary.windows == 2


def test_an_export_is_evaluated_by_its_steps(model, folder):
  """As the .keras is: clips have the mean of the steps' probabilities, not those of the mean logits."""
  student = predictor.load_student(folder)
  sound = soundnets.noise(2, 11 * RATE)
  expected = model(sound, training=False)['logits/scenes'].numpy()
  assert expected.shape == (2, 2, 2)
  np.testing.assert_allclose(student.logits(sound), expected, atol=1e-4 * np.abs(expected).max())
  cut = params.RecordParams(10.0, 10.0, images_per_window=2, sample_rate_hz=RATE, mono='first')
  assert student.alignment(cut).tolist() == alignment.for_student('soundnet5', cut).tolist()


@pytest.mark.long
def test_command_says_what_it_repeats(folder, tmp_path):
  paths = [write_sound(tmp_path / 'short.wav', 0.1), write_sound(tmp_path / 'long.wav', 9.0)]
  done = commands.run('audionet_tf.infer', f'--model={folder}', f'--output={tmp_path / "out"}', *paths)
  assert done.returncode == 0, done.stderr
  assert 'short.wav: too short for soundnet5, repeated 26 times' in done.stdout
  assert 'long.wav: too short' not in done.stdout
  assert len((tmp_path / 'out/long.wav.csv').read_text().splitlines()) == 1 + len(
    registry.step_seconds('soundnet5', 9 * RATE, RATE)[0]
  )
  assert done.stdout.splitlines()[-1] == 'classes of scenes, the first head; --head chooses another: objects'
  assert 'park' in done.stdout and 'crane' not in done.stdout


@pytest.mark.long
def test_command_writes_the_head_that_is_named(folder, tmp_path):
  arguments = [f'--model={folder}', f'--output={tmp_path / "out"}', write_sound(tmp_path / 'a.wav', 3.0)]
  done = commands.run('audionet_tf.infer', '--head=objects', '--top=7', *arguments)
  assert done.returncode == 0, done.stderr
  assert 'crane' in done.stdout and 'park' not in done.stdout and '--head' not in done.stdout
  assert json.loads((tmp_path / 'out/a.wav.json').read_text())['class_names'] == HEADS['objects']
  done = commands.run('audionet_tf.infer', '--head=places', *arguments)
  assert done.returncode == 1
  assert done.stderr.splitlines() == ["error: head is 'places', allowed is one of scenes, objects"]
