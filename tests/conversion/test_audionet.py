"""PyTorch checkpoints to students. The tests write checkpoints of every format."""

import collections
import json
import os
import pickle
import struct
import sys

import commands
import numpy as np
import pytest
from torch_or_skip import needs_torch, torch

from audionet_tf.conversion import audionet, converter
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file, student_settings

CLASSES = 7


def state_dict(classes=CLASSES, prefix='', seed=0):
  """Weights in the range of the published ones: +-6 and +-13."""
  generator = torch.Generator().manual_seed(seed)

  def uniform(limit, *shape):
    return (2 * torch.rand(*shape, generator=generator) - 1) * limit

  tensors = {
    'conv.weight': uniform(6, 16, 1, 64),
    'conv.bias': uniform(1, 16),
    'dense.weight': uniform(13, classes, 16),
    'dense.bias': uniform(1, classes),
  }
  return collections.OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


def save_zip(path, state):
  torch.save(state, path)


def save_legacy(path, state):
  torch.save(state, path, _use_new_zipfile_serialization=False, pickle_protocol=2)


class Storage:
  """A storage of PyTorch 0.3 on a GPU."""

  def __init__(self, key, values):
    self.key, self.values = key, values


class Tensor:
  """A tensor of PyTorch 0.3, whose pickle names `_rebuild_tensor`."""

  def __init__(self, storage, shape):
    self.storage, self.shape = storage, shape

  def __reduce__(self):
    strides = tuple(int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape)))
    return torch._utils._rebuild_tensor, (self.storage, 0, self.shape, strides)


class Pickler(pickle.Pickler):
  def persistent_id(self, value):
    if isinstance(value, Storage):
      return 'storage', torch.cuda.FloatStorage, value.key, 'cuda:0', len(value.values), None
    return None


def save_cuda_0_3(path, state):
  """The format of 2018, written from its description: magic, protocol 1001, system, pickle, storages."""
  storages = [Storage(str(i), tensor.numpy().ravel()) for i, tensor in enumerate(state.values())]
  tensors = (Tensor(storage, tuple(value.shape)) for storage, value in zip(storages, state.values(), strict=True))
  with open(path, 'wb') as file:
    for header in (0x1950A86A20F9469CFC6C, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {}}):
      pickle.dump(header, file, protocol=2)
    Pickler(file, protocol=2).dump(collections.OrderedDict(zip(state, tensors, strict=True)))
    pickle.dump([storage.key for storage in storages], file, protocol=2)
    for storage in storages:
      file.write(struct.pack('<q', len(storage.values)) + storage.values.astype('<f4').tobytes())


FORMATS = {'zip': save_zip, 'legacy': save_legacy, 'cuda_0_3': save_cuda_0_3}


def numpy_logits(state, waveform):
  """AudioNet by the definition of each layer, in float64: f32 [samples] -> f64 [classes]."""
  weight, bias, dense, offset = (np.asarray(value, np.float64) for value in state.values())
  padded = np.pad(waveform.astype(np.float64), 32)
  conv = np.array([weight[:, 0] @ padded[i : i + 64] + bias for i in range(0, len(padded) - 63, 2)])  # [T, 16]
  edges = np.pad(conv, ((4, 4), (0, 0)), constant_values=-np.inf)
  pooled = np.array([edges[i : i + 8].max(0) for i in range(len(edges) - 7)])
  return dense @ pooled.mean(0) + offset


def torch_logits(state, waveform):
  """AudioNet as PyTorch computes it (Bryce 2018, table 1): f32 [samples] -> f32 [classes]."""
  functional = torch.nn.functional
  x = functional.conv1d(torch.from_numpy(waveform)[None], state['conv.weight'], state['conv.bias'], 2, 32)  # [16, T]
  x = functional.max_pool1d(x, 8, stride=1, padding=4).mean(1)  # [16]
  return functional.linear(x, state['dense.weight'], state['dense.bias']).numpy()


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_every_format_gives_the_same_logits(tmp_path, kind, prefix):
  state = state_dict()
  FORMATS[kind](tmp_path / 'x.pth', state_dict(prefix=prefix))
  model = audionet.read_audionet(tmp_path / 'x.pth')
  for samples in (1, 2, 63, 64, 65, 640, 1001):
    waveform = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    expected = numpy_logits(state, waveform)
    tolerance = 1e-5 * np.abs(expected).max()
    logits = model(waveform[None])['logits/teacher'].numpy()[0, 0]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(torch_logits(state, waveform), expected, rtol=0, atol=tolerance)


def test_what_is_written_reads_back(tmp_path):
  save_legacy(tmp_path / 'x.pth', state_dict())
  model = audionet.read_audionet(tmp_path / 'x.pth')
  settings = student_settings.StudentConfig(
    'audionet', 16000, 'mean', 0.04, {'teacher': [str(i) for i in range(CLASSES)]}
  )
  converter.convert(model, settings, tmp_path / 'new' / 's.keras')
  assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == ['s.json', 's.keras']
  again, read = student_file.load(tmp_path / 'new' / 's.keras')
  assert read == settings
  np.testing.assert_array_equal(again.get_layer('conv').get_weights()[0], model.get_layer('conv').get_weights()[0])


def test_a_student_that_is_not_finite_is_not_written(tmp_path):
  state = state_dict()
  state['dense.weight'] *= 1e37
  state['dense.bias'] *= 1e37
  save_zip(tmp_path / 'x.pth', state)
  model = audionet.read_audionet(tmp_path / 'x.pth')
  settings = student_settings.StudentConfig(
    'audionet', 16000, 'mean', 0.04, {'teacher': [str(i) for i in range(CLASSES)]}
  )
  with pytest.raises(UserError, match='not finite in logits/teacher'):
    converter.convert(model, settings, tmp_path / 's.keras')
  assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


@pytest.mark.parametrize(
  'change, expected',
  [
    (lambda s: s.pop('conv.bias'), 'conv.bias is missing'),
    (lambda s: s.pop('dense.bias'), 'dense.bias is missing'),
    (lambda s: s.update({'fc.weight': torch.zeros(3)}), 'fc.weight is not of AudioNet'),
    (
      lambda s: s.update({'conv.weight': torch.zeros(16, 1, 32)}),
      r'conv.weight is \(16, 1, 32\), expected is \(16, 1, 64\)',
    ),
    (
      lambda s: s.update({'dense.weight': torch.zeros(9, 16)}),
      r'dense.weight is \(9, 16\), expected is \(classes, 16\)',
    ),
    (lambda s: s.update({'dense.weight': torch.zeros(0, 16), 'dense.bias': torch.zeros(0)}), 'dense.bias is'),
    (lambda s: s['conv.bias'].fill_(float('nan')), 'conv.bias holds numbers that are not finite'),
    (lambda s: s.update({'epoch': 3}), 'not a state dict'),
  ],
)
def test_error_names_the_wrong_tensors(tmp_path, change, expected):
  state = state_dict()
  change(state)
  save_zip(tmp_path / 'x.pth', state)
  with pytest.raises(UserError, match=expected):
    audionet.read_audionet(tmp_path / 'x.pth')


class Evil:
  def __init__(self, target):
    self.target = target

  def __reduce__(self):
    return os.mkdir, (str(self.target),)


@needs_torch
@pytest.mark.parametrize('kind', ['zip', 'legacy', 'plain'])
def test_code_in_a_pickle_is_refused(tmp_path, kind):
  evil = {'conv.weight': Evil(tmp_path / 'harmed')}
  if kind == 'plain':
    (tmp_path / 'x.pth').write_bytes(pickle.dumps(evil, protocol=2))
  else:
    FORMATS[kind](tmp_path / 'x.pth', evil)
  with pytest.raises(UserError, match='x.pth: refused, it calls .*mkdir'):
    audionet.read_tensors(tmp_path / 'x.pth')
  assert not (tmp_path / 'harmed').exists()


@pytest.mark.parametrize('kind', FORMATS)
def test_damaged_checkpoints(tmp_path, kind):
  FORMATS[kind](tmp_path / 'x.pth', state_dict())
  whole = (tmp_path / 'x.pth').read_bytes()
  for size in (0, 10, len(whole) // 2, len(whole) - 100):
    (tmp_path / 'x.pth').write_bytes(whole[:size])
    with pytest.raises(UserError, match='x.pth'):
      audionet.read_tensors(tmp_path / 'x.pth')


def test_error_without_torch_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(UserError, match=r"PyTorch: .* scripts/setup torch, or pip install '\.\[torch\]'"):
    audionet.read_tensors(tmp_path / 'x.pth')


def test_class_names(tmp_path):
  model = registry.build('audionet', {'teacher': 1000})
  assert converter.class_names([], model)['teacher'][999] == 'toilet tissue, toilet paper, bathroom tissue'
  two = registry.build('audionet', {'teacher': 2})
  assert converter.class_names([], two) == {'teacher': ['class 0', 'class 1']}
  (tmp_path / 'labels.txt').write_text('a\nb\n')
  with pytest.raises(UserError, match='2 class names, but the weights have 1000'):
    converter.class_names([f'{tmp_path}/labels.txt'], model)
  assert converter.class_names([f'{tmp_path}/labels.txt'], two) == {'teacher': ['a', 'b']}
  assert converter.class_names([f'teacher={tmp_path}/labels.txt'], two) == {'teacher': ['a', 'b']}
  several = registry.build('audionet', {'x': 2, 'y': 3})
  assert converter.class_names([f'x={tmp_path}/labels.txt'], several) == {
    'x': ['a', 'b'],
    'y': ['class 0', 'class 1', 'class 2'],
  }
  for label_files, expected in (
    (['labels.txt'], 'expected HEAD=FILE; the heads are x, y'),
    (['z=labels.txt'], 'expected HEAD=FILE; the heads are x, y'),
    (['x=a', 'x=b'], 'two files for x, a and b; give one'),
  ):
    with pytest.raises(UserError, match=expected):
      converter.class_names(label_files, several)


def convert(*arguments):
  return commands.run('audionet_tf.convert', *arguments)


def test_command(tmp_path):
  save_cuda_0_3(tmp_path / 'x.pth', state_dict(prefix='module.'))
  (tmp_path / 'labels.txt').write_text(''.join(f'name {i}\n' for i in range(CLASSES)))
  done = convert(
    f'--from={tmp_path}/x.pth', '--student=audionet', f'--output={tmp_path}/s.keras', f'--labels={tmp_path}/labels.txt'
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == f'{tmp_path}/s.keras: {16 * 65 + 17 * CLASSES} parameters, 7 classes (teacher)\n'
  settings = json.loads((tmp_path / 's.json').read_text())
  assert settings['classes'] == {'teacher': [f'name {i}' for i in range(CLASSES)]}
  assert (settings['sample_rate_hz'], settings['window_seconds'], settings['mono']) == (16000, 0.04, 'mean')
  assert (tmp_path / 's.keras').is_file()


@needs_torch
@pytest.mark.parametrize(
  'arguments, expected',
  [
    (['--output=s.keras'], '--from'),
    (['--from=x.pth'], '--output'),
    (['--from=x.pth', '--output=s.h5'], '.keras'),
    (['--from=x.t7', '--output=s.keras'], 'audionet from .pth'),
    (['--from=x.pth', '--output=s.keras', '--student=soundnet'], 'audionet|soundnet5|'),
    (['--from=x.pth', '--output=s.keras', '--labels=a=x.txt'], 'x.pth: no such file'),
    (['--from=x.pth', 'x.pth', '--output=s.keras'], 'unexpected argument'),
    (['--from=x.pth', '--output=s.keras', '--sample_rate=3'], 'sample_rate_hz is 3'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  done = convert(*arguments)
  assert done.returncode == 1 and expected in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
