"""Students side by side in one: the mean of their probabilities, in memory, in files, exports and commands."""

import dataclasses

import commands
import keras
import numpy as np
import pytest
import soundnets
from scipy import special

from audionet_tf import api
from audionet_tf.core.errors import UserError
from audionet_tf.layers.mean_step import MeanStep
from audionet_tf.models import joined, registry, student_file, student_names, student_paths, student_settings
from audionet_tf.saved_model import export, tflite, verify

NAMES = 'logmel_cnn_contrast', 'soundnet8_level'
HEADS = {'teacher': 7}
CLASSES = {'teacher': [f'class {number}' for number in range(7)]}
SETTINGS = student_settings.StudentConfig('audionet', 22050, 'mean', 2.0, CLASSES, {'teacher': {'teacher': 'vgg16'}})
SOFTMAX = {'teacher': 'softmax'}


def built(names=NAMES, heads=HEADS):
  """Students whose answers differ: the heads are drawn large."""
  keras.utils.set_random_seed(0)
  models = [registry.build(name, heads) for name in names]
  for seed, model in enumerate(models):
    for layer in model.layers:
      if layer.name.startswith(('dense_', 'conv8_')):
        layer.set_weights([np.random.default_rng(seed).normal(0, 2, w.shape) for w in layer.get_weights()])
  return models


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two small students on disk, `one.keras` and `other.keras`."""
  folder = tmp_path_factory.mktemp('students')
  for file, model in zip(('one', 'other'), built(['audionet'] * 2), strict=True):
    student_file.save(folder / f'{file}.keras', model, SETTINGS)
  return folder


def probabilities(model, sound):
  """Mean over the steps, in NumPy and float64: [B, classes]."""
  return special.softmax(np.float64(model(sound, training=False)['logits/teacher']), -1).mean(1)


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_one_step_has_the_mean_of_the_probabilities(activation):
  logits = np.random.default_rng(0).normal(0, 4, [3, 5, 6]).astype(np.float32)
  of_logits = {'softmax': lambda x: special.softmax(x, -1), 'sigmoid': special.expit}[activation]
  found = MeanStep(activation)(logits).numpy()
  assert found.shape == (3, 1, 6)
  np.testing.assert_allclose(of_logits(np.float64(found)), of_logits(np.float64(logits)).mean(1)[:, None], rtol=1e-5)


@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_logits_far_apart_stay_finite(activation):
  found = MeanStep(activation)(np.array([[[90.0, -90, 0], [-90, 90, 0]]], np.float32)).numpy()
  assert np.isfinite(found).all()
  np.testing.assert_allclose(found[0, 0, 0], found[0, 0, 1], atol=1e-4)


def test_the_prediction_is_the_mean_of_those_of_the_students():
  models, sound = built(), soundnets.noise(3, 30_000)
  outputs = joined.side_by_side(models, SOFTMAX)(sound, training=False)
  own = [probabilities(model, sound) for model in models]
  assert np.abs(own[0] - own[1]).max() > 0.1
  assert outputs['logits/teacher'].shape == (3, 1, 7)
  found = special.softmax(np.float64(outputs['logits/teacher']), -1)[:, 0]
  np.testing.assert_allclose(found, np.mean(own, 0), atol=1e-6)
  parts = [np.float64(model(sound, training=False)['embedding']) for model in models]
  expected = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], 1)
  np.testing.assert_allclose(outputs['embedding'], expected, atol=1e-6)


def test_a_student_of_many_steps_counts_no_more_than_the_others():
  models, sound = built(['audionet', 'soundnet8_steps', 'audionet']), soundnets.noise(2, 60_000)
  assert models[1](sound)['logits/teacher'].shape[1] > 2
  expected = np.mean([probabilities(model, sound) for model in models], 0)
  np.testing.assert_allclose(probabilities(joined.side_by_side(models, SOFTMAX), sound), expected, atol=1e-6)


def test_classes_that_do_not_exclude_each_other():
  heads = {'tags': 3, 'teacher': 2}
  models, sound = built(['audionet'] * 2, heads), soundnets.noise(2, 640)
  made = joined.side_by_side(models, {'tags': 'sigmoid', 'teacher': 'softmax'})
  for head, of_logits in (('tags', special.expit), ('teacher', lambda x: special.softmax(x, -1))):
    found, *own = (of_logits(np.float64(m(sound)[f'logits/{head}'])) for m in (made, *models))
    np.testing.assert_allclose(found, np.mean(own, 0), atol=1e-6)


def test_layers_keep_their_names_behind_the_number_of_the_student():
  models, sound = built(), soundnets.noise(1, 30_000)
  made = joined.side_by_side(models, SOFTMAX)
  found = registry.layer_model(made, '+'.join(NAMES), ['student1_conv3', 'student2_conv7'])(sound)
  for layer, model, own in (('student1_conv3', models[0], 'conv3'), ('student2_conv7', models[1], 'conv7')):
    inner = keras.Model(model.input, model.get_layer(own).output)
    np.testing.assert_allclose(found[layer], inner(sound), atol=1e-5)


def test_the_registry_knows_what_the_parts_need():
  name = '+'.join(NAMES)
  assert registry.shortest_samples(name) == max(registry.shortest_samples(each) for each in NAMES)
  network = registry.network(name)
  assert (network.sample_rate_hz, network.short_input) == (22050, 'repeat')
  assert registry.network('audionet+logmel_cnn').short_input == 'pad'
  with pytest.raises(UserError, match="'nonet' is not known; known are audionet"):
    registry.network('audionet+nonet')


def test_a_joined_student_is_not_trained():
  with pytest.raises(UserError, match="'audionet.audionet' is joined of several, which are trained one by one"):
    student_names.check('audionet+audionet')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'sample_rate_hz': 16000}, 'sample_rate_hz of audionet is 22050, of audionet 16000'),
    ({'window_seconds': 3.0}, 'window_seconds'),
    ({'mono': 'first'}, 'mono'),
    ({'classes': {'teacher': CLASSES['teacher'][::-1]}}, 'differ in heads, classes or loss'),
    ({'activations': {'teacher': 'sigmoid'}}, 'differ in heads, classes or loss'),
    ({'classes': {}}, 'no classes'),
    ({'embeddings': {'vectors': 3}}, 'no classes'),
    ({'student': 'audionet+audionet'}, 'is joined already'),
  ],
)
def test_students_that_do_not_go_together(changes, message):
  with pytest.raises(UserError, match=message):
    joined.check([SETTINGS, dataclasses.replace(SETTINGS, **changes)])


def test_settings_that_mean_the_same_go_together():
  joined.check([SETTINGS, dataclasses.replace(SETTINGS, activations=SOFTMAX, teachers={})])


def test_a_joined_student_is_like_a_run(folder, tmp_path):
  sound = soundnets.noise(1, 44_100)[0]
  assert api.join([folder / 'one.keras', folder / 'other.keras'], tmp_path / 'joined') == tmp_path / 'joined'
  students = [student_file.load(folder / f'{name}.keras')[0] for name in ('one', 'other')]
  expected = np.mean([probabilities(student, sound[None])[0] for student in students], 0)
  settings = student_settings.read_settings(tmp_path / 'joined/student.keras')
  assert settings == dataclasses.replace(SETTINGS, student='audionet+audionet')
  predictor = api.load(tmp_path / 'joined')
  found = predictor.predict(sound, sample_rate_hz=22050)
  np.testing.assert_allclose(found.probabilities, expected[None], atol=1e-5)
  values, _ = predictor.features(sound, layer='student2_conv', sample_rate_hz=22050)
  assert values.shape == (1, 16)


def test_joined_again_it_stays_or_becomes_the_next_version(folder, tmp_path):
  students = [folder / 'one.keras', folder / 'other.keras']
  api.join(students, tmp_path / 'joined')
  before = (tmp_path / 'joined/student.keras').read_bytes()
  with pytest.raises(UserError, match='holds a student already'):
    api.join(students, tmp_path / 'joined')
  api.join(students, tmp_path / 'joined', resume=True)
  assert (tmp_path / 'joined/student.keras').read_bytes() == before
  assert student_paths.versions(tmp_path / 'joined/export') == [1]
  api.join(students[::-1], tmp_path / 'joined', resume=True)
  assert student_paths.versions(tmp_path / 'joined/export') == [1, 2]
  graph = tmp_path / 'joined/export/2/saved_model.pb'
  graph.write_bytes(graph.read_bytes()[:-9])
  api.join(students[::-1], tmp_path / 'joined', resume=True)
  assert student_paths.versions(tmp_path / 'joined/export') == [1, 2, 3]


def test_tensorflow_lite_answers_as_keras_does(tmp_path):
  models = built(['audionet'] * 2, {'teacher': 7, 'tags': 3})
  settings = dataclasses.replace(SETTINGS, classes=CLASSES | {'tags': list('abc')}, activations={'tags': 'sigmoid'})
  model, settings = joined.join([(each, settings) for each in models])
  version = export.export(model, settings, tmp_path, tflite=True)
  sound = soundnets.noise(1, 44_100)
  expected = verify.expected_predictions(model, settings, sound)
  found = tflite.runner(version / tflite.ANY_LENGTH_FILE)(waveform=sound)
  assert len(expected.keys() & found.keys()) > 2
  for key in expected.keys() & found.keys():
    np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=1e-4, err_msg=key)


def test_the_command(folder, tmp_path):
  models = f'--model={folder}/one.keras', f'--model={folder}/other.keras'
  done = commands.run('audionet_tf.join', *models, f'--output={tmp_path}/both')
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'student: {tmp_path}/both/student.keras\nSavedModel: {tmp_path}/both/export/1\n'
  for words, message in (
    (models[:1], f'given is {folder}/one.keras; two or more students are needed'),
    ((*models, '--model=none.keras'), 'none.keras: no such student'),
    ((*models, '--output=hf://user/model'), 'publishes it'),
    ((*models, f'--output={tmp_path}/both'), 'holds a student already'),
  ):
    done = commands.run('audionet_tf.join', f'--output={tmp_path}/other', *words)
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and message in done.stderr, done.stderr
  assert not (tmp_path / 'other').exists()
