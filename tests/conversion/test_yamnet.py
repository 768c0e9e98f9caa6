"""Weights of a small YAMNet against PyTorch, and from its file to captions."""

import dataclasses

import commands
import h5py
import media_clips
import numpy as np
import pytest
import vggish_yamnet_files
from torch_or_skip import torch

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.conversion import vggish_yamnet
from audionet_tf.core.errors import UserError
from audionet_tf.inference import predict
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.models.networks import yamnet
from audionet_tf.saved_model import export, loader, signatures

CLASSES = 4
YAMNET = ((1, 6), (2, 8))


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
  small = dataclasses.replace(registry.STUDENTS['yamnet'], build=lambda heads: yamnet.yamnet(heads, YAMNET, 3))
  monkeypatch.setitem(registry.STUDENTS, 'yamnet', small)


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


def yamnet_in_torch(arrays):
  """f64 [T, CLASSES], from the description of YAMNet."""
  functional, x = torch.nn.functional, vggish_yamnet_files.patches('yamnet', 48)

  def layer(x, scope, kernel, stride, depthwise=False):
    values = arrays[f'{scope}/{scope}/{kernel}:0']
    weights = vggish_yamnet_files.torch_kernel(values.transpose(0, 1, 3, 2) if depthwise else values)
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


def test_yamnet_equals_pytorch(tmp_path):
  arrays = yamnet_arrays()
  path = write_h5(tmp_path / 'yamnet.h5', arrays)
  names = tmp_path / 'map.csv'
  names.write_text('index,mid,display_name\n1,/m/b,"Bark, loud"\n0,/m/a,Speech\n2,/m/c,c\n3,/m/d,d\n')
  model, settings = vggish_yamnet_files.converted(path, 'yamnet', tmp_path, [str(names)])
  vggish_yamnet_files.equals_numpy(model, 'yamnet', ['patch_embedding', 'logits_audioset'])
  assert settings.classes == {'audioset': ['Speech', 'Bark, loud', 'c', 'd']}
  expected = yamnet_in_torch(arrays)
  assert len(expected) == 4
  np.testing.assert_allclose(
    model(vggish_yamnet_files.SOUND[None])['logits/audioset'][0], expected, rtol=1e-4, atol=1e-4
  )


def test_error_names_the_wrong_data_sets(tmp_path):
  def refused(arrays, expected):
    with pytest.raises(UserError, match=expected):
      vggish_yamnet.read_yamnet(write_h5(tmp_path / 'y.h5', arrays))

  arrays = yamnet_arrays()
  norm = 'layer2/depthwise_conv/bn/layer2/depthwise_conv/bn'
  refused({k: v for k, v in arrays.items() if 'layer3/point' not in k}, 'layer3/pointwise_conv/.*kernel:0 is missing')
  refused(arrays | {f'{norm}/beta:0': np.zeros(9)}, rf'{norm}/beta:0 is \(9,\), expected is \(3,\)')
  refused(arrays | {f'{norm}/moving_variance:0': -np.ones(3)}, 'layer2_depthwise_norm has variances below 0')
  refused(arrays | {'logits/logits/bias:0': np.zeros([2, 2])}, r'logits/logits/bias:0 is \(2, 2\)')


def test_data_sets_in_other_files_are_refused(tmp_path):
  arrays = yamnet_arrays()
  bias = arrays.pop('logits/logits/bias:0')
  (tmp_path / 'secret').write_bytes(bias.tobytes())
  path = write_h5(tmp_path / 'y.h5', arrays)
  with h5py.File(path, 'a') as file:
    file.create_dataset('logits/logits/bias:0', (CLASSES,), 'f4', external=[(str(tmp_path / 'secret'), 0, 16)])
  with pytest.raises(UserError, match='bias:0 lies in another file'):
    vggish_yamnet.read_yamnet(path)
  write_h5(tmp_path / 'other.h5', {'bias': bias})
  with h5py.File(path, 'a') as file:
    del file['logits/logits/bias:0']
    file['logits/logits/bias:0'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), 'bias')
  with pytest.raises(UserError, match='bias:0 is missing'):
    vggish_yamnet.read_yamnet(path)


def test_heads_without_class_names_are_not_exported(tmp_path):
  model = registry.build('yamnet', {'audioset': CLASSES})
  settings = student_settings.StudentConfig('yamnet', 16000, 'mean', 0.975, {})
  with pytest.raises(UserError, match="head 'audioset': no class names in the settings"):
    export.export(model, settings, tmp_path)


SMALL_CONVERT = """
import dataclasses, runpy, sys
from audionet_tf.models import registry
from audionet_tf.models.networks import yamnet

build = lambda heads: yamnet.yamnet(heads, {table}, 3)
registry.STUDENTS['yamnet'] = dataclasses.replace(registry.STUDENTS['yamnet'], build=build)
sys.argv[0] = 'audionet_tf.convert'
runpy.run_module('audionet_tf.convert', run_name='__main__')
"""


def test_classes_of_a_converted_yamnet_are_independent(tmp_path):
  """From the published file to captions: two classes with probability 0.95 are in one cue."""
  arrays = yamnet_arrays()
  arrays['logits/logits/kernel:0'][:] = 0
  arrays['logits/logits/bias:0'][:] = [3, -3, 3, -3]
  path = write_h5(tmp_path / 'yamnet.h5', arrays)
  (tmp_path / 'names.txt').write_text('speech\nbark\nmusic\nrain\n')
  (tmp_path / 'convert.py').write_text(SMALL_CONVERT.format(table=YAMNET))
  arguments = [f'--from={path}', f'--labels={tmp_path}/names.txt', f'--output={tmp_path}/y.keras', '--student=yamnet']
  commands.run(tmp_path / 'convert.py', *arguments, check=True)
  model, settings = student_file.load(tmp_path / 'y.keras')
  served = loader.LoadedExport(
    settings, settings.classes['audioset'], signatures.all_signatures(model, settings), model
  )
  sound = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[vggish_yamnet_files.SOUND], rate_hz=16000)
  probability = 1 / (1 + np.exp(-3))
  summary = predict.predict_file(predict.file_predictor(served, ['npz']), sound, tmp_path, 'm')
  np.testing.assert_allclose(summary.probabilities, [probability, 1 - probability] * 2, rtol=1e-5)
  rules = event_detection.DetectionConfig(threshold=0.9)
  (cue,) = captioner.captions(captioner.predictor(served), sound, rules).cues
  assert set(cue.names) == {'speech', 'music'} and cue.start_seconds == 0
