"""The autoencoder against PyTorch, and runs without a teacher, from records to features."""

import json

import media_clips
import numpy as np
import pytest
import soundnets
import synthetic_records
import tensorflow as tf
from torch_or_skip import torch

from audionet_tf.core.errors import UserError
from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from audionet_tf.evaluation import predictor
from audionet_tf.media import decoding
from audionet_tf.models import receptive_field, registry, student_file
from audionet_tf.models.networks import autoencoder
from audionet_tf.representations import extraction, files
from audionet_tf.saved_model import layer_outputs, loader
from audionet_tf.training import callbacks, config, history, run_models, trainer, warm_start

RATE = 16_000
PARAMS = RecordParams(0.25, 0.25, RATE, images_per_window=0)
LAYERS = ['conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'conv4']


@pytest.fixture(scope='module')
def student():
  """A student with random weights; biases of the decoder spread its outputs."""
  model = soundnets.student('autoencoder', {})
  for layer in model.layers:
    if layer.name.startswith('deconv') and layer.weights and layer.name.endswith('conv'):
      layer.bias.assign(np.linspace(-1, 1, layer.bias.shape[0]))
  return model


def normalized(x, layer):
  """A batch normalization layer and ReLU, in PyTorch."""
  gamma, beta, mean, var = (torch.tensor(v.numpy()) for v in layer.weights)
  return torch.relu(torch.nn.functional.batch_norm(x, mean, var, gamma, beta, False, eps=1e-5))


def test_decoder_equals_transposed_convolutions_of_pytorch(student):
  sound = soundnets.noise(2, 5_000)
  hidden = registry.layer_model(student, 'autoencoder', ['conv4'])(sound, training=False)['conv4'].numpy()
  x = torch.tensor(hidden.transpose(0, 2, 1))
  with torch.no_grad():
    # A pool of 8 steps after a convolution of stride s moves the centre by 7 s / 2.
    for name, stride, padding in (
      ('deconv4', 2, 4),
      ('deconv3', 2, 8),
      ('deconv2', 16, 16 - 7),
      ('deconv1', 16, 32 - 7),
    ):
      layer = student.get_layer(name if name == 'deconv1' else f'{name}_conv')
      kernel, bias = (torch.tensor(v.numpy()) for v in layer.weights)  # [size, out, in]
      x = torch.nn.functional.conv_transpose1d(x, kernel.permute(2, 1, 0), bias, stride)[:, :, padding:]
      x = x if name == 'deconv1' else normalized(x, student.get_layer(f'{name}_norm'))
  expected = x.numpy()[:, 0, :5_000]
  outputs = student(sound, training=False)
  np.testing.assert_allclose(outputs['waveform'], expected, atol=1e-4 * np.abs(expected).max())
  np.testing.assert_allclose(outputs['embedding'], hidden.mean(1), rtol=1e-4)


@pytest.mark.parametrize('samples', [222, 1_023, 4_096, 4_097])
def test_reconstruction_has_the_length_of_the_input(student, samples):
  assert student(soundnets.noise(1, samples), training=False)['waveform'].shape == (1, samples)


def test_encoder_is_soundnets_and_decoder_steps_are_centred_in_their_receptive_field():
  eight = registry.network('soundnet8').layer_windows
  assert registry.build('autoencoder', {}).name == 'autoencoder'
  assert registry.network('autoencoder').layer_windows == {name: eight[name] for name in LAYERS}
  assert [row[:4] for row in autoencoder.mirrored(autoencoder.ENCODER)] == [
    ('deconv4', 64, 8, 2),
    ('deconv3', 32, 16, 2),
    ('deconv2', 16, 32, 16),
    ('deconv1', 1, 64, 16),
  ]
  for table in (((64, 2, 32), (8, 8, 0)), ((32, 2, 16), (8, 8, 0)), ((16, 2, 8),), ((8, 2, 4),)):
    (row,) = [row for row in autoencoder.mirrored(autoencoder.ENCODER) if row[2] == table[0][0]]
    assert -row[4] + (row[2] - 1) / 2 == receptive_field.receptive_field(table).first_center


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with records/ of sound without pictures, and run/: two epochs on them."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a': 5, 'b': 4}, PARAMS)
  trainer.train(folder / 'records', folder / 'run', options(epochs=2, per_frame=True), checkpoint_every=1)
  return folder


def options(**changes):
  defaults = {'student': 'autoencoder', 'loss': 'reconstruction', 'teachers': (), 'epochs': 4, 'batch_size': 4}
  return config.TrainingConfig(
    **{**defaults, 'optimizer': 'adam', 'learning_rate': 1e-2, 'loss_reduction': 'mean', **changes}
  )


def test_run_without_teacher_learns_and_reports_squared_error(world):
  rows = [json.loads(line) for line in (world / 'run/metrics.jsonl').read_text().splitlines()]
  assert rows[1]['squared_error'] < 0.9 * rows[0]['squared_error'] and 'kl' not in rows[0]
  stats = json.loads((world / 'run/stats.json').read_text())
  for row, epoch in zip(rows, stats['epochs'], strict=True):
    windows = [value for video in epoch['videos'].values() for value in video['squared_error_per_frame']]
    assert len(windows) == 9
    assert row['squared_error'] == pytest.approx(np.mean(windows), rel=1e-5)
  with pytest.raises(UserError, match='holds no KL of a, but squared_error'):
    history.read_mean_kl(world / 'run')
  assert not list((world / 'records').rglob('*teacher*'))


def test_loss_is_the_mean_square_and_checkpoints_restore(world):
  model, _ = student_file.load(world / 'run/student.keras')
  manifest = records.read_manifest(world / 'records')
  restored = run_models.build_distiller(manifest, [], options(seed=5, per_frame=True))
  assert callbacks.Checkpoints(world / 'run', restored).restore() == 2
  for weights, expected in zip(restored.student.weights, model.get_weights(), strict=True):
    np.testing.assert_array_equal(weights, expected)
  assert int(restored.optimizer.iterations) == 6  # two epochs of nine windows, four at a time
  sound = soundnets.noise(3, PARAMS.window_samples)
  batch = {'audio': sound, 'mask': np.float32([1, 1, 0]), 'video_id': np.array([0, 1, 1]), 'index': np.zeros(3, int)}
  restored.test_step({name: tf.constant(x) for name, x in batch.items()})
  errors = ((model(sound, training=False)['waveform'].numpy() - sound) ** 2).mean(1)
  assert float(restored.means['squared_error'].result()) == pytest.approx(errors[:2].mean(), rel=1e-5)
  np.testing.assert_allclose(restored.video_means.result(), errors[:2], rtol=1e-5)


@pytest.mark.parametrize('model', ['run', 'run/export'])
def test_features_are_read_by_name_with_their_times(world, tmp_path, model):
  sound = soundnets.noise(1, RATE)[0]
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[sound], rate_hz=RATE)
  layers = ['pool1', 'conv4', 'embedding']
  extraction.extract(layer_outputs.load(world / model, layers), [path], tmp_path)
  _, features = files.read(tmp_path / 'a.wav.npz', layers)
  student, settings = student_file.load(world / 'run/student.keras')
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE, settings.mono)])[None] / np.float32(32768)
  expected = registry.layer_model(student, 'autoencoder', layers[:2])(pcm, training=False)
  for layer, values in expected.items():
    centers, _ = registry.step_seconds('autoencoder', RATE, RATE, layer)
    np.testing.assert_allclose(features[layer][0], values[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(features[layer][1], centers, atol=1e-6)
  np.testing.assert_allclose(features['embedding'][0][0], expected['conv4'].numpy()[0].mean(0), rtol=1e-3, atol=1e-4)


def test_export_gives_the_embedding_and_no_classes(world):
  served = loader.load(world / 'run', names=False)
  sound = soundnets.noise(2, 3 * PARAMS.window_samples)
  model, settings = student_file.load(world / 'run/student.keras')
  outputs = served.predict(sound)
  assert set(outputs) == {'embedding'} and settings.classes == {}
  np.testing.assert_allclose(outputs['embedding'], model(sound, training=False)['embedding'], rtol=1e-3, atol=1e-4)
  assert served.windows(sound[0])['embedding'].shape == (3, 128)
  for load in (loader.load, predictor.load_student):
    for path in (world / 'run', world / 'run/export'):
      with pytest.raises(UserError, match='autoencoder has no classes; use features or probe, which read its layers'):
        load(path)


def test_soundnet_warm_starts_from_an_autoencoder(world):
  student = registry.build('soundnet8', {'t': 3})
  copied, new = warm_start.copy_matching_layers(student, world / 'run', PARAMS)
  assert copied == [f'conv{n}_{part}' for n in range(1, 5) for part in ('conv', 'norm')]
  assert 'conv5_conv' in new and 'conv8_t' in new


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'loss': 'kl'}, "loss is 'kl', for autoencoder allowed is reconstruction"),
    ({'student': 'soundnet8'}, "loss is 'reconstruction', for soundnet8 allowed is .*kl or l2"),
    ({'student': 'soundnet8', 'loss': 'l2'}, 'soundnet8 learns from teachers; name one'),
    ({'teachers': (config.TeacherConfig('vgg16'),)}, 'autoencoder has neither teacher nor head'),
    ({'teacher_mode': 'online'}, 'autoencoder has neither teacher nor head'),
  ],
)
def test_contradictory_teachers_and_losses_are_refused(changes, message):
  with pytest.raises(UserError, match=message):
    options(**changes)
