"""The log-mel spectrogram as a layer: inside the model, so that training, serving and TFLite cannot disagree.

Source: tensorflow/models, research/audioset: vggish/mel_features.py and yamnet/features.py.
"""

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.media import mel

# Arguments of LogMel in VGGish (vggish_params.py) and YAMNet (params.py), which differ in the offset only.
VGGISH = {'sample_rate_hz': 16000, 'window_seconds': 0.025, 'hop_seconds': 0.01, 'bands': 64}
VGGISH |= {'lower_hz': 125.0, 'upper_hz': 7500.0, 'offset': 0.01}
PRESETS = {'vggish': VGGISH, 'yamnet': VGGISH | {'offset': 0.001}}
SCALE = 1024.0  # a power of two, which changes no bit: with it float16, of .tflite files, holds the square of `softest`


@keras.saving.register_keras_serializable(package='audionet_tf')
class SameLevel(keras.layers.Layer):
  """f32 [B, samples] -> the same, each sound made louder or softer until its root mean square is `level`.

  What is softer than `softest`, of digital silence the rounding, is raised as if it were that loud. Mixed precision
  leaves it as it is.
  """

  def __init__(self, level=0.1, softest=1e-5, **kwargs):
    super().__init__(**{'dtype': 'float32'} | kwargs)
    self.level, self.softest = level, softest

  def call(self, waveform):
    power = tf.reduce_mean(tf.square(waveform * SCALE), axis=1, keepdims=True)
    return waveform * (self.level * SCALE * tf.math.rsqrt(tf.maximum(power, (self.softest * SCALE) ** 2)))

  def compute_output_shape(self, input_shape):
    return input_shape

  def get_config(self):
    return super().get_config() | {'level': self.level, 'softest': self.softest}


@keras.saving.register_keras_serializable(package='audionet_tf')
class Contrast(keras.layers.Layer):
  """f32 [B, frames, bands, 1] -> [B, frames, bands, 2]: the spectrogram, and beside it without each band's mean.

  A filter that does not change in time adds a constant to each band: the second channel does not notice it.
  """

  def call(self, x):
    return tf.concat([x, x - tf.reduce_mean(x, axis=1, keepdims=True)], axis=-1)

  def compute_output_shape(self, input_shape):
    return (*input_shape[:-1], 2)


@keras.saving.register_keras_serializable(package='audionet_tf')
class LogMel(keras.layers.Layer):
  """Natural logarithm of the mel bands of the magnitude spectrum, log(mel + offset).

  Call: f32 [B, samples] -> f32 [B, frames, bands], frames = 1 + (samples - window) // hop; the remainder is dropped.
  The Hann window is periodic. `LogMel(**PRESETS['vggish'])` is VGGish's front end. No trainable weights.

  The transform is computed in float64: next to a loud sine the rounding error of float32 reaches a hundredth of the
  offset. Mixed precision leaves it as it is.

  Args:
    sample_rate_hz: of the sound.
    window_seconds, hop_seconds: length and distance of the frames. The transform has the next power of two samples.
    bands, lower_hz, upper_hz: number and range of the mel bands, on HTK's scale.
    offset: added before the logarithm: 0.01 in VGGish, 0.001 in YAMNet.
    transform: 'float64'; 'float32' for TensorFlow Lite, which supports no other; 'unquantized' for its smaller files,
      the same with bands that the converter leaves in float32; or 'matmul' for ONNX, a convolution in place of the FFT.
    **kwargs: of keras.layers.Layer.
  """

  def __init__(
    self,
    sample_rate_hz,
    window_seconds,
    hop_seconds,
    bands,
    lower_hz,
    upper_hz,
    offset,
    transform='float64',
    **kwargs,
  ):
    kwargs['trainable'] = False
    super().__init__(**{'dtype': 'float32'} | kwargs)
    self.settings = {
      'sample_rate_hz': sample_rate_hz,
      'window_seconds': window_seconds,
      'hop_seconds': hop_seconds,
      'bands': bands,
      'lower_hz': lower_hz,
      'upper_hz': upper_hz,
      'offset': offset,
      'transform': transform,
    }
    self.window = round(window_seconds * sample_rate_hz)
    self.hop = round(hop_seconds * sample_rate_hz)
    self.fft_samples = 1 << (self.window - 1).bit_length()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
    if transform == 'matmul':
      self.waves = windowed_waves(hann, self.fft_samples).astype(np.float32)[:, None]
    else:
      self.hann = hann.astype(np.float64 if transform == 'float64' else np.float32)
    self.mel = mel.mel_matrix(bands, self.fft_samples, sample_rate_hz, lower_hz, upper_hz).astype(np.float32)

  def call(self, waveform):
    magnitude, mel = self.magnitude(waveform), self.mel  # [B, frames, fft_samples / 2 + 1]
    if self.settings['transform'] == 'unquantized':  # no constant: with weights in int8, loud bands drown soft ones
      mel = mel * tf.cast(tf.reduce_max(magnitude) >= 0, tf.float32)
    return tf.math.log(tf.matmul(magnitude, mel) + self.settings['offset'])  # [B, frames, bands]

  def magnitude(self, waveform):
    """The magnitude spectrum: f32 [B, samples] -> f32 [B, frames, fft_samples / 2 + 1]."""
    if self.settings['transform'] == 'matmul':
      parts = tf.nn.conv1d(tf.expand_dims(waveform, -1), self.waves, self.hop, 'VALID')  # real, then imaginary
      real, imaginary = tf.split(parts, 2, -1)
      return tf.sqrt(tf.square(real) + tf.square(imaginary))
    frames = tf.signal.frame(waveform, self.window, self.hop)  # [B, frames, window]
    spectrum = tf.signal.rfft(tf.cast(frames, self.hann.dtype) * self.hann, [self.fft_samples])
    return tf.abs(tf.cast(spectrum, tf.complex64))

  def compute_output_shape(self, input_shape):
    samples = input_shape[1]
    frames = None if samples is None else max(0, 1 + (samples - self.window) // self.hop)
    return (input_shape[0], frames, self.settings['bands'])

  def get_config(self):
    return super().get_config() | self.settings


def windowed_waves(window, fft_samples):
  """The real FFT of windowed sound as a matrix, f64 [samples, fft_samples + 2]: cosines, then negative sines."""
  angles = 2 * np.pi * np.outer(np.arange(len(window)), np.arange(fft_samples // 2 + 1)) / fft_samples
  return window[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], 1)


def with_transform(model, transform):
  """A copy of a model, with the same weights, whose LogMel layers use `transform`; the model itself if all do."""
  if transforms(model) <= {transform}:
    return model

  def copied(layer):
    changed = {'transform': transform} if isinstance(layer, LogMel) else {}
    return type(layer).from_config(layer.get_config() | changed)

  copy = keras.models.clone_model(model, clone_function=copied)
  copy.set_weights(model.get_weights())
  return copy


def transforms(model):
  """The set of `transform` of a model's LogMel layers."""
  return {layer.settings['transform'] for layer in model.layers if isinstance(layer, LogMel)}
