"""The log-mel front end against an independent version in NumPy and SciPy."""

import keras
import numpy as np
import numpy_log_mel
import pytest
import tensorflow as tf

from audionet_tf.layers.log_mel import PRESETS, LogMel, windowed_waves, with_transform


def sounds(samples, rate):
  rng, time = np.random.default_rng(0), np.arange(samples) / rate
  impulse = np.zeros(samples)
  impulse[samples // 2] = 1
  return {
    'silence': np.zeros(samples),
    'impulse': impulse,
    'sine': 0.5 * np.sin(2 * np.pi * 1000 * time),
    'noise': rng.uniform(-1, 1, samples),
  }


OTHER = {'sample_rate_hz': 22050, 'window_seconds': 1024 / 22050, 'hop_seconds': 512 / 22050, 'bands': 40}
OTHER |= {'lower_hz': 50.0, 'upper_hz': 11000.0, 'offset': 0.001}


@pytest.mark.parametrize('kind', ['silence', 'impulse', 'sine', 'noise'])
@pytest.mark.parametrize('settings', [PRESETS['vggish'], PRESETS['yamnet'], OTHER], ids=['vggish', 'yamnet', 'other'])
def test_values_equal_numpy_and_scipy(kind, settings):
  waveform = sounds(16000, settings['sample_rate_hz'])[kind].astype(np.float32)
  expected = numpy_log_mel.reference(waveform, **settings)
  np.testing.assert_allclose(LogMel(**settings)(waveform[None])[0], expected, rtol=0, atol=1e-5)


def test_presets_are_as_published():
  published = {'sample_rate_hz': 16000, 'window_seconds': 0.025, 'hop_seconds': 0.01, 'bands': 64}
  published |= {'lower_hz': 125.0, 'upper_hz': 7500.0}
  assert sorted(PRESETS) == ['vggish', 'yamnet']
  assert PRESETS['vggish'] == published | {'offset': 0.01}
  assert PRESETS['yamnet'] == published | {'offset': 0.001}


@pytest.mark.parametrize(('samples', 'frames'), [(400, 1), (559, 1), (560, 2), (15600, 96), (160000, 998)])
def test_frames(samples, frames):
  layer = LogMel(**PRESETS['vggish'])
  assert layer(np.zeros([2, samples], np.float32)).shape == (2, frames, 64)
  assert layer.compute_output_shape((2, samples)) == (2, frames, 64)


def test_saved_layer_keeps_its_settings_and_takes_any_length(tmp_path):
  waveform = keras.Input([None])
  model = keras.Model(waveform, LogMel(**PRESETS['vggish'])(waveform))
  model.save(tmp_path / 'mel.keras')
  again = keras.saving.load_model(tmp_path / 'mel.keras', safe_mode=True)
  sound = np.random.default_rng(1).normal(size=[1, 4000]).astype(np.float32)
  np.testing.assert_array_equal(again(sound), model(sound))
  graph = tf.function(again, input_signature=[tf.TensorSpec([None, None])])
  np.testing.assert_allclose(graph(sound), model(sound), atol=1e-6)


def test_files_without_a_transform_are_read_as_float64():
  config = LogMel(**PRESETS['vggish']).get_config()
  del config['transform']
  assert LogMel.from_config(config).get_config()['transform'] == 'float64'


def test_copy_in_float32_is_close():
  waveform = keras.Input([None])
  outputs = {'out': keras.layers.Dense(3)(LogMel(**PRESETS['yamnet'])(waveform))}
  model = keras.Model(waveform, outputs)
  copy = with_transform(model, 'float32')
  sound = sounds(4000, 16000)['noise'][None].astype(np.float32)
  np.testing.assert_allclose(copy(sound)['out'], model(sound)['out'], atol=1e-4)
  graph = tf.function(copy, input_signature=[tf.TensorSpec([None, None])]).get_concrete_function().graph
  assert not [op for op in graph.get_operations() for x in op.outputs if x.dtype in (tf.float64, tf.complex128)]
  plain = keras.Model(waveform, {'out': keras.layers.ReLU()(waveform)})
  assert with_transform(plain, 'float32') is plain


def test_gradient_towards_the_sound_is_finite_in_silence():
  sound = tf.Variable(tf.zeros([1, 800]))
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(LogMel(**PRESETS['vggish'])(sound))
  assert np.isfinite(tape.gradient(total, sound).numpy()).all()


@pytest.mark.parametrize('preset', PRESETS)
def test_matrix_products_in_place_of_the_fft_are_close_to_float64(preset):
  sound = sounds(4000, 16000)['noise'][None].astype(np.float32)
  expected = LogMel(**PRESETS[preset])(sound).numpy()
  found = LogMel(**PRESETS[preset], transform='matmul')(sound).numpy()
  assert found.shape == expected.shape
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_matrix_of_the_fft_is_that_of_numpy():
  window = np.hanning(12)
  sound = np.random.default_rng(0).normal(size=12)
  expected = np.fft.rfft(sound * window, 16)
  np.testing.assert_allclose(sound @ windowed_waves(window, 16), [*expected.real, *expected.imag], atol=1e-12)
