"""Published forms of VGGish's and YAMNet's weights, of small networks, against PyTorch."""

import dataclasses

import clips
import commands
import h5py
import numpy as np
import pytest
import tensorflow as tf
from test_log_mel import reference

from audionet_tf import captions, conversion, events, inference, layer_models, log_mel, mel_weights, serving, students
from audionet_tf import vggish as vggish_lib
from audionet_tf import yamnet as yamnet_lib
from audionet_tf.errors import UserError

torch = pytest.importorskip('torch')

WIDTH, CLASSES = 5, 4
CONVOLUTIONS = (('conv1', 3), ('pool1', None), ('conv3_1', 4), ('conv3_2', 4), ('pool3', None), ('pool4', None))
DENSE = (('fc1_1', 6), ('fc2', WIDTH))
YAMNET = ((1, 6), (2, 8))
SOUND = np.random.default_rng(3).uniform(-1, 1, 40_000).astype(np.float32)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
  small = {
    'vggish': lambda heads: vggish_lib.vggish(heads, convolutions=CONVOLUTIONS, dense=DENSE),
    'vggish_pca': lambda heads: vggish_lib.vggish(heads, quantised=True, convolutions=CONVOLUTIONS, dense=DENSE),
    'yamnet': lambda heads: yamnet_lib.yamnet(heads, YAMNET, 3),
  }
  for name, build in small.items():
    monkeypatch.setitem(students.STUDENTS, name, dataclasses.replace(students.STUDENTS[name], build=build))


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


def yamnet_arrays():
  rng = np.random.default_rng(1)
  arrays = {'logits/logits/kernel:0': rng.normal(size=[8, CLASSES]), 'logits/logits/bias:0': rng.normal(size=CLASSES)}

  def add(scope, kernel, shape, channels):
    arrays[f'{scope}/{scope}/{kernel}:0'] = rng.normal(size=shape)
    norm = f'{scope}/bn/{scope}/bn'
    arrays[f'{norm}/beta:0'] = rng.normal(size=channels)
    arrays[f'{norm}/moving_mean:0'] = rng.normal(size=channels)
    arrays[f'{norm}/moving_variance:0'] = rng.uniform(0.5, 2, channels)

  add('layer1/conv', 'kernel', (3, 3, 1, 3), 3)
  inputs = 3
  for number, (_, filters) in enumerate(YAMNET, 2):
    add(f'layer{number}/depthwise_conv', 'depthwise_kernel', (3, 3, inputs, 1), inputs)
    add(f'layer{number}/pointwise_conv', 'kernel', (1, 1, inputs, filters), filters)
    inputs = filters
  return {name: values.astype(np.float32) for name, values in arrays.items()}


def write_h5(path, arrays):
  with h5py.File(path, 'w') as file:
    for name, values in arrays.items():
      file[name] = values
  return path


def patches(preset, hop):
  """torch [T, 1, 96, 64] of SOUND, by the reference of the front end's test."""
  mel = reference(SOUND, **log_mel.PRESETS[preset])
  cut = np.stack([mel[start : start + 96] for start in range(0, len(mel) - 95, hop)])
  return torch.from_numpy(cut)[:, None]


def torch_kernel(values):
  return torch.from_numpy(values.astype(np.float64)).permute(3, 2, 0, 1)


def vggish_in_torch(arrays):
  """float64 [T, WIDTH], straight from the description of VGGish."""
  functional, x = torch.nn.functional, patches('vggish', 96)

  def conv(x, name):
    weights, biases = (arrays[f'vggish/{name}/{part}'] for part in ('weights', 'biases'))
    return functional.relu(functional.conv2d(x, torch_kernel(weights), torch.from_numpy(biases).double(), padding=1))

  x = functional.max_pool2d(conv(x, 'conv1'), 2)
  x = functional.max_pool2d(conv(conv(x, 'conv3/conv3_1'), 'conv3/conv3_2'), 2)
  x = functional.max_pool2d(x, 2).permute(0, 2, 3, 1).reshape(len(x), -1).numpy()  # as height, width, channels
  x = np.maximum(x @ arrays['vggish/fc1/fc1_1/weights'] + arrays['vggish/fc1/fc1_1/biases'], 0)
  return x @ arrays['vggish/fc2/weights'] + arrays['vggish/fc2/biases']


def yamnet_in_torch(arrays):
  """float64 [T, CLASSES], straight from the description of YAMNet."""
  functional, x = torch.nn.functional, patches('yamnet', 48)

  def layer(x, scope, kernel, stride, depthwise=False):
    values = arrays[f'{scope}/{scope}/{kernel}:0']
    weights = torch_kernel(values.transpose(0, 1, 3, 2) if depthwise else values)
    edge = values.shape[0] // 2
    x = functional.pad(x, (edge, edge, edge, edge) if stride == 1 else (0, 1, 0, 1))  # SAME of an even size
    x = functional.conv2d(x, weights, stride=stride, groups=x.shape[1] if depthwise else 1)
    names = ('moving_mean', 'moving_variance', 'beta')
    mean, variance, beta = (torch.from_numpy(arrays[f'{scope}/bn/{scope}/bn/{name}:0']).double() for name in names)
    return functional.relu(functional.batch_norm(x, mean, variance, bias=beta, eps=1e-4))

  x = layer(x, 'layer1/conv', 'kernel', 2)
  for number, (stride, _) in enumerate(YAMNET, 2):
    x = layer(x, f'layer{number}/depthwise_conv', 'depthwise_kernel', stride, True)
    x = layer(x, f'layer{number}/pointwise_conv', 'kernel', 1)
  return x.mean((2, 3)).numpy() @ arrays['logits/logits/kernel:0'] + arrays['logits/logits/bias:0']


def converted(path, student, folder, labels=(), **pca):
  """The student that `convert` writes from a file, read again."""
  read = mel_weights.read_yamnet if student == 'yamnet' else mel_weights.read_vggish
  model, original = read(path, student, **pca)
  settings = students.StudentSettings(student, 16000, 'mean', 0.975, conversion.class_names(list(labels), model))
  found = conversion.convert(model, original, settings, folder / 'student.keras')
  return found, *students.load(folder / 'student.keras')


@pytest.mark.parametrize('version', [1, 2])
def test_vggish_equals_pytorch(tmp_path, version):
  arrays = vggish_arrays()
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', arrays, version)
  found, model, settings = converted(path, 'vggish', tmp_path)
  assert list(found) == ['patch_embedding']
  assert settings.classes == {}
  heard = students.layer_model(model, 'vggish', ['patch_embedding'])(SOUND[None])['patch_embedding'][0]
  expected = vggish_in_torch(arrays)
  assert len(expected) == 2
  assert (expected < 0).any()
  np.testing.assert_allclose(heard, expected, rtol=1e-4, atol=1e-4)


def test_yamnet_equals_pytorch(tmp_path):
  arrays = yamnet_arrays()
  path = write_h5(tmp_path / 'yamnet.h5', arrays)
  names = tmp_path / 'map.csv'
  names.write_text('index,mid,display_name\n1,/m/b,"Bark, loud"\n0,/m/a,Speech\n2,/m/c,c\n3,/m/d,d\n')
  found, model, settings = converted(path, 'yamnet', tmp_path, [str(names)])
  assert list(found) == ['patch_embedding', 'logits_audioset']
  assert settings.classes == {'audioset': ['Speech', 'Bark, loud', 'c', 'd']}
  expected = yamnet_in_torch(arrays)
  assert len(expected) == 4
  np.testing.assert_allclose(model(SOUND[None])['logits/audioset'][0], expected, rtol=1e-4, atol=1e-4)


def test_pca_and_features(tmp_path):
  """A converted vggish_pca gives the bytes of the formula, as features writes them."""
  rng = np.random.default_rng(4)
  eigen, means = rng.normal(size=[WIDTH, WIDTH]) / 8, rng.normal(size=WIDTH)
  np.savez(tmp_path / 'pca.npz', pca_eigen_vectors=eigen, pca_means=means)
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', vggish_arrays(), 1)
  converted(path, 'vggish_pca', tmp_path, pca=tmp_path / 'pca.npz')
  model = layer_models.load(tmp_path / 'student.keras', ['pca', 'patch_embedding'])
  heard = model.hear(np.rint(SOUND[None] * 32767).astype(np.int16))
  clipped = np.clip((heard['patch_embedding'][0] - means) @ eigen.T, -2, 2)
  assert np.abs(heard['pca'][0] - ((clipped + 2) * 255 / 4).astype(np.uint8)).max() <= 1


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
def test_what_is_wrong_in_a_checkpoint_is_named(tmp_path, change):
  arrays = vggish_arrays()
  CHANGES[change][0](arrays)
  path = write_checkpoint(tmp_path / 'v.ckpt', arrays, 1)
  with pytest.raises(UserError, match=CHANGES[change][1]):
    mel_weights.read_vggish(path, 'vggish')


def test_what_is_wrong_in_a_yamnet_is_named(tmp_path):
  def refused(arrays, expected):
    with pytest.raises(UserError, match=expected):
      mel_weights.read_yamnet(write_h5(tmp_path / 'y.h5', arrays))

  arrays = yamnet_arrays()
  norm = 'layer2/depthwise_conv/bn/layer2/depthwise_conv/bn'
  refused({k: v for k, v in arrays.items() if 'layer3/point' not in k}, 'layer3/pointwise_conv/.*kernel:0 is missing')
  refused(arrays | {f'{norm}/beta:0': np.zeros(9)}, rf'{norm}/beta:0 is \(9,\), expected is \(3,\)')
  refused(arrays | {f'{norm}/moving_variance:0': -np.ones(3)}, 'layer2_depthwise_norm has variances below 0')
  refused(arrays | {'logits/logits/bias:0': np.zeros([2, 2])}, r'logits/logits/bias:0 is \(2, 2\)')


def test_an_h5_reads_no_other_file(tmp_path):
  arrays = yamnet_arrays()
  bias = arrays.pop('logits/logits/bias:0')
  (tmp_path / 'secret').write_bytes(bias.tobytes())
  path = write_h5(tmp_path / 'y.h5', arrays)
  with h5py.File(path, 'a') as file:
    file.create_dataset('logits/logits/bias:0', (CLASSES,), 'f4', external=[(str(tmp_path / 'secret'), 0, 16)])
  with pytest.raises(UserError, match='bias:0 lies in another file'):
    mel_weights.read_yamnet(path)
  write_h5(tmp_path / 'other.h5', {'bias': bias})
  with h5py.File(path, 'a') as file:
    del file['logits/logits/bias:0']
    file['logits/logits/bias:0'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), 'bias')
  with pytest.raises(UserError, match='bias:0 is missing'):
    mel_weights.read_yamnet(path)


def test_files_that_are_none(tmp_path):
  path = tmp_path / 'x'
  path.write_bytes(b'nonsense' * 100)
  for read in (lambda p: mel_weights.read_vggish(p, 'vggish'), mel_weights.read_yamnet, mel_weights.read_pca):
    with pytest.raises(UserError, match='not a readable'):
      read(path)
  np.savez(tmp_path / 'few.npz', pca_means=np.zeros(128))
  with pytest.raises(UserError, match='pca_eigen_vectors is missing'):
    mel_weights.read_pca(tmp_path / 'few.npz')
  np.savez(tmp_path / 'wide.npz', pca_means=np.zeros(128), pca_eigen_vectors=np.zeros([128, 64]))
  with pytest.raises(UserError, match=r'pca_eigen_vectors is \(128, 64\), expected is \(128, 128\)'):
    mel_weights.read_pca(tmp_path / 'wide.npz')


def test_pca_goes_with_its_student(tmp_path):
  path = tmp_path / 'x.ckpt'
  for student, pca in (('vggish', 'p.npz'), ('vggish_pca', None)):
    with pytest.raises(UserError, match='belong together'):
      mel_weights.read_vggish(path, student, pca)


def test_vggish_is_exported_as_an_embedding(tmp_path):
  """Its layers are read, of the export as of the .keras; who wants classes is told that there are none."""
  np.savez(tmp_path / 'pca.npz', pca_eigen_vectors=np.eye(WIDTH), pca_means=np.zeros(WIDTH))
  path = write_checkpoint(tmp_path / 'vggish_model.ckpt', vggish_arrays(), 1)
  _, model, settings = converted(path, 'vggish_pca', tmp_path, pca=tmp_path / 'pca.npz')
  folder = serving.export(model, settings, tmp_path / 'export')
  served = serving.load(folder, names=False)
  assert set(served.predict(SOUND[None])) == {'embedding'}
  assert set(served.windows(SOUND)) == {'embedding', 'start_seconds', 'end_seconds'}
  layers = ['pca', 'patch_embedding', 'log_mel', 'embedding']
  found = [layer_models.load(path, layers) for path in (folder, tmp_path / 'student.keras')]
  ours, theirs = (heard.hear(np.rint(SOUND[None] * 32767).astype(np.int16)) for heard in found)
  assert ours.keys() == theirs.keys()
  for layer, values in ours.items():
    assert values.shape[:2] == (1, 248 if layer == 'log_mel' else 2)
    np.testing.assert_allclose(values, theirs[layer], rtol=1e-4, atol=1e-4)
  for path in (folder, tmp_path / 'student.keras'):
    with pytest.raises(UserError, match="layer 'logits' is not known"):
      layer_models.load(path, ['logits'])
  with pytest.raises(UserError, match='vggish_pca names nothing; features and probe read its layers'):
    serving.load(folder)
  with pytest.raises(UserError, match='the heads are none'):
    conversion.class_names(['a.txt'], model)


def test_heads_without_names_are_not_exported(tmp_path):
  model = students.build('yamnet', {'audioset': CLASSES})
  settings = students.StudentSettings('yamnet', 16000, 'mean', 0.975, {})
  with pytest.raises(UserError, match="head 'audioset': no class names in the settings"):
    serving.export(model, settings, tmp_path)


SMALL_CONVERT = """
import dataclasses, runpy, sys
from audionet_tf import students, yamnet

build = lambda heads: yamnet.yamnet(heads, {table}, 3)
students.STUDENTS['yamnet'] = dataclasses.replace(students.STUDENTS['yamnet'], build=build)
sys.argv[0] = 'audionet_tf.convert'
runpy.run_module('audionet_tf.convert', run_name='__main__')
"""


def test_classes_of_a_converted_yamnet_do_not_exclude_each_other(tmp_path):
  """From the published file to captions: what is there with 0.95 each is told together."""
  arrays = yamnet_arrays()
  arrays['logits/logits/kernel:0'][:] = 0
  arrays['logits/logits/bias:0'][:] = [3, -3, 3, -3]
  path = write_h5(tmp_path / 'yamnet.h5', arrays)
  (tmp_path / 'names.txt').write_text('speech\nbark\nmusic\nrain\n')
  (tmp_path / 'convert.py').write_text(SMALL_CONVERT.format(table=YAMNET))
  given = [f'--from={path}', f'--labels={tmp_path}/names.txt', f'--output={tmp_path}/y.keras', '--student=yamnet']
  commands.run(tmp_path / 'convert.py', *given, check=True)
  model, settings = students.load(tmp_path / 'y.keras')
  served = serving.Served(settings, settings.classes['audioset'], serving.signatures(model, settings), model)
  sound = clips.write(tmp_path / 'a.wav', times=[], sounds=[SOUND], rate_hz=16000)
  probability = 1 / (1 + np.exp(-3))
  heard = inference.listen(inference.listener(served, ['npz']), sound, tmp_path, 'm')
  np.testing.assert_allclose(heard.probabilities, [probability, 1 - probability] * 2, rtol=1e-5)
  rules = events.Rules(threshold=0.9)
  (cue,) = captions.captions(captions.listener(served), sound, rules).cues
  assert set(cue.names) == {'speech', 'music'} and cue.start_seconds == 0
