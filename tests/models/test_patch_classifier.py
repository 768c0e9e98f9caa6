"""Students on patches of a log-mel spectrogram: what they weigh, what their steps hear, how they are saved."""

import collections
import functools
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys
from audionet_tf.layers import log_mel, whitened_pca
from audionet_tf.models import alignment, cnn_architectures, patch_classifier, registry, student_file, vggish, yamnet
from audionet_tf.saved_model import export, loader
from audionet_tf.training import spec_augment

CLASSES = 3087  # of Hershey et al.
SECOND = 16000
TINY_YAMNET = ((2, 6), (1, 8))
TINY_VGGISH = {'convolutions': (('conv1', 3), ('pool1', None), ('conv2', 4), ('pool2', None))}
TINY_VGGISH |= {'dense': (('fc1_1', 6), ('fc2', 5))}


@functools.cache
def symbolic(name, classes=CLASSES):
  """The student without numbers in its variables: only shapes are wanted."""
  with keras.StatelessScope(initialize_variables=False):
    model = registry.build(name, {} if registry.network(name).reconstructs else {'a': classes})
  keras.utils.clear_session(free_memory=False)  # else Keras fills them when the next scope ends
  return model


def noise(*shape):
  return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def restless(model):
  """The model with numbers everywhere, so that no two patches give the same."""
  rng = np.random.default_rng(1)
  values = [rng.uniform(0.1, 1, w.shape) for w in model.weights]
  model.set_weights([x * rng.choice([-1, 1], x.shape) if x.ndim > 1 else x for x in values])
  return model


@functools.cache
def tiny_yamnet():
  return restless(yamnet.yamnet({'a': 3, 'b': 2}, TINY_YAMNET, 4))


def kernels(layers):
  return [tuple(v.shape) for layer in layers for v in layer.weights if v.path.endswith('kernel')]


def multiplies(model):
  """Of a patch: a convolution's kernel once for every place of its output, a dense layer's once."""
  total = 0
  for layer in model.layers:
    for shape in kernels([layer]):
      places = layer.output.shape[1:3] if len(shape) == 4 else [1]
      total += int(np.prod(shape)) * int(np.prod(places))
  return total


def weights(model):
  """As the paper counts them: kernels alone."""
  return sum(int(np.prod(shape)) for shape in kernels(model.layers))


@pytest.mark.parametrize(
  ('name', 'classes', 'expected_weights', 'expected_multiplies'),
  [
    ('fc', CLASSES, 6144 * 1000 + 2 * 1000**2 + 1000 * CLASSES, 11_231_000),
    ('alexnet', CLASSES, 37_338_464, 767_639_744),
    ('vgg19', CLASSES, 62_022_208, 2_423_713_792),
    ('resnet50', CLASSES, 29_770_816, 1_856_403_456),
    ('yamnet', 521, 3_718_016, 69_165_056),
  ],
)
def test_weights_and_multiplies_are_the_published(name, classes, expected_weights, expected_multiplies):
  model = symbolic(name, classes)
  assert (weights(model), multiplies(model)) == (expected_weights, expected_multiplies)


def test_parameters_of_vggish():
  head = 128 * CLASSES + CLASSES
  assert symbolic('vggish').count_params() - head == 72_141_184
  assert symbolic('vggish_relu').count_params() - head == 72_141_184
  assert symbolic('vggish_pca').count_params() - head == 72_141_184 + 128 * 129


def test_inception_has_the_papers_size_and_last_map():
  model = symbolic('inception_v3')
  assert round(weights(model) / 1e6) == 28
  assert round(multiplies(model) / 1e7) == 544  # the paper's 4.7 G: see the module
  assert model.get_layer('pool').input.shape == (None, 10, 6, 2048)


@pytest.mark.parametrize(
  ('name', 'build', 'stem'),
  [
    ('resnet50', keras.applications.ResNet50, {(7, 7, 3, 64): (7, 7, 1, 64)}),
    (
      'inception_v3',
      keras.applications.InceptionV3,
      {(3, 3, 3, 32): None, (3, 3, 32, 32): None, (3, 3, 32, 64): None, (1, 1, 64, 80): (1, 1, 1, 80)},
    ),
  ],
)
def test_convolutions_are_those_of_keras_networks(name, build, stem):
  with keras.StatelessScope(initialize_variables=False):
    theirs = build(include_top=False, weights=None)
  keras.utils.clear_session(free_memory=False)
  known = [stem.get(shape, shape) for shape in kernels(theirs.layers)]
  ours = [shape for shape in kernels(symbolic(name).layers) if len(shape) == 4]
  assert collections.Counter(ours) == collections.Counter(shape for shape in known if shape)


def test_bottleneck_is_the_embedding():
  assert symbolic('resnet50_128').output['embedding'].shape == (None, 128)
  assert symbolic('resnet50').output['embedding'].shape == (None, 2048)


@pytest.mark.parametrize('name', [name for name in registry.STUDENTS if name == 'fc_128' or '_128' not in name])
def test_students_carry_the_name_that_their_steps_are_looked_up_by(name):
  model = symbolic(name)
  assert model.name == name
  assert set(list(registry.network(name).layers)[:-1]) <= {layer.name for layer in model.layers}


def test_norms_of_yamnet_have_no_scale_and_its_epsilon():
  norms = [layer for layer in symbolic('yamnet', 521).layers if isinstance(layer, keras.layers.BatchNormalization)]
  assert len(norms) == 27
  assert {(norm.scale, norm.center, norm.epsilon) for norm in norms} == {(False, True, 1e-4)}


@pytest.mark.parametrize(
  ('name', 'samples', 'steps'),
  [
    ('vggish', 15_600, 1),
    ('vggish', 10 * SECOND, 10),
    ('vggish', 30_959, 1),
    ('vggish', 30_960, 2),
    ('yamnet', 15_600, 1),
    ('yamnet', 15_600 + 7680, 2),
    ('yamnet', 10 * SECOND, 19),
  ],
)
def test_times_of_patches(name, samples, steps):
  centers, hop = registry.step_seconds(name, samples, SECOND)
  assert hop == {'vggish': 0.96, 'yamnet': 0.48}[name]
  np.testing.assert_allclose(centers, 0.4875 + hop * np.arange(steps), atol=1e-4)
  frames, _ = registry.step_seconds(name, samples, SECOND, 'log_mel')
  np.testing.assert_allclose(frames[:2], [0.0125, 0.0225], atol=1e-4)


def test_a_step_hears_its_patch_and_nothing_else():
  sound = noise(2, 15_600 + 3 * 7680 + 500)
  found = tiny_yamnet()(sound)
  assert found['logits/a'].shape == (2, 4, 3)
  for step in range(4):
    alone = tiny_yamnet()(sound[:, step * 7680 : step * 7680 + 15_600])
    for head in ('a', 'b'):
      np.testing.assert_allclose(found[f'logits/{head}'][:, step], alone[f'logits/{head}'][:, 0], rtol=1e-4, atol=1e-4)
  layers = registry.layer_model(tiny_yamnet(), 'yamnet', ['patch_embedding', 'logits'])(sound)
  np.testing.assert_allclose(found['embedding'], layers['patch_embedding'].numpy().mean(1), rtol=1e-5)
  np.testing.assert_array_equal(layers['logits'], np.concatenate([found['logits/a'], found['logits/b']], 2))
  assert np.ptp(found['logits/a'].numpy(), axis=1).min() > 1e-3  # else no step would be told from another


def test_sound_too_short_is_said():
  assert registry.shortest_samples('yamnet') == registry.shortest_samples('vggish') == 15_600
  with pytest.raises(ValueError, match='at least 15600 samples'):
    tiny_yamnet()(noise(1, 15_599))


def test_sound_of_another_rate_is_refused():
  params = types.SimpleNamespace(sample_rate_hz=22050)
  with pytest.raises(UserError, match=r'vggish hears 16000 Hz, the records hold 22050 Hz; .*--sample_rate=16000'):
    alignment.for_student('vggish', params)


def test_embedding_of_vggish_before_and_behind_its_activation():
  before = restless(vggish.vggish({'a': 3}, **TINY_VGGISH))
  behind = vggish.vggish({'a': 3}, activated=True, **TINY_VGGISH)
  behind.set_weights(before.get_weights())
  sound = noise(2, 2 * SECOND)
  steps = {k: registry.layer_model(m, 'vggish', ['patch_embedding'])(sound) for k, m in (('b', before), ('a', behind))}
  embedding = steps['b']['patch_embedding'].numpy()
  assert (embedding < 0).any()
  np.testing.assert_allclose(steps['a']['patch_embedding'], np.maximum(embedding, 0))
  np.testing.assert_allclose(before(sound)['logits/a'], behind(sound)['logits/a'])
  dense = before.get_layer('logits_a')
  np.testing.assert_allclose(
    before(sound)['logits/a'], np.maximum(embedding, 0) @ dense.kernel.numpy() + dense.bias.numpy(), rtol=1e-4
  )


def test_a_stretch_can_be_hidden_in_training():
  sound = noise(2, 2 * SECOND)
  heard = spec_augment.hiding(tiny_yamnet())
  nothing = heard(sound, {})
  hidden = heard(sound, {batch_keys.HIDDEN_TIME: tf.constant([[0.9, 1.0], [0, 0]])})
  assert nothing['logits/a'].shape == hidden['logits/a'].shape == (2, 3, 3)
  assert np.abs(nothing['logits/a'] - hidden['logits/a'])[0].max() > 1e-3


def test_exported_with_its_layers_and_as_tflite(tmp_path):
  body = lambda x: keras.layers.Dense(4, 'relu')(keras.layers.Flatten()(x))  # noqa: E731
  model = patch_classifier.student({'a': 3, 'b': 2}, 'yamnet', 'yamnet', body)
  settings = student_file.StudentConfig('yamnet', SECOND, 'mean', 1.0, {'a': ['x', 'y', 'z'], 'b': ['v', 'w']})
  folder = export.export(model, settings, tmp_path, tflite=True)  # which compares all of it with the model
  assert (folder / 'model.tflite').is_file()
  layers = loader.load(folder).signatures['layers']
  sound = noise(1, 3 * SECOND)
  expected = log_mel.LogMel(**log_mel.PRESETS['yamnet'])(sound)
  np.testing.assert_allclose(layers(waveform=sound)['log_mel'], expected, atol=1e-5)
  short = layers(waveform=noise(1, 500))
  assert short['log_mel'].shape == (1, 1, 64)
  assert short['patch_embedding'].shape == (1, 0, 4)


def test_files_of_students_are_read_again(tmp_path):
  settings = student_file.StudentConfig('vggish_pca', SECOND, 'mean', 1.0, {'a': ['x', 'y', 'z']})
  model = restless(vggish.vggish({'a': 3}, quantised=True, **TINY_VGGISH))
  student_file.save(tmp_path / 'student.keras', model, settings)
  again, _ = student_file.load(tmp_path / 'student.keras')
  for name, values in model(noise(1, 2 * SECOND)).items():
    np.testing.assert_array_equal(again(noise(1, 2 * SECOND))[name], values)


def test_pca_is_the_formula():
  rng = np.random.default_rng(2)
  layer = whitened_pca.WhitenedPCA()
  x = rng.normal(size=[1, 50, 6]).astype(np.float32)
  layer.build(x.shape)
  eigen, means = rng.normal(size=[6, 6]), rng.normal(size=6)
  layer.set_weights([eigen, means])
  clipped = np.clip((eigen @ (x[0] - means).T).T, -2, 2)
  expected = ((clipped + 2) * 255 / 4).astype(np.uint8)
  assert {0, 255} < set(expected.ravel())
  assert np.abs(layer(x)[0].numpy() - expected).max() <= 1  # float32 beside float64, where a whole number is near
  assert (layer(x)[0].numpy() == expected).mean() > 0.99
  assert not layer.trainable_variables


def test_bodies_of_hershey_give_what_the_table_says():
  assert symbolic('alexnet').get_layer('pool2').output.shape == (None, 10, 12, 256)
  assert symbolic('alexnet').get_layer('flatten').output.shape == (None, 1024)
  assert symbolic('vgg19').get_layer('pool5').output.shape == (None, 3, 2, 512)
  assert symbolic('resnet50').get_layer('pool').input.shape == (None, 6, 4, 2048)
  assert symbolic('yamnet', 521).get_layer('pool').input.shape == (None, 3, 2, 1024)
  assert cnn_architectures.PRESET == 'vggish'
