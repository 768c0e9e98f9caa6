"""Weights of a small VGGish against PyTorch, its PCA, and files that hold neither."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import vggish_yamnet_files
from torch_or_skip import torch

from audionet_tf.conversion import converter, vggish_yamnet
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry
from audionet_tf.models.networks import vggish
from audionet_tf.saved_model import export, layer_outputs, loader

WIDTH = 5
CONVOLUTIONS = (('conv1', 3), ('pool1', None), ('conv3_1', 4), ('conv3_2', 4), ('pool3', None), ('pool4', None))
DENSE = (('fc1_1', 6), ('fc2', WIDTH))


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
  small = {
    'vggish': lambda heads: vggish.vggish(heads, convolutions=CONVOLUTIONS, dense=DENSE),
    'vggish_pca': lambda heads: vggish.vggish(heads, quantised=True, convolutions=CONVOLUTIONS, dense=DENSE),
  }
  for name, build in small.items():
    monkeypatch.setitem(registry.STUDENTS, name, dataclasses.replace(registry.STUDENTS[name], build=build))


def vggish_arrays():
  rng = np.random.default_rng(0)
  shapes = {
    'conv1': (3, 3, 1, 3),
    'conv3/conv3_1': (3, 3, 3, 4),
    'conv3/conv3_2': (3, 3, 4, 4),
    'fc1/fc1_1': (12 * 8 * 4, 6),
    'fc2': (6, WIDTH),
  }
  arrays = {f'vggish/{name}/weights': rng.normal(size=shape) / 3 for name, shape in shapes.items()}
  arrays |= {f'vggish/{name}/biases': rng.normal(size=shape[-1]) for name, shape in shapes.items()}
  return {name: values.astype(np.float32) for name, values in arrays.items()}


def write_checkpoint(path, arrays, version):
  with tf.Graph().as_default():
    variables = {name: tf.compat.v1.get_variable(name, initializer=values) for name, values in arrays.items()}
    tf.compat.v1.get_variable('global_step', initializer=7)
    with tf.compat.v1.Session() as session:
      session.run(tf.compat.v1.global_variables_initializer())
      saver = tf.compat.v1.train.Saver(list(variables.values()), write_version=version)
      saver.save(session, str(path), write_meta_graph=False)
  return path if version == 1 else path.with_name(f'{path.name}.index')


def vggish_in_torch(arrays):
  """f64 [T, WIDTH], from the description of VGGish."""
  functional, x = torch.nn.functional, vggish_yamnet_files.patches('vggish', 96)

  def conv(x, name):
    weights, biases = (arrays[f'vggish/{name}/{part}'] for part in ('weights', 'biases'))
    return functional.relu(
      functional.conv2d(x, vggish_yamnet_files.torch_kernel(weights), torch.from_numpy(biases).double(), padding=1)
    )

  x = functional.max_pool2d(conv(x, 'conv1'), 2)
  x = functional.max_pool2d(conv(conv(x, 'conv3/conv3_1'), 'conv3/conv3_2'), 2)
  x = functional.max_pool2d(x, 2).permute(0, 2, 3, 1).reshape(len(x), -1).numpy()  # as height, width, channels
  x = np.maximum(x @ arrays['vggish/fc1/fc1_1/weights'] + arrays['vggish/fc1/fc1_1/biases'], 0)
  return x @ arrays['vggish/fc2/weights'] + arrays['vggish/fc2/biases']


@pytest.mark.parametrize('version', [1, 2])
def test_vggish_equals_pytorch(tmp_path, version):
  arrays = vggish_arrays()
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', arrays, version)
  model, settings = vggish_yamnet_files.converted(path, 'vggish', tmp_path)
  vggish_yamnet_files.equals_numpy(model, 'vggish', ['patch_embedding'])
  assert settings.classes == {}
  embedding = registry.layer_model(model, 'vggish', ['patch_embedding'])(vggish_yamnet_files.SOUND[None])[
    'patch_embedding'
  ][0]
  expected = vggish_in_torch(arrays)
  assert len(expected) == 2
  assert (expected < 0).any()
  np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-4)


def test_pca_and_features(tmp_path):
  """A converted vggish_pca gives the bytes of the formula, as features writes them."""
  rng = np.random.default_rng(4)
  eigen, means = rng.normal(size=[WIDTH, WIDTH]) / 8, rng.normal(size=WIDTH)
  np.savez(tmp_path / 'pca.npz', pca_eigen_vectors=eigen, pca_means=means)
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', vggish_arrays(), 1)
  vggish_yamnet_files.converted(path, 'vggish_pca', tmp_path, pca=tmp_path / 'pca.npz')
  model = layer_outputs.load(tmp_path / 'student.keras', ['pca', 'patch_embedding'])
  outputs = model.activations(np.rint(vggish_yamnet_files.SOUND[None] * 32767).astype(np.int16))
  clipped = np.clip((outputs['patch_embedding'][0] - means) @ eigen.T, -2, 2)
  assert np.abs(outputs['pca'][0] - ((clipped + 2) * 255 / 4).astype(np.uint8)).max() <= 1


CHANGES = {
  'missing': (lambda a: a.pop('vggish/fc2/biases'), r'vggish/fc2/biases is missing'),
  'shape': (
    lambda a: a.update({'vggish/conv1/weights': np.zeros([3, 3, 2, 3], np.float32)}),
    r'vggish/conv1/weights is \(3, 3, 2, 3\), expected is \(3, 3, 1, 3\)',
  ),
  'nan': (lambda a: a['vggish/fc2/biases'].fill(np.nan), r'vggish/fc2/biases holds numbers that are not finite'),
  'type': (
    lambda a: a.update({'vggish/fc2/biases': np.zeros(WIDTH, np.int32)}),
    r'vggish/fc2/biases is of int32, expected are floating-point numbers',
  ),
}


@pytest.mark.parametrize('change', list(CHANGES))
def test_error_names_the_wrong_variables(tmp_path, change):
  arrays = vggish_arrays()
  CHANGES[change][0](arrays)
  path = write_checkpoint(tmp_path / 'v.ckpt', arrays, 1)
  with pytest.raises(UserError, match=CHANGES[change][1]):
    vggish_yamnet.read_vggish(path, 'vggish')


def test_other_files_are_refused(tmp_path):
  path = tmp_path / 'x'
  path.write_bytes(b'nonsense' * 100)
  for read in (lambda p: vggish_yamnet.read_vggish(p, 'vggish'), vggish_yamnet.read_yamnet, vggish_yamnet.read_pca):
    with pytest.raises(UserError, match='not a readable'):
      read(path)
  np.savez(tmp_path / 'few.npz', pca_means=np.zeros(128))
  with pytest.raises(UserError, match='pca_eigen_vectors is missing'):
    vggish_yamnet.read_pca(tmp_path / 'few.npz')
  np.savez(tmp_path / 'wide.npz', pca_means=np.zeros(128), pca_eigen_vectors=np.zeros([128, 64]))
  with pytest.raises(UserError, match=r'pca_eigen_vectors is \(128, 64\), expected is \(128, 128\)'):
    vggish_yamnet.read_pca(tmp_path / 'wide.npz')


def test_pca_goes_with_its_student(tmp_path):
  path = tmp_path / 'x.ckpt'
  for student, pca in (('vggish', 'p.npz'), ('vggish_pca', None)):
    with pytest.raises(UserError, match='belong together'):
      vggish_yamnet.read_vggish(path, student, pca)


def test_vggish_is_exported_as_an_embedding(tmp_path):
  """Export and .keras give the same layers; loading it for its classes is a UserError."""
  np.savez(tmp_path / 'pca.npz', pca_eigen_vectors=np.eye(WIDTH), pca_means=np.zeros(WIDTH))
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', vggish_arrays(), 1)
  model, settings = vggish_yamnet_files.converted(path, 'vggish_pca', tmp_path, pca=tmp_path / 'pca.npz')
  folder = export.export(model, settings, tmp_path / 'export')
  served = loader.load(folder, names=False)
  assert set(served.predict(vggish_yamnet_files.SOUND[None])) == {'embedding'}
  assert set(served.windows(vggish_yamnet_files.SOUND)) == {'embedding', 'start_seconds', 'end_seconds'}
  layers = ['pca', 'patch_embedding', 'log_mel', 'embedding']
  models = [layer_outputs.load(path, layers) for path in (folder, tmp_path / 'student.keras')]
  pcm = np.rint(vggish_yamnet_files.SOUND[None] * 32767).astype(np.int16)
  exported, original = (model.activations(pcm) for model in models)
  assert exported.keys() == original.keys()
  for layer, values in exported.items():
    assert values.shape[:2] == (1, 248 if layer == 'log_mel' else 2)
    np.testing.assert_allclose(values, original[layer], rtol=1e-4, atol=1e-4)
  for path in (folder, tmp_path / 'student.keras'):
    with pytest.raises(UserError, match="layer 'logits' is not known"):
      layer_outputs.load(path, ['logits'])
  with pytest.raises(UserError, match='vggish_pca has no classes; use features or probe, which read its layers'):
    loader.load(folder)
  with pytest.raises(UserError, match='the heads are none'):
    converter.class_names(['a.txt'], model)
