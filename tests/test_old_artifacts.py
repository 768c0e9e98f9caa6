"""What version 0.1.0 wrote still loads, answers the same and is gone on with. tests/artifacts/make.py made it."""

import csv
import json
import pathlib
import shutil
import subprocess
import sys
import wave

import numpy as np
import pytest

from audionet_tf.captioning import formats
from audionet_tf.data import input_pipeline, records, soft_labels
from audionet_tf.evaluation import confusion
from audionet_tf.inference import predict, readers
from audionet_tf.models import registry, student_file
from audionet_tf.representations import extraction, files
from audionet_tf.saved_model import layer_outputs, loader, signatures
from audionet_tf.training import config, history, trainer

ARTIFACTS = pathlib.Path(__file__).resolve().parent / 'artifacts'
EXPECTED = json.loads((ARTIFACTS / 'expected.json').read_text())
TOLERANCE = {'rtol': 1e-4, 'atol': 1e-5}
# Its whole numbers are cut, not rounded: a last bit of the sum in front of it may make a neighbour of one.
CUT_TOLERANCE = {'atol': 1.001}


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A copy of everything, and the working directory: the files name one another from there."""
  shutil.copytree(ARTIFACTS, tmp_path, dirs_exist_ok=True)
  monkeypatch.chdir(tmp_path)
  return tmp_path


def waveform(samples):
  """f32 [samples]: sound.wav, repeated."""
  with wave.open(str(ARTIFACTS / 'sound.wav')) as file:
    pcm = np.frombuffer(file.readframes(file.getnframes()), '<i2')
  return (np.resize(pcm, samples) / 32768).astype(np.float32)


def check(outputs, expected):
  for name, kept in expected.items():
    output = np.asarray(outputs[name], np.float64)
    tolerance = CUT_TOLERANCE if name == 'pca' else TOLERANCE
    assert list(output.shape) == kept['shape'], name
    np.testing.assert_allclose(output.ravel()[: len(kept['values'])], kept['values'], err_msg=name, **tolerance)


@pytest.mark.parametrize('path', [path for path in EXPECTED if path.endswith('.keras')])
def test_students_answer_as_they_did(path):
  model, settings = student_file.load(ARTIFACTS / path)
  check(model(waveform(EXPECTED[path]['samples'])[None], training=False), EXPECTED[path]['outputs'])
  assert settings.student in registry.STUDENTS


@pytest.mark.parametrize('path', ['trained', 'exported'])
def test_exports_answer_as_they_did(path):
  served = loader.load(ARTIFACTS / path)
  sound = waveform(EXPECTED[path]['samples'])
  assert set(EXPECTED[path]['signatures']) == set(served.signatures)
  for name, expected in EXPECTED[path]['signatures'].items():
    check(served.signatures[name](waveform=sound if name == 'windows' else sound[None]), expected)


@pytest.mark.parametrize('name', sorted(path.stem for path in (ARTIFACTS / 'students').glob('*.keras')))
def test_students_can_be_exported(name, tmp_path):
  model, settings = student_file.load(ARTIFACTS / f'students/{name}.keras')
  functions = signatures.all_signatures(model, settings)
  sound = waveform(EXPECTED[f'students/{name}.keras']['samples'])[None]
  expected = EXPECTED[f'students/{name}.keras']['outputs']['embedding']
  check(functions['serving_default'](waveform=sound), {'embedding': expected})


def test_records_are_parsed():
  manifest = records.read_manifest(ARTIFACTS / 'recorded')
  assert [(video['id'], video['windows']) for video in manifest['videos']] == [('a.mkv', 25), ('b.mkv', 25)]
  source = input_pipeline.record_source(ARTIFACTS / 'recorded', manifest)
  (batch,) = input_pipeline.sequential_batches(source, 50)
  assert batch['audio'].shape == (50, 320)
  for video, hertz in ((0, 350), (1, 1450)):  # the tones that the clips were made of
    sound = np.asarray(batch['audio'])[np.asarray(batch['video_id']) == video]
    assert len(sound) == 25
    spectrum = np.abs(np.fft.rfft(sound)).mean(0)
    assert abs(spectrum.argmax() * 25 - hertz) <= 25


def test_stored_labels_are_those_of_the_teacher():
  (folder,) = (path for path in (ARTIFACTS / 'recorded/labels').iterdir() if path.is_dir())
  manifest = soft_labels.read_manifest(folder)
  assert manifest['teachers']['teacher']['classes'] == ['red', 'green', 'blue']
  (batch,) = input_pipeline.sequential_batches(soft_labels.label_source(folder, manifest), 50)
  answers = np.asarray(batch['teacher/teacher'], np.float64)
  np.testing.assert_allclose(answers.sum(-1), 1, atol=2e-3)


def options():
  teacher = config.TeacherConfig('./teacher.keras', labels='labels.txt')
  learning = {'epochs': 4, 'batch_size': 16, 'optimizer': 'adam', 'learning_rate': 1e-2}
  return config.TrainingConfig(teachers=(teacher,), per_frame=True, **learning)


def state(folder):
  """dict of name to the bytes of the files in a folder, and when they were written."""
  paths = list(folder.rglob('*.tfrecord'))
  return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_run_goes_on_where_its_checkpoint_is(place):
  for path in (place / 'trained/checkpoints').glob('ckpt-2*'):  # as if it had been killed after two epochs
    path.unlink()
  (place / 'trained/checkpoints/checkpoint').write_text(
    'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n'
  )
  (place / 'trained/student.keras').unlink()
  shutil.rmtree(place / 'trained/export')
  before = state(place / 'recorded')
  trainer.train('recorded', 'trained', options(), resume=True, checkpoint_every=2)
  assert state(place / 'recorded') == before, 'the teacher was asked again'
  rows, kept = (
    [json.loads(line) for line in (folder / 'trained/metrics.jsonl').read_text().splitlines()]
    for folder in (place, ARTIFACTS)
  )
  assert [row['epoch'] for row in rows] == [0, 1, 2, 3]
  np.testing.assert_allclose([row['kl'] for row in rows], [row['kl'] for row in kept], rtol=1e-3)
  resumed, whole = (student_file.load(folder / 'trained/student.keras')[0] for folder in (place, ARTIFACTS))
  for a, b in zip(resumed.weights, whole.weights, strict=True):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4, err_msg=a.path)
  assert loader.load('trained').class_names == ['red', 'green', 'blue']


def test_a_finished_run_is_taken_as_it_is(place):
  trainer.train('recorded', 'trained', options(), resume=True, checkpoint_every=2)
  check(
    student_file.load('trained/student.keras')[0](waveform(EXPECTED['trained/student.keras']['samples'])[None]),
    EXPECTED['trained/student.keras']['outputs'],
  )


def test_files_of_inference_agree_with_inference_of_today(place, tmp_path):
  old, new = (place / folder for folder in ('heard', 'heard_now'))
  new.mkdir()
  predictor = predict.file_predictor(loader.load('trained'), ('json', 'csv', 'npz'))
  predict.predict_file(predictor, pathlib.Path('sound.wav'), new, 'trained')
  for suffix in ('json', 'npz'):
    read, expected = (readers.read_inference(folder / f'sound.wav.{suffix}') for folder in (new, old))
    assert read.class_names == expected.class_names == ['red', 'green', 'blue']
    np.testing.assert_allclose(read.probabilities, expected.probabilities, **TOLERANCE)
    np.testing.assert_array_equal(read.start_seconds, expected.start_seconds)
    np.testing.assert_array_equal(read.end_seconds, expected.end_seconds)
  heads = []
  for folder in (new, old):
    with open(folder / 'sound.wav.csv', newline='') as file:
      heads.append(next(csv.reader(file)))
  assert heads[0] == heads[1]


def test_events_are_read():
  (event,) = formats.read_events(ARTIFACTS / 'heard/sound.wav.events.json')
  assert (event.start_seconds, event.end_seconds, event.name) == (0, 1, 'green')


def test_features_are_read_and_are_done(place):
  model = layer_outputs.load('students/soundnet5.keras', ['conv4', 'embedding'])
  path, sound = place / 'features/sound.wav.npz', pathlib.Path('sound.wav')
  before = path.read_bytes()
  done = extraction.extract(model, [sound], place / 'features')
  assert (done['renewed'], path.read_bytes()) == ([], before)
  (place / 'again').mkdir()
  extraction.extract(model, [sound], place / 'again')
  about, old = files.read(path, ['conv4', 'embedding'])
  now, new = files.read(place / 'again/sound.wav.npz', ['conv4', 'embedding'])
  assert about == now
  for layer in old:
    for a, b in zip(new[layer], old[layer], strict=True):
      np.testing.assert_allclose(a, b, **TOLERANCE)


def test_figures_of_runs_and_evaluations_are_read():
  chosen, table = history.read_mean_kl(ARTIFACTS / 'trained')
  assert list(chosen) == [0, 1, 2, 3]
  assert set(table) == {'a.mkv', 'b.mkv'}
  assert all(values[-1] < 0.2 * values[0] for values in table.values())
  found = {
    **confusion.read_confusions(ARTIFACTS / 'evaluation.json'),
    **confusion.read_confusions(ARTIFACTS / 'probe.json'),
  }
  for counts, names in found.values():
    assert counts.sum() == 8
    assert {'red', 'green'} <= set(names)
  assert list(found) == ['clips', 'layers.embedding']


def test_reading_a_student_needs_no_other_import():
  """The layers of every network are registered by what reads the file."""
  code = 'import pathlib, sys; from audionet_tf.models import student_file; '
  code += '[student_file.load(pathlib.Path(path)) for path in sys.argv[1:]]'
  paths = sorted((ARTIFACTS / 'students').glob('*.keras'))
  assert paths
  done = subprocess.run([sys.executable, '-c', code, *paths], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-500:]
