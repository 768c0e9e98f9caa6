"""SoundNet's tables against the papers' figures, and its layers against PyTorch's."""

import keras
import numpy as np
import pytest
import soundnets
import tensorflow as tf
from torch_or_skip import torch

from audionet_tf.core.errors import UserError
from audionet_tf.models import receptive_field, registry
from audionet_tf.models.networks import soundnet
from audionet_tf.training import run_models

HEADS = {'objects': 1000, 'scenes': 401}


def count(variables):
  return sum(int(np.prod(v.shape)) for v in variables)


@pytest.mark.parametrize(
  ('name', 'trainable', 'running'), [('soundnet8', 14_352_713, 4_064), ('soundnet5', 6_202_137, 960)]
)
def test_parameters(name, trainable, running):
  student = registry.build(name, HEADS)
  assert count(student.trainable_variables) == trainable
  assert count(student.non_trainable_variables) == running


@pytest.mark.parametrize(
  ('seconds', 'pool5', 'conv7', 'conv8', 'soundnet5'),
  [(1, 3, 2, 0, 0), (5, 13, 4, 0, 1), (10, 27, 8, 1, 2), (15, 40, 11, 2, 3), (20, 54, 15, 4, 4), (30, 81, 21, 7, 7)],
)
def test_steps_of_every_length(seconds, pool5, conv7, conv8, soundnet5):
  eight, five = (registry.network(name).layer_windows for name in ('soundnet8', 'soundnet5'))
  tables = [eight['pool5'], eight['conv7'], eight['conv8'], five['conv5']]
  assert [receptive_field.output_length(seconds * 22050, table) for table in tables] == [pool5, conv7, conv8, soundnet5]


def test_network_has_the_steps_of_its_table():
  eight, five = (registry.build(name, {'objects': 2}) for name in ('soundnet8', 'soundnet5'))
  eight = registry.layer_model(eight, 'soundnet8', ['pool5', 'conv7', 'conv8'])
  five = registry.layer_model(five, 'soundnet5', ['conv5'])
  for seconds, steps in ((10, (27, 8, 1, 2)), (15, (40, 11, 2, 3)), (20, (54, 15, 4, 4)), (30, (81, 21, 7, 7))):
    silence = np.zeros([1, seconds * 22050], np.float32)
    activations = {**eight(silence), **five(silence)}
    assert tuple(activations[layer].shape[1] for layer in ('pool5', 'conv7', 'conv8', 'conv5')) == steps


@pytest.mark.parametrize(
  ('network', 'lengths'),
  [
    ('soundnet8', [220_501, 27_562, 13_782, 1_722, 862, 432, 217, 54, 28, 15, 4]),
    ('soundnet5', [220_501, 27_562, 13_782, 1_722, 862, 107, 54, 4]),
  ],
)
def test_steps_of_every_layer_in_twenty_seconds(network, lengths):
  assert [
    receptive_field.output_length(441_000, table) for table in registry.network(network).layer_windows.values()
  ] == lengths


@pytest.mark.parametrize(
  ('samples', 'layer', 'steps'),
  [  # a file of 321 s, and two whose lengths were published
    (7_077_312, 'pool5', 864),
    (7_077_312, 'conv7', 217),
    (7_077_312, 'conv8', 105),
    (1_476_864, 'conv7', 46),
    (2_199_168, 'conv7', 68),
  ],
)
def test_steps_of_long_sounds(samples, layer, steps):
  assert receptive_field.output_length(samples, registry.network('soundnet8').layer_windows[layer]) == steps
  centers, hop = registry.step_seconds('soundnet8', samples, 22_050, layer)
  assert len(centers) == steps and samples / 22_050 - centers[-1] < 14.54 / 2 + hop


def test_shortest_inputs_of_every_layer():
  shortest = dict.fromkeys(['conv1'], 1) | dict.fromkeys(['pool1', 'conv2'], 14)
  shortest |= dict.fromkeys(['pool2', 'conv3', 'conv4', 'conv5'], 222) | dict.fromkeys(
    ['pool5', 'conv6', 'conv7'], 4_574
  )
  for layer, samples in (shortest | {'conv8': 209_374}).items():
    assert registry.shortest_samples('soundnet8', layer) == samples
    assert receptive_field.output_length(samples, registry.network('soundnet8').layer_windows[layer]) == 1
    assert receptive_field.output_length(samples - 1, registry.network('soundnet8').layer_windows[layer]) == 0


def test_shortest_inputs():
  assert [registry.shortest_samples(name) for name in ('soundnet8', 'soundnet5', 'audionet')] == [209_374, 56_798, 1]
  for samples, expected in ((209_373, 0), (209_374, 1), (274_910, 2), (340_446, 3), (405_982, 4)):
    assert receptive_field.output_length(samples, registry.network('soundnet8').layer_windows['conv8']) == expected


@pytest.mark.parametrize(
  ('name', 'seconds', 'suggestion'),
  [('soundnet8', 5, '; use soundnet8_5s, which'), ('soundnet8', 3, '; use soundnet5, which'),
   ('soundnet5', 2, '; use soundnet8_steps, which'), ('vggish', 0.5, r's\)$')],
)  # fmt: skip
def test_error_suggests_a_student_for_shorter_sound(name, seconds, suggestion):
  with pytest.raises(UserError, match=f'too few for one step; the minimum is .*{suggestion}'):
    registry.step_seconds(name, round(22_050 * seconds), 22_050)


def test_receptive_fields():
  layers = registry.network('soundnet8').layer_windows
  assert receptive_field.receptive_field(layers['pool5']) == receptive_field.ReceptiveField(17_438, 8_192, 2_286.5)
  assert receptive_field.receptive_field(layers['conv8']) == receptive_field.ReceptiveField(320_542, 65_536, 104_686.5)
  fields = [
    (receptive_field.receptive_field(layers[name]).size, receptive_field.receptive_field(layers[name]).stride)
    for name in ('conv6', 'conv7')
  ]
  assert fields == [(42_014, 16_384), (91_166, 32_768)]
  centers, hop = registry.step_seconds('soundnet5', 441_000, 22_050)
  np.testing.assert_allclose(centers, [1.29, 5.75, 10.20, 14.66], atol=0.006)
  assert hop == pytest.approx(4.458, abs=5e-4)


@pytest.mark.parametrize('layer', ['conv1', 'pool2', 'pool5', 'conv6', 'conv8'])
def test_step_depends_on_its_receptive_field_only(layer):
  """Gradients of one step in the middle towards the sound are zero outside its receptive field."""
  student = registry.build('soundnet8', {'a': 3})
  model = registry.layer_model(student, 'soundnet8', [layer])
  field = receptive_field.receptive_field(registry.network('soundnet8').layer_windows[layer])
  samples = field.size * 2 + 4 * field.stride + 70_000
  sound = tf.Variable(np.random.default_rng(0).normal(size=[1, samples]).astype(np.float32))
  with tf.GradientTape() as tape:
    activation = model(sound, training=False)[layer]
    number = activation.shape[1] // 2
    loss = tf.reduce_sum(activation[:, number])
  touched = np.flatnonzero(tape.gradient(loss, sound).numpy()[0])
  center = field.first_center + number * field.stride
  assert touched.min() >= center - (field.size - 1) / 2
  assert touched.max() <= center + (field.size - 1) / 2
  if layer == 'conv1':  # no maximum in between: every sample counts
    assert touched.size == field.size


def torch_network(student, table):
  """The same network in PyTorch, with the student's weights: function of f32 [B, samples] to dict of activations."""

  def weight(name):
    return torch.tensor(student.get_layer(name).kernel.numpy().transpose(2, 1, 0))

  def forward(sound):
    x, outputs = torch.tensor(sound)[:, None] * 256, {}
    for name, filters, kernel, stride, padding in table:
      if filters is None:
        x = torch.nn.functional.max_pool1d(x, kernel, stride)
      elif filters == soundnet.HEADS:
        for head in HEADS:
          layer = f'{name}_{head}'
          bias = torch.tensor(student.get_layer(layer).bias.numpy())
          outputs[layer] = torch.nn.functional.conv1d(x, weight(layer), bias, stride, padding)
        continue
      else:
        bias = torch.tensor(student.get_layer(f'{name}_conv').bias.numpy())
        x = torch.nn.functional.conv1d(x, weight(f'{name}_conv'), bias, stride, padding)
        norm = student.get_layer(f'{name}_norm')
        gamma, beta, mean, var = (torch.tensor(v.numpy()) for v in norm.weights)
        x = torch.relu(torch.nn.functional.batch_norm(x, mean, var, gamma, beta, False, eps=1e-5))
      outputs[name] = x
    return {name: y.numpy().transpose(0, 2, 1) for name, y in outputs.items()}

  return forward


@pytest.mark.parametrize(('name', 'table'), [('soundnet8', soundnet.SOUNDNET8), ('soundnet5', soundnet.SOUNDNET5)])
def test_every_layer_equals_pytorchs(name, table):
  keras.utils.set_random_seed(1)
  student = registry.build(name, HEADS)
  rng = np.random.default_rng(2)
  for layer in student.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
      size = layer.gamma.shape
      layer.set_weights(
        [rng.uniform(0.5, 2, size), rng.normal(size=size), rng.normal(size=size), rng.uniform(1, 3, size)]
      )
  sound = rng.uniform(-0.5, 0.5, [2, registry.shortest_samples(name) + 12_345]).astype(np.float32)
  expected = torch_network(student, table)(sound)
  activations = registry.layer_model(student, name, list(expected))(sound, training=False)
  for layer, values in expected.items():
    np.testing.assert_allclose(activations[layer].numpy(), values, atol=1e-4 * np.abs(values).max(), err_msg=layer)
  both = registry.layer_model(student, name, [table[-1][0]])(sound, training=False)[table[-1][0]]
  assert both.shape[2] == 1401


def test_error_for_short_sound_gives_the_minimum():
  student = registry.build('soundnet8', {'a': 3})
  with pytest.raises(Exception, match='at least 209374 samples'):
    student(np.zeros([1, 209_373], np.float32))
  dynamic = tf.function(lambda w: student(w), input_signature=[tf.TensorSpec([None, None])])
  with pytest.raises(tf.errors.InvalidArgumentError, match='at least 209374 samples'):
    dynamic(tf.zeros([1, 100]))
  features = registry.layer_model(student, 'soundnet8', ['pool5'])
  assert features(np.zeros([1, 4_574], np.float32))['pool5'].shape == (1, 1, 256)
  with pytest.raises(Exception, match='at least 4574 samples'):
    features(np.zeros([1, 4_573], np.float32))


def test_per_step_head_is_a_dense_layer_on_conv7():
  student = registry.build('soundnet8_steps', {'a': 3})
  sound = np.random.default_rng(0).uniform(-1, 1, [2, 110_250]).astype(np.float32)
  outputs = registry.layer_model(student, 'soundnet8_steps', ['conv7', 'conv8'])(sound)
  kernel, bias = student.get_layer('conv8_a').get_weights()
  np.testing.assert_allclose(outputs['conv8'], outputs['conv7'].numpy() @ kernel[0] + bias, rtol=1e-4, atol=1e-4)
  centers, _ = registry.step_seconds('soundnet8_steps', 110_250, 22_050)
  np.testing.assert_array_equal(centers, registry.step_seconds('soundnet8', 110_250, 22_050, 'conv7')[0])


def test_soundnet_at_one_level_is_soundnet_on_sound_that_has_it():
  levelled, plain = (soundnets.student(name) for name in ('soundnet8_level', 'soundnet8_steps'))
  sound = soundnets.noise(2, 50_000)
  level = sound * 0.1 / np.sqrt(np.mean(np.square(sound, dtype=np.float64), 1, keepdims=True)).astype(np.float32)
  for key, expected in plain(level, training=False).items():
    for factor in (1, 0.01):
      found = levelled(np.float32(factor) * sound, training=False)[key]
      np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_a_level_is_that_of_the_window():
  """A long sound is cut into windows, each heard at a level of its own, and a window has one answer."""
  assert not registry.network('soundnet8_level').layer_windows
  assert registry.shortest_samples('soundnet8_level') == registry.shortest_samples('soundnet8_steps')
  assert registry.step_seconds('soundnet8_level', 110_250, 22_050) == (np.array([2.5]), 5.0)


@pytest.mark.parametrize(
  ('student', 'rate_hz', 'message'),
  [('soundnet8', 16000, '1.38 times as long'), ('soundnet5', 22050, ''), ('audionet', 16000, '')],
)
def test_warning_for_another_sample_rate(student, rate_hz, message, capsys):
  run_models.warn_of_sample_rate(student, rate_hz)
  line = capsys.readouterr().err
  assert message in line and bool(line) == bool(message)
