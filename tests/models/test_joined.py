"""Students side by side in one: the mean of their probabilities, in memory, in files, exports and commands."""

import dataclasses
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundnets
from scipy import special

from audionet_tf import api
from audionet_tf.core.errors import UserError
from audionet_tf.layers.mean_step import MeanStep
from audionet_tf.models import joined, registry, student_file, student_paths

NAMES = 'logmel_cnn_contrast', 'soundnet8_level'
HEADS = {'teacher': 7}
CLASSES = {'teacher': [f'class {number}' for number in range(7)]}
SETTINGS = student_file.StudentConfig('audionet', 22050, 'mean', 2.0, CLASSES)


def built(seed=0):
  """Two students with weights that make their answers differ."""
  keras.utils.set_random_seed(seed)
  models = [registry.build(name, HEADS) for name in NAMES]
  for model in models:
    for layer in model.layers:
      if layer.name.startswith(('dense_', 'conv8_')):
        layer.set_weights([np.random.default_rng(seed).normal(0, 1, w.shape) for w in layer.get_weights()])
  return models


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two students on disk, `log_mel.keras` and `waveform.keras`."""
  folder = tmp_path_factory.mktemp('students')
  for file, name, model in zip(('log_mel', 'waveform'), NAMES, built(), strict=True):
    student_file.save(folder / f'{file}.keras', model, dataclasses.replace(SETTINGS, student=name))
  return folder


def probabilities(model, sound):
  """Mean over the steps, in NumPy and float64: [B, classes]."""
  return special.softmax(np.float64(model(sound, training=False)['logits/teacher']), -1).mean(1)


@pytest.mark.parametrize(('activation', 'of_logits'), [('softmax', special.softmax), ('sigmoid', special.expit)])
def test_one_step_has_the_mean_of_the_probabilities(activation, of_logits):
  logits = np.random.default_rng(0).normal(0, 4, [3, 5, 6]).astype(np.float32)
  axis = {'axis': -1} if activation == 'softmax' else {}
  expected = of_logits(np.float64(logits), **axis).mean(1, keepdims=True)
  found = MeanStep(activation)(logits).numpy()
  assert found.shape == (3, 1, 6)
  np.testing.assert_allclose(of_logits(np.float64(found), **axis), expected, rtol=1e-5)


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_logits_far_apart_stay_finite(activation):
  logits = np.array([[[90.0, -90, 0], [-90, 90, 0]]], np.float32)
  found = MeanStep(activation)(logits).numpy()
  assert np.isfinite(found).all()
  np.testing.assert_allclose(found[0, 0, 0], found[0, 0, 1], atol=1e-4)


def test_the_prediction_is_the_mean_of_those_of_the_students():
  models, sound = built(), soundnets.noise(3, 30_000)
  made = joined.side_by_side(models)
  own = [probabilities(model, sound) for model in models]
  assert np.abs(own[0] - own[1]).max() > 0.1
  np.testing.assert_allclose(probabilities(made, sound), np.mean(own, 0), atol=1e-6)
  outputs = made(sound, training=False)
  steps = special.softmax(np.float64(outputs['logits/teacher']), -1)
  np.testing.assert_allclose(steps, np.stack(own, 1), atol=1e-6)  # a step for each student
  parts = [np.float64(model(sound, training=False)['embedding']) for model in models]
  expected = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1)
  np.testing.assert_allclose(outputs['embedding'], expected, atol=1e-6)


def test_a_student_that_ends_in_many_steps_counts_no_more_than_the_other():
  keras.utils.set_random_seed(0)
  models, sound = [registry.build(name, HEADS) for name in ('audionet', 'soundnet8_steps')], soundnets.noise(2, 60_000)
  assert models[1](sound)['logits/teacher'].shape[1] > 2
  expected = np.mean([probabilities(model, sound) for model in models], 0)
  np.testing.assert_allclose(probabilities(joined.side_by_side(models), sound), expected, atol=1e-6)


def test_layers_keep_their_names_behind_the_number_of_the_student():
  models, sound = built(), soundnets.noise(1, 30_000)
  made = joined.side_by_side(models)
  name = '+'.join(NAMES)
  found = registry.layer_model(made, name, ['student1_conv3', 'student2_conv7'])(sound)
  for layer, model, own in (('student1_conv3', models[0], 'conv3'), ('student2_conv7', models[1], 'conv7')):
    inner = keras.Model(model.input, model.get_layer(own).output)
    np.testing.assert_allclose(found[layer], inner(sound), atol=1e-5)


def test_the_registry_knows_what_the_parts_need():
  name = '+'.join(NAMES)
  shortest = [registry.shortest_samples(each) for each in NAMES]
  assert registry.shortest_samples(name) == max(shortest)
  network = registry.network(name)
  assert (network.sample_rate_hz, network.short_input) == (22050, 'repeat')
  assert registry.network('audionet+audionet').short_input == 'pad'
  assert registry.build(name, HEADS).output['logits/teacher'].shape[1:] == (2, 7)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('audionet+nonet', "'audionet.nonet' is not known; known are audionet.*, and several side by side"),
    ('audionet+', 'is not known'),
    ('audionet+autoencoder', 'is not known'),
    ('yamnet+logmel_cnn', 'made for 16000 and 22050 Hz'),
  ],
)
def test_what_cannot_stand_side_by_side(name, message):
  with pytest.raises(UserError, match=message):
    registry.network(name)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'sample_rate_hz': 16000}, 'sample_rate_hz of audionet is 22050, of audionet 16000'),
    ({'window_seconds': 3.0}, 'window_seconds'),
    ({'mono': 'first'}, 'mono'),
    ({'classes': {'teacher': CLASSES['teacher'][::-1]}}, 'other classes'),
    ({'activations': {'teacher': 'sigmoid'}}, 'other activations'),
    ({'classes': {}}, 'no classes'),
    ({'embeddings': {'vectors': 3}}, 'no classes'),
  ],
)
def test_students_that_do_not_go_together(changes, message):
  with pytest.raises(UserError, match=message):
    joined.check([SETTINGS, dataclasses.replace(SETTINGS, **changes)])


def test_a_joined_student_is_like_a_run(folder, tmp_path):
  sound = soundnets.noise(1, 44_100)[0]
  assert api.join([folder / 'log_mel.keras', folder / 'waveform.keras'], tmp_path / 'joined') == tmp_path / 'joined'
  students = [student_file.load(folder / f'{name}.keras')[0] for name in ('log_mel', 'waveform')]
  expected = np.mean([probabilities(student, sound[None])[0] for student in students], 0)
  model, settings = student_file.load(tmp_path / 'joined/student.keras')
  assert settings.student == '+'.join(NAMES) and settings.classes == CLASSES
  np.testing.assert_allclose(probabilities(model, sound[None])[0], expected, atol=1e-6)
  found = api.load(tmp_path / 'joined').predict(sound, sample_rate_hz=22050)
  np.testing.assert_allclose(found.probabilities.mean(0), expected, atol=1e-5)


def test_joined_again_it_stays_or_becomes_the_next_version(folder, tmp_path):
  students = [folder / 'log_mel.keras', folder / 'waveform.keras']
  api.join(students, tmp_path / 'joined')
  before = (tmp_path / 'joined/student.keras').read_bytes()
  with pytest.raises(UserError, match='holds a student already'):
    api.join(students, tmp_path / 'joined')
  api.join(students, tmp_path / 'joined', resume=True)
  assert (tmp_path / 'joined/student.keras').read_bytes() == before
  assert student_paths.versions(tmp_path / 'joined/export') == [1]
  api.join(students[::-1], tmp_path / 'joined', resume=True)
  assert student_file.load(tmp_path / 'joined/student.keras')[1].student == '+'.join(NAMES[::-1])
  assert student_paths.versions(tmp_path / 'joined/export') == [1, 2]


def test_the_command(folder, tmp_path):
  def run(*words):
    return subprocess.run(
      [sys.executable, '-m', 'audionet_tf.join', *words], cwd=folder, capture_output=True, text=True
    )

  models = '--model=log_mel.keras', '--model=waveform.keras'
  done = run(*models, f'--output={tmp_path}/both')
  assert done.returncode == 0, done.stderr
  student, saved_model = done.stdout.splitlines()
  assert student.startswith(f'student: {tmp_path}/both/student.keras, logmel_cnn_contrast+soundnet8_level, 3,')
  assert saved_model == f'SavedModel: {tmp_path}/both/export/1'
  for words, message in (
    (models[:1], 'give two or more students'),
    ((*models, '--model=none.keras'), 'none.keras: no such student'),
    ((*models, '--output=hf://user/model'), 'Hub'),
  ):
    done = run(f'--output={tmp_path}/other', *words)
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and message in done.stderr, done.stderr
  assert not pathlib.Path(f'{tmp_path}/other').exists()
