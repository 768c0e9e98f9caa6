"""The starter in LiteRT predicts what it predicts in Keras, without TensorFlow."""

import shutil
import subprocess
import sys

import media_clips
import numpy as np
import pytest

from audionet_tf.inference import lite_student, predict
from audionet_tf.models import student_paths
from audionet_tf.saved_model import for_files

STARTER = student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE
RATE_HZ = 22_050
EVERY = ('json', 'csv', 'npz')


def write_noise(path, seconds):
  """A WAV of noise that grows from silence, so that each window differs."""
  size = round(seconds * RATE_HZ)
  noise = np.random.default_rng(0).uniform(-1, 1, [1, size]) * np.linspace(0, 1, size) ** 3
  return media_clips.write(path, seconds, times=[], rate_hz=RATE_HZ, sounds=[noise.astype(np.float32)])


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
  found, expected = (
    list(predict.blocks(predict.file_predictor(student, EVERY, head=head, **options), sound)) for student in students
  )
  assert len(found) == len(expected)
  for block, true in zip(found, expected, strict=True):
    assert block.keys() == true.keys()
    for name in ('start_seconds', 'end_seconds', 'repeats', 'sound_seconds'):
      np.testing.assert_array_equal(block[name], true[name])
    # Weights in float16 have 11 bits: an embedding of about 10 is off by some thousandths.
    np.testing.assert_allclose(block['embedding'], true['embedding'], atol=2e-2)
    np.testing.assert_allclose(block['probabilities'], true['probabilities'], atol=2e-3)
    np.testing.assert_allclose(block['sum'], block['probabilities'].astype(np.float64).sum(0), rtol=1e-5)
    values = np.take_along_axis(block['probabilities'], block['top'], 1)
    np.testing.assert_array_equal(block['top_probabilities'], values)
    np.testing.assert_array_equal(values, -np.sort(-block['probabilities'], 1)[:, : values.shape[1]])


def test_equal_probabilities_are_in_the_order_of_their_classes():
  settings = type('Settings', (), {'classes': {'first': list('abcd'), 'second': list('xyz')}})
  outputs = {'probabilities': np.float32([[0.2, 0.3, 0.2, 0.3]]), 'second/probabilities': np.float32([[0.5, 0, 0.5]])}
  student = lite_student.LiteStudent(settings, list('abcd'), None, lambda waveform: dict(outputs), None)
  for head, order in (('first', [1, 3, 0]), ('second', [0, 2, 1])):
    block = lite_student.window_function(student, {'top', 'sum'}, 3, 1, head)(np.zeros([1, 8], np.int16), 1)
    assert block.keys() == {'top', 'sum'} and block['top'].tolist() == [order] and block['top'].dtype == np.int32


def test_windows_that_do_not_count_are_not_in_the_sum(students):
  predictor = predict.file_predictor(students[0], ('json',), window_seconds=1.0)
  pcm = np.random.default_rng(0).integers(-9000, 9000, [3, RATE_HZ], np.int16)
  block = predictor.predict(pcm, 2)
  np.testing.assert_allclose(block['sum'], block['probabilities'][:2].sum(0), rtol=1e-6)


def test_other_students_are_left_to_tensorflow(tmp_path):
  """A stranger's .tflite file is not opened: LiteRT trusts what it reads."""
  for path in student_paths.STARTER_FOLDER.iterdir():
    shutil.copy(path, tmp_path)
  assert lite_student.find(tmp_path / 'student.keras') is None
  assert lite_student.find(student_paths.STARTER_FOLDER) is None


@pytest.mark.parametrize('command', ['infer', 'caption', 'stream'])
def test_commands_with_the_starter_need_no_tensorflow(tmp_path, command):
  """Nor Keras: an import of either fails here."""
  sound = write_noise(tmp_path / 'noise.wav', 6.0)
  code = (
    'import sys; sys.modules["tensorflow"] = sys.modules["keras"] = None\n'
    f'sys.argv[0] = {command!r}\n'
    f'from audionet_tf import {command}; {command}.run()'
  )
  words = [] if command == 'stream' else [str(sound), f'--output={tmp_path}/out']
  done = subprocess.run([sys.executable, '-c', code, *words], input=sound.read_bytes(), capture_output=True)
  assert done.returncode == 0, done.stderr
  (line,) = done.stderr.decode().splitlines()
  assert line.startswith('using the starter')
  assert any(name in done.stdout.decode() for name in ('rain', 'sea_waves', 'unknown', 'events'))
