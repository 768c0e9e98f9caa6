"""The signature `layers`: every layer with its times, for sound of any length."""

import numpy as np
import pytest
import soundnets
import tensorflow as tf

from audionet_tf.models import receptive_field, registry, student_settings
from audionet_tf.saved_model import export, loader, signatures

SETTINGS = soundnets.settings('soundnet5', window_seconds=3.0)


@pytest.fixture(scope='module')
def model():
  return soundnets.student('soundnet5')


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
  return loader.load(export.export(model, SETTINGS, tmp_path_factory.mktemp('export')))


@pytest.mark.parametrize('samples', [0, 1, 100, 5_000, 20_000, 56_797, 56_798, 130_000])
def test_layers_for_sound_of_any_length(model, exported, samples):
  sound = soundnets.noise(2, samples)
  outputs = exported.signatures['layers'](waveform=tf.constant(sound))
  tables = registry.network('soundnet5').layer_windows
  tables = tables | {'conv5_teacher': tables['conv5']}
  assert set(outputs) == {name + suffix for name in tables for suffix in ('', '/center_seconds')}
  for name, table in tables.items():
    count = receptive_field.output_length(samples, table)
    assert outputs[name].shape[:2] == (2, count)
    if count:
      expected = registry.layer_model(model, 'soundnet5', [name])(sound, training=False)[name].numpy()
      np.testing.assert_allclose(outputs[name], expected, atol=1e-5 * np.abs(expected).max())
      centers = registry.step_seconds('soundnet5', samples, 22_050, name.removesuffix('_teacher'))[0]
      np.testing.assert_allclose(outputs[f'{name}/center_seconds'], centers, rtol=1e-6)


def test_serving_default_names_the_minimum_length(exported):
  assert exported.predict(soundnets.noise(1, 56_798))['logits'].shape == (1, 7)
  with pytest.raises(tf.errors.InvalidArgumentError, match='at least 56798 samples'):
    exported.predict(soundnets.noise(1, 56_797))


@pytest.mark.parametrize('samples', [0, 1, 2_205, 44_100, 66_150, 140_000])
def test_windows_repeat_short_sound(model, exported, samples):
  sound = soundnets.noise(1, samples)[0]
  repeated = np.tile(sound, -(-66_150 // samples))[:66_150] if samples else np.zeros(66_150, np.float32)
  windows = (sound[: samples // 66_150 * 66_150] if samples >= 66_150 else repeated).reshape(-1, 66_150)
  outputs = exported.windows(sound)
  expected = model(windows, training=False)['logits/teacher'].numpy().mean(1)
  np.testing.assert_allclose(outputs['logits'], expected, atol=1e-4 * np.abs(expected).max())
  ends = [min(3.0 * (i + 1), samples / 22_050) for i in range(len(windows))]  # of the sound, not of its repeats
  np.testing.assert_allclose(outputs['end_seconds'], ends, rtol=1e-6)


def test_audionet_has_no_signature_layers():
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': ['a']})
  assert set(signatures.all_signatures(registry.build('audionet', {'teacher': 1}), settings)) == {
    'serving_default',
    'windows',
  }
