"""SoundNet's weights in every published format against a forward pass in PyTorch. The tests write all files."""

import json
import pickle
import subprocess
import sys

import commands
import numpy as np
import pytest
import soundnet_files
import soundnet_numpy
from torch_or_skip import torch

from audionet_tf.conversion import converter
from audionet_tf.conversion import soundnet as conversion_soundnet
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.models.networks import soundnet
from audionet_tf.saved_model import export, loader

SHORTEST = {8: 209_374, 5: 56_798}
TABLES = {8: soundnet.SOUNDNET8, 5: soundnet.SOUNDNET5}


def save(path, net, form, change=None):
  """Writes the network in a format and returns the path. `change` may alter the content."""
  if form.startswith('npy'):
    content = soundnet_files.npy_dict(net)
  elif form.startswith('t7'):
    content = soundnet_files.t7_network(net, 'cudnn' if form == 't7_cudnn' else 'nn')
  else:
    content = soundnet_files.flat_names(net.state_dict()) if form == 'pth_flat' else dict(net.state_dict())
  if change:
    change(content)
  path = path / f'x.{form[:3].rstrip("_")}'
  if form == 'npy':
    soundnet_files.save_npy(path, content)
  elif form == 'npy_3':
    np.save(path, content, allow_pickle=True)
  elif form.startswith('npy'):  # npy_protocol2 and npy_protocol5
    soundnet_files.save_npy(path, content, lambda array: pickle.dumps(array, protocol=int(form[-1])))
  elif form.startswith('t7'):
    path.write_bytes(soundnet_files.T7(form == 't7_cudnn', form != 't7_old').value(content).out)
  else:
    torch.save(content, path)
  return path


def numpy_weights(model, depth):
  """dict of layer to dict of its parts, as `soundnet_numpy` takes them."""
  weights = {layer.name: layer.get_weights() for layer in model.layers}
  found = {name: dict(zip(('weights', 'biases'), weights[name], strict=True)) for name in heads_of(model, depth)}
  for number in range(1, depth):
    parts = (*weights[f'conv{number}_conv'], *weights[f'conv{number}_norm'])
    found[f'conv{number}'] = dict(zip(('weights', 'biases', 'gamma', 'beta', 'mean', 'var'), parts, strict=True))
  return found


def heads_of(model, depth):
  return [layer.name for layer in model.layers if layer.name.startswith(f'conv{depth}_') and layer.weights]


def compare(net, depth, model, samples):
  """Every layer of the student, and the same in NumPy, against PyTorch's."""
  sound = np.random.default_rng(3).uniform(-1, 1, [1, samples]).astype(np.float32)
  expected = net.layers(sound)
  ours = registry.layer_model(model, f'soundnet{depth}', list(expected))(sound, training=False)
  judged = soundnet_numpy.activations(TABLES[depth], numpy_weights(model, depth), sound)
  assert set(judged) == set(expected)
  for layer, values in expected.items():
    tolerance = 1e-5 * np.abs(values).max()
    assert values.std() > 0
    np.testing.assert_allclose(ours[layer].numpy(), values, rtol=0, atol=tolerance, err_msg=layer)
    np.testing.assert_allclose(judged[layer], values, rtol=0, atol=tolerance, err_msg=layer)


FORMS = ('npy', 'npy_3', 'npy_protocol2', 'npy_protocol5', 't7', 't7_cudnn', 't7_old', 'pth', 'pth_flat')


@pytest.mark.parametrize('depth, form', [*((5, form) for form in FORMS), (8, 'npy'), (8, 't7'), (8, 'pth_flat')])
def test_every_layer_of_every_format_equals_pytorchs(tmp_path, depth, form):
  net = soundnet_files.Sound(depth, soundnet_files.CLASSES)
  model = conversion_soundnet.read(save(tmp_path, net, form), f'soundnet{depth}')
  assert {name: output.shape[-1] for name, output in model.output.items() if name != 'embedding'} == {
    'logits/objects': 7,
    'logits/scenes': 5,
  }
  compare(net, depth, model, SHORTEST[depth] + 3_001)


OBJECTS, SCENES = {'objects': 1000}, {'scenes': 401}


@pytest.mark.parametrize('form, heads', [('npy', OBJECTS), ('t7', SCENES), ('pth', OBJECTS), ('pth_flat', SCENES)])
def test_files_with_one_head(tmp_path, form, heads):
  net = soundnet_files.Sound(5, heads)
  model = conversion_soundnet.read(save(tmp_path, net, form), 'soundnet5')
  assert set(model.output) == {'embedding', *(f'logits/{head}' for head in heads)}
  compare(net, 5, model, SHORTEST[5])


def test_a_head_without_a_container_and_kernels_of_conv1d(tmp_path):
  net = soundnet_files.Sound(5, {'objects': 3})

  def unpack(network):
    network[1]['modules'][16] = network[1]['modules'][16][1]['modules'][1]

  def squeeze(state):
    state.update({name: values[..., 0] for name, values in state.items() if values.ndim == 4})

  for form, change in (('t7', unpack), ('pth', squeeze)):
    compare(net, 5, conversion_soundnet.read(save(tmp_path, net, form, change), 'soundnet5'), SHORTEST[5])


def faulty(form, change, depth=5):
  def parts(content):
    """The dict that holds the arrays, or the modules, of a format."""
    if form == 'npy':
      return content
    return content[1]['modules'] if form == 't7' else content

  return lambda content: change(parts(content))


def t7_fields(modules, index):
  return modules[index][1]


@pytest.mark.parametrize(
  'form, change, expected',
  [
    ('npy', lambda c: c.pop('conv3'), 'conv3/weights is missing.*conv3/var is missing'),
    ('npy', lambda c: c['conv2'].pop('gamma'), 'conv2/gamma is missing'),
    ('npy', lambda c: (c.pop('conv5'), c.pop('conv5_2')), 'neither conv5 nor conv5_2'),
    ('npy', lambda c: c['conv5_2'].pop('biases'), 'conv5_2/biases is missing'),
    ('npy', lambda c: c['conv5_2'].update(biases=np.zeros([0], 'f4')), r'conv5_2/biases is \(0,\)'),
    ('npy', lambda c: c.update(conv9={'weights': np.zeros(3)}), 'conv9/weights is of no layer'),
    (
      'npy',
      lambda c: c['conv1'].update(weights=c['conv1']['weights'][:32]),
      r'conv1/weights is \(32, 1, 1, 32\), expected is \(64, 1, 1, 32\)',
    ),
    ('npy', lambda c: c['conv4'].update(mean=np.zeros(3, 'f4')), r'conv4/mean is \(3,\), expected is \(256,\)'),
    ('npy', lambda c: c['conv4'].update(mean=np.zeros(256, 'i4')), 'conv4/mean is of int32'),
    ('npy', lambda c: c['conv4']['mean'].__setitem__(7, np.nan), 'conv4/mean holds numbers that are not finite'),
    ('npy', lambda c: c['conv4'].update(mean=np.full(256, 1e300)), 'conv4/mean holds numbers that are not finite'),
    ('npy', lambda c: c['conv4']['var'].__setitem__(7, -1), 'conv4 has variances below 0'),
    (
      'npy',
      lambda c: [
        c[x].update(mean=np.zeros_like(c[x]['mean']), var=np.ones_like(c[x]['var'])) for x in ('conv1', 'conv3')
      ],
      'batch norm of conv1, conv3 was lost: means all 0, variances all 1',
    ),
    ('t7', lambda m: m.pop(9), 'conv3 is nothing, expected is nn.SpatialConvolution'),
    ('t7', lambda m: m.update({10: ('nn.ReLU', {})}), 'conv3/norm is nn.ReLU, expected is nn.SpatialBatchNormal'),
    ('t7', lambda m: m.pop(16), 'conv5/objects is nothing'),
    ('t7', lambda m: t7_fields(m, 2).pop('running_var'), 'conv1/norm/running_var is missing'),
    ('t7', lambda m: t7_fields(m, 2).update(eps=1e-3), 'conv1/norm/eps is 0.001, expected is 1e-05'),
    ('t7', lambda m: t7_fields(m, 5).update(dH=1), 'conv2/dH is 1, expected is 2'),
    ('t7', lambda m: t7_fields(m, 4).update(ceil_mode=True), 'pool1/ceil_mode is True, expected is False'),
    ('t7', lambda m: t7_fields(m, 1).update(weight='x'), 'conv1/weight is missing'),
    ('t7', lambda m: t7_fields(m, 1).update(weight=np.zeros([32, 64], 'f4')), r'conv1/weight is \(32, 64\), expected'),
    ('t7', lambda m: t7_fields(m, 1).update(bias=np.full(32, np.inf, 'f4')), 'conv1/bias holds numbers that are not'),
    ('pth', lambda s: s.pop('conv3.0.weight'), 'conv3.0.weight is missing'),
    ('pth', lambda s: s.update({'conv3.1.bias': torch.zeros(3)}), r'conv3.1.bias is \(3,\), expected is \(128,\)'),
    ('pth', lambda s: s.update({'conv3.1.bias': torch.zeros(128, dtype=torch.int32)}), 'conv3.1.bias is of int32'),
    ('pth', lambda s: s['conv5_2.0.bias'].fill_(np.nan), 'conv5_2.0.bias holds numbers that are not finite'),
    ('pth', lambda s: s.update({'fc.weight': torch.zeros(3)}), 'fc.weight is of no layer'),
    ('pth', lambda s: s.clear(), 'conv1.0.weight is missing.* and [0-9]+ more'),
  ],
)
def test_error_names_the_wrong_arrays(tmp_path, form, change, expected):
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  path = save(tmp_path, net, form, faulty(form, change))
  with pytest.raises(UserError, match=expected) as caught:
    conversion_soundnet.read(path, 'soundnet5')
  assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_lost_batch_norms_are_refused(tmp_path):
  """The converter of keunhong/pytorch-soundnet copies kernels and leaves batch norms as PyTorch initialises them."""
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  for name in net.hidden:
    getattr(net, name)[1].reset_parameters()
  with pytest.raises(UserError, match='the batch norm of conv1, conv2, conv3, conv4 was lost'):
    conversion_soundnet.read(save(tmp_path, net, 'pth_flat'), 'soundnet5')


@pytest.mark.parametrize('form', ['npy', 't7', 'pth_flat'])
def test_error_names_the_other_depth(tmp_path, form):
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  with pytest.raises(UserError, match='these are weights of soundnet5, not of soundnet8; use --student=soundnet5'):
    conversion_soundnet.read(save(tmp_path, net, form), 'soundnet8')


def test_torch7_without_torch(tmp_path, monkeypatch):
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  path = save(tmp_path, net, 't7')
  monkeypatch.setitem(sys.modules, 'torch', None)
  model = conversion_soundnet.read(path, 'soundnet5')
  compare(net, 5, model, SHORTEST[5])


@pytest.mark.long
def test_converted_student_is_exported_and_predicts(tmp_path):
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  model = conversion_soundnet.read(save(tmp_path, net, 't7'), 'soundnet5')
  names = converter.class_names([], model)
  settings = student_settings.StudentConfig('soundnet5', 22050, 'first', 6.0, names)
  served = loader.load(export.export(model, settings, tmp_path / 'export'))
  sound = np.random.default_rng(5).uniform(-1, 1, [2, 150_000]).astype(np.float32)
  outputs, layers = served.predict(sound), net.layers(sound)
  for head, key in (
    ('objects', 'probabilities'),
    ('objects', 'objects/probabilities'),
    ('scenes', 'scenes/probabilities'),
  ):
    expected = torch.softmax(torch.from_numpy(layers[f'conv5_{head}']), -1).mean(1)
    np.testing.assert_allclose(outputs[key], expected, atol=2e-3, err_msg=key)
  best = outputs['probabilities'].argmax(1)
  assert list(outputs['top_classes'][:, 0]) == [f'class {i}' for i in best]
  assert served.settings.classes == names


def convert(*arguments):
  return commands.run('audionet_tf.convert', *arguments)


WITHOUT_TORCH = """
import sys

class Missing:
  def find_spec(self, name, *_):
    if name == 'torch':
      raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from audionet_tf import convert
convert.run()
"""


@pytest.mark.long
def test_command_without_torch(tmp_path):
  net = soundnet_files.Sound(5, soundnet_files.CLASSES)
  path = save(tmp_path, net, 'npy')
  (tmp_path / 'scenes.txt').write_text('a\nb\nc\nd\ne\n')
  arguments = [
    f'--from={path}',
    '--student=soundnet5',
    f'--output={tmp_path}/s.keras',
    f'--labels=scenes={tmp_path}/scenes.txt',
  ]
  done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH, *arguments], capture_output=True, text=True, timeout=200)
  assert done.returncode == 0, done.stderr
  assert done.stdout.endswith('parameters, 7 classes (objects), 5 classes (scenes)\n')
  settings = json.loads((tmp_path / 's.json').read_text())
  assert settings['classes'] == {'objects': [f'class {i}' for i in range(7)], 'scenes': list('abcde')}
  assert [settings[key] for key in ('student', 'sample_rate_hz', 'mono', 'window_seconds')] == [
    *('soundnet5', 22050, 'first', 20)
  ]
  model, read = student_file.load(tmp_path / 's.keras')
  assert read.student == 'soundnet5'
  sound = np.random.default_rng(1).uniform(-1, 1, [1, 70_000]).astype(np.float32)
  np.testing.assert_allclose(model(sound)['logits/scenes'], net.layers(sound)['conv5_scenes'], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
  'arguments, expected',
  [
    (
      ['--from=x.h5', '--student=soundnet8'],
      'soundnet8 from .h5 is not known; known: audionet from .pth, .pt; soundnet5',
    ),
    (['--from=missing.npy', '--student=soundnet8'], 'missing.npy: no such file'),
    (['--from=missing.t7', '--student=soundnet8'], 'missing.t7: no such file'),
    (['--from=x.npy', '--student=soundnet8', '--window_ms=0'], 'window_seconds is 0'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  done = convert(*arguments, '--output=s.keras')
  assert done.returncode == 1 and expected in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
