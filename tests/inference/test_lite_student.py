"""The starter in LiteRT predicts what it predicts in Keras, without TensorFlow."""

import dataclasses
import functools
import shutil
import subprocess
import sys
import types
from concurrent import futures

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.inference import lite_student, predict
from audionet_tf.models import registry, sound_needs, student_paths
from audionet_tf.saved_model import for_files

STARTER = student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE
RATE_HZ = 22_050
EVERY = ('json', 'csv', 'npz')
NOT_ROWS = {'sum', 'repeats', 'sound_seconds'}


def write_noise(path, seconds):
  """A WAV of noise that grows from silence, so that each window differs."""
  size = round(seconds * RATE_HZ)
  noise = np.random.default_rng(0).uniform(-1, 1, [1, size]) * np.linspace(0, 1, size) ** 3
  return media_clips.write(path, seconds, times=[], rate_hz=RATE_HZ, sounds=[noise.astype(np.float32)])


def predicted(predictor, sound):
  """dict of name to the rows of all blocks, which batches of other sizes divide in other places, and the `sum`."""
  blocks = list(predict.blocks(predictor, sound))
  rows = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0].keys() - NOT_ROWS}
  return rows | {'sum': sum(block['sum'] for block in blocks), 'repeats': [block['repeats'] for block in blocks][:1]}


@pytest.fixture(scope='module')
def students():
  """The starter in LiteRT, and in Keras."""
  return lite_student.find(STARTER), for_files.load(STARTER)


@pytest.mark.parametrize('head', [None, 'category', 'teacher'])
@pytest.mark.parametrize(
  ('seconds', 'options'),
  [
    (12.0, {}),  # two windows, and a last one that ends with the sound
    (2.0, {}),  # repeated
    (0.2, {}),  # shorter than the network takes
    (3.0, {'window_seconds': 1.0, 'hop_seconds': 0.5}),
    (0.5, {'window_seconds': 0.1}),  # windows that are repeated
    (3.0, {'window_seconds': 1.0, 'batch_size': 2, 'top': 5}),
  ],
)
def test_as_in_keras(students, tmp_path, head, seconds, options):
  head = list(students[0].settings.classes)[1] if head == 'teacher' else head
  sound = write_noise(tmp_path / 'noise.wav', seconds)
  found, true = (predicted(predict.file_predictor(student, EVERY, head=head, **options), sound) for student in students)
  assert found.keys() == true.keys()
  for name in ('start_seconds', 'end_seconds', 'repeats'):
    np.testing.assert_array_equal(found[name], true[name])
  # Weights in float16 have 11 bits: an embedding of about 10 is off by some thousandths.
  np.testing.assert_allclose(found['embedding'], true['embedding'], atol=2e-2)
  np.testing.assert_allclose(found['probabilities'], true['probabilities'], atol=2e-3)
  np.testing.assert_allclose(found['sum'], found['probabilities'].sum(0), rtol=1e-5)
  values = np.take_along_axis(found['probabilities'], found['top'], 1)
  np.testing.assert_array_equal(found['top_probabilities'], values)
  np.testing.assert_array_equal(values, -np.sort(-found['probabilities'], 1)[:, : values.shape[1]])


def test_equal_probabilities_are_in_the_order_of_their_classes():
  settings = types.SimpleNamespace(classes={'first': list('abcd'), 'second': list('xyz')})
  outputs = {'probabilities': np.float32([[0.2, 0.3, 0.2, 0.3]]), 'second/probabilities': np.float32([[0.5, 0, 0.5]])}
  student = lite_student.LiteStudent(settings, None, lambda waveform: dict(outputs))
  for head, order in (('first', [1, 3, 0]), ('second', [0, 2, 1])):
    block = lite_student.window_function(student, {'top', 'sum'}, 3, 1, head)(np.zeros([1, 8], np.int16), 1)
    assert block.keys() == {'top', 'sum'} and block['top'].tolist() == [order] and block['top'].dtype == np.int32


def test_more_classes_than_there_are(students, tmp_path):
  sound = write_noise(tmp_path / 'noise.wav', 5.0)
  (block,) = predict.blocks(predict.file_predictor(students[0], EVERY, top=99), sound)
  assert sorted(block['top'][0]) == list(range(11))


def test_windows_that_do_not_count_are_left_out(students):
  predictor = predict.file_predictor(students[0], ('json',), window_seconds=1.0)
  pcm = np.random.default_rng(0).integers(-9000, 9000, [3, RATE_HZ], np.int16)
  two, three = (predictor.predict(pcm, count) for count in (2, 3))
  np.testing.assert_allclose(two['probabilities'], three['probabilities'][:2], atol=1e-6)
  np.testing.assert_allclose(two['sum'], two['probabilities'].sum(0), rtol=1e-6)


def test_threads_share_a_predictor(students):
  """Two threads, with batches of two sizes: an interpreter has one set of tensors."""
  predictor = predict.file_predictor(students[0], ('json',), window_seconds=1.0)
  pcm = np.random.default_rng(0).integers(-9000, 9000, [3, RATE_HZ], np.int16)
  expected = {count: predictor.predict(pcm, count)['probabilities'] for count in (1, 3)}
  with futures.ThreadPoolExecutor(2) as pool:
    counts = [1, 3] * 8
    for count, block in zip(counts, pool.map(functools.partial(predictor.predict, pcm), counts), strict=True):
      np.testing.assert_allclose(block['probabilities'], expected[count], atol=1e-5)


def test_outputs_that_are_not_finite_are_refused(students, tmp_path):
  broken = dataclasses.replace(students[0], run=lambda waveform: {'probabilities': np.full([1, 11], np.nan)})
  with pytest.raises(UserError, match='not finite'):
    list(predict.blocks(predict.file_predictor(broken, ('json',)), write_noise(tmp_path / 'noise.wav', 5.0)))


def test_other_students_are_left_to_tensorflow(tmp_path, monkeypatch):
  """A stranger's .tflite file is not opened, nor that of a starter whose needs are not known."""
  for path in student_paths.STARTER_FOLDER.iterdir():
    shutil.copy(path, tmp_path)
  assert lite_student.find(tmp_path / 'student.keras') is None
  assert lite_student.find(student_paths.STARTER_FOLDER) is None
  monkeypatch.setattr(sound_needs, 'STUDENTS', {})
  assert lite_student.find(STARTER) is None


@pytest.mark.parametrize('name', sound_needs.STUDENTS)
def test_needs_are_those_of_the_registry(name):
  needs, network = sound_needs.STUDENTS[name], registry.network(name)
  assert dataclasses.asdict(needs) == {key: getattr(network, key) for key in dataclasses.asdict(needs)}
  assert needs.layer_windows == {}


@pytest.mark.parametrize(
  ('command', 'words', 'expected'),
  [
    ('infer', [], 'file       seconds  class'),
    ('infer', ['--head=teacher'], 'file       seconds  class'),
    ('caption', ['--threshold=0.01'], ' events in 6.0 s'),
    ('caption', ['--blocks=2,1,4'], ' events in '),
    ('stream', [], '      0.00       5.00  '),
  ],
)
def test_commands_with_the_starter_need_no_tensorflow(tmp_path, command, words, expected):
  """Nor Keras: an import of either fails here."""
  sound = write_noise(tmp_path / 'noise.wav', 6.0)
  code = (
    'import sys; sys.modules["tensorflow"] = sys.modules["keras"] = None\n'
    f'sys.argv[0] = {command!r}\n'
    f'from audionet_tf import {command}; {command}.run()'
  )
  words = [*words, *([] if command == 'stream' else [str(sound), f'--output={tmp_path}/out'])]
  done = subprocess.run([sys.executable, '-c', code, *words], input=sound.read_bytes(), capture_output=True)
  assert done.returncode == 0, done.stderr
  (line,) = done.stderr.decode().splitlines()
  assert line.startswith('using the starter')
  assert expected in done.stdout.decode()
