"""Students on patches of a log-mel spectrogram: parameters, receptive fields, saving and export."""

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
from audionet_tf.models import alignment, registry, student_file, student_settings
from audionet_tf.models.networks import cnn_architectures, patch_classifier, vggish, yamnet
from audionet_tf.saved_model import export, loader
from audionet_tf.training.steps import spec_augment

CLASSES = 3087  # of Hershey et al.
SECOND = 16000
TINY_YAMNET = ((2, 6), (1, 8))
TINY_VGGISH = {'convolutions': (('conv1', 3), ('pool1', None), ('conv2', 4), ('pool2', None))}
TINY_VGGISH |= {'dense': (('fc1_1', 6), ('fc2', 5))}


@functools.cache
def symbolic(name, classes=CLASSES):
  """The student with shapes only: its variables have no values."""
  with keras.StatelessScope(initialize_variables=False):
    model = registry.build(name, {} if registry.network(name).is_autoencoder else {'a': classes})
  keras.utils.clear_session(free_memory=False)  # else Keras initialises them when the next scope ends
  return model


def noise(*shape):
  return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def randomised(model):
  """The model with random weights everywhere, so that no two patches give equal outputs."""
  rng = np.random.default_rng(1)
  values = [rng.uniform(0.1, 1, w.shape) for w in model.weights]
  model.set_weights([x * rng.choice([-1, 1], x.shape) if x.ndim > 1 else x for x in values])
  return model


@functools.cache
def tiny_yamnet():
  return randomised(yamnet.yamnet({'a': 3, 'b': 2}, TINY_YAMNET, 4))


def kernels(layers):
  return [tuple(v.shape) for layer in layers for v in layer.weights if v.path.endswith('kernel')]


def multiplies(model):
  """Multiplies per patch: the size of a convolution's kernel per position of its output, that of a dense layer once."""
  total = 0
  for layer in model.layers:
    for shape in kernels([layer]):
      places = layer.output.shape[1:3] if len(shape) == 4 else [1]
      total += int(np.prod(shape)) * int(np.prod(places))
  return total


def weights(model):
  """Number of weights as the paper counts them: kernels only."""
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
def test_weights_and_multiplies_are_as_published(name, classes, expected_weights, expected_multiplies):
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
def test_convolutions_equal_those_of_keras_applications(name, build, stem):
  with keras.StatelessScope(initialize_variables=False):
    network = build(include_top=False, weights=None)
  keras.utils.clear_session(free_memory=False)
  expected = [stem.get(shape, shape) for shape in kernels(network.layers)]
  shapes = [shape for shape in kernels(symbolic(name).layers) if len(shape) == 4]
  assert collections.Counter(shapes) == collections.Counter(shape for shape in expected if shape)


def test_bottleneck_is_the_embedding():
  assert symbolic('resnet50_128').output['embedding'].shape == (None, 128)
  assert symbolic('resnet50').output['embedding'].shape == (None, 2048)


@pytest.mark.parametrize('name', [name for name in registry.STUDENTS if name == 'fc_128' or '_128' not in name])
def test_models_have_their_registry_name_and_layers(name):
  model = symbolic(name)
  assert model.name == name
  assert set(list(registry.network(name).layer_windows)[:-1]) <= {layer.name for layer in model.layers}


def test_batch_norms_of_yamnet_have_no_scale_and_its_epsilon():
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


def test_step_depends_on_its_patch_only():
  sound = noise(2, 15_600 + 3 * 7680 + 500)
  outputs = tiny_yamnet()(sound)
  assert outputs['logits/a'].shape == (2, 4, 3)
  for step in range(4):
    alone = tiny_yamnet()(sound[:, step * 7680 : step * 7680 + 15_600])
    for head in ('a', 'b'):
      np.testing.assert_allclose(
        outputs[f'logits/{head}'][:, step], alone[f'logits/{head}'][:, 0], rtol=1e-4, atol=1e-4
      )
  layers = registry.layer_model(tiny_yamnet(), 'yamnet', ['patch_embedding', 'logits'])(sound)
  np.testing.assert_allclose(outputs['embedding'], layers['patch_embedding'].numpy().mean(1), rtol=1e-5)
  np.testing.assert_array_equal(layers['logits'], np.concatenate([outputs['logits/a'], outputs['logits/b']], 2))
  assert np.ptp(outputs['logits/a'].numpy(), axis=1).min() > 1e-3  # else steps could not be distinguished


def test_error_for_short_sound_gives_the_minimum():
  assert registry.shortest_samples('yamnet') == registry.shortest_samples('vggish') == 15_600
  with pytest.raises(ValueError, match='at least 15600 samples'):
    tiny_yamnet()(noise(1, 15_599))


def test_sound_of_another_rate_is_refused():
  params = types.SimpleNamespace(sample_rate_hz=22050)
  with pytest.raises(UserError, match=r'vggish needs 16000 Hz, the records hold 22050 Hz; .*--sample_rate=16000'):
    alignment.for_student('vggish', params)


def test_embedding_of_vggish_before_and_after_its_activation():
  before = randomised(vggish.vggish({'a': 3}, **TINY_VGGISH))
  after = vggish.vggish({'a': 3}, activated=True, **TINY_VGGISH)
  after.set_weights(before.get_weights())
  sound = noise(2, 2 * SECOND)
  steps = {k: registry.layer_model(m, 'vggish', ['patch_embedding'])(sound) for k, m in (('b', before), ('a', after))}
  embedding = steps['b']['patch_embedding'].numpy()
  assert (embedding < 0).any()
  np.testing.assert_allclose(steps['a']['patch_embedding'], np.maximum(embedding, 0))
  np.testing.assert_allclose(before(sound)['logits/a'], after(sound)['logits/a'])
  dense = before.get_layer('logits_a')
  np.testing.assert_allclose(
    before(sound)['logits/a'], np.maximum(embedding, 0) @ dense.kernel.numpy() + dense.bias.numpy(), rtol=1e-4
  )


def test_part_of_the_spectrogram_can_be_masked_in_training():
  sound = noise(2, 2 * SECOND)
  forward = spec_augment.masked_forward(tiny_yamnet())
  unmasked = forward(sound, {})
  masked = forward(sound, {batch_keys.HIDDEN_TIME: tf.constant([[0.9, 1.0], [0, 0]])})
  assert unmasked['logits/a'].shape == masked['logits/a'].shape == (2, 3, 3)
  assert np.abs(unmasked['logits/a'] - masked['logits/a'])[0].max() > 1e-3


def test_exported_with_its_layers_and_as_tflite(tmp_path):
  body = lambda x: keras.layers.Dense(4, 'relu')(keras.layers.Flatten()(x))  # noqa: E731
  model = patch_classifier.student({'a': 3, 'b': 2}, 'yamnet', 'yamnet', body)
  settings = student_settings.StudentConfig('yamnet', SECOND, 'mean', 1.0, {'a': ['x', 'y', 'z'], 'b': ['v', 'w']})
  folder = export.export(model, settings, tmp_path, tflite=True)  # compares all outputs with the model
  assert (folder / 'model.tflite').is_file()
  layers = loader.load(folder).signatures['layers']
  sound = noise(1, 3 * SECOND)
  expected = log_mel.LogMel(**log_mel.PRESETS['yamnet'])(sound)
  np.testing.assert_allclose(layers(waveform=sound)['log_mel'], expected, atol=1e-5)
  short = layers(waveform=noise(1, 500))
  assert short['log_mel'].shape == (1, 1, 64)
  assert short['patch_embedding'].shape == (1, 0, 4)


def test_saved_students_are_loaded(tmp_path):
  settings = student_settings.StudentConfig('vggish_pca', SECOND, 'mean', 1.0, {'a': ['x', 'y', 'z']})
  model = randomised(vggish.vggish({'a': 3}, quantised=True, **TINY_VGGISH))
  student_file.save(tmp_path / 'student.keras', model, settings)
  again, _ = student_file.load(tmp_path / 'student.keras')
  for name, values in model(noise(1, 2 * SECOND)).items():
    np.testing.assert_array_equal(again(noise(1, 2 * SECOND))[name], values)


def test_pca_equals_the_formula():
  rng = np.random.default_rng(2)
  layer = whitened_pca.WhitenedPCA()
  x = rng.normal(size=[1, 50, 6]).astype(np.float32)
  layer.build(x.shape)
  eigen, means = rng.normal(size=[6, 6]), rng.normal(size=6)
  layer.set_weights([eigen, means])
  clipped = np.clip((eigen @ (x[0] - means).T).T, -2, 2)
  expected = ((clipped + 2) * 255 / 4).astype(np.uint8)
  assert {0, 255} < set(expected.ravel())
  assert np.abs(layer(x)[0].numpy() - expected).max() <= 1  # float32 against float64, next to a whole number
  assert (layer(x)[0].numpy() == expected).mean() > 0.99
  assert not layer.trainable_variables


def test_maps_of_cnn_architectures_have_the_published_sizes():
  assert symbolic('alexnet').get_layer('pool2').output.shape == (None, 10, 12, 256)
  assert symbolic('alexnet').get_layer('flatten').output.shape == (None, 1024)
  assert symbolic('vgg19').get_layer('pool5').output.shape == (None, 3, 2, 512)
  assert symbolic('resnet50').get_layer('pool').input.shape == (None, 6, 4, 2048)
  assert symbolic('yamnet', 521).get_layer('pool').input.shape == (None, 3, 2, 1024)
  assert cnn_architectures.PRESET == 'vggish'
