"""The log-mel spectrogram as a layer: inside the model, so that training, serving and TFLite cannot disagree."""

import keras
import numpy as np
import tensorflow as tf

# Keys of a batch, f32 [B, 2]: where a stretch of the spectrogram that is hidden begins and ends, in shares of its axis.
HIDDEN_TIME, HIDDEN_FREQUENCY = 'hidden/time', 'hidden/frequency'

# Arguments of LogMel as VGGish and YAMNet have them: they differ in the offset.
VGGISH = {'sample_rate_hz': 16000, 'window_seconds': 0.025, 'hop_seconds': 0.01, 'bands': 64}
VGGISH |= {'lower_hz': 125.0, 'upper_hz': 7500.0, 'offset': 0.01}
PRESETS = {'vggish': VGGISH, 'yamnet': VGGISH | {'offset': 0.001}}


def hertz_to_mel(hertz):
  """HTK's mel scale."""
  return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


def mel_matrix(bands, fft_samples, sample_rate_hz, lower_hz, upper_hz):
  """f64 [fft_samples / 2 + 1, bands]: triangles, linear in mel, of height 1; nothing of the DC bin.

  Source: mel_features.py of VGGish.
  """
  mels = hertz_to_mel(np.arange(fft_samples // 2 + 1) * sample_rate_hz / fft_samples)[:, None]
  edges = np.linspace(hertz_to_mel(lower_hz), hertz_to_mel(upper_hz), bands + 2)
  rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
  matrix = np.maximum(0, np.minimum(rising, falling))
  matrix[0] = 0
  return matrix


def hide(spectrogram, batch):
  """The spectrogram [B, frames, bands] with the stretches hidden that the batch names: its mean stands there."""
  mean = tf.reduce_mean(spectrogram, [1, 2], keepdims=True)
  for key, axis in ((HIDDEN_TIME, 1), (HIDDEN_FREQUENCY, 2)):
    if key in batch:
      count = tf.shape(spectrogram)[axis]
      places = (tf.range(count, dtype=tf.float32) + 0.5) / tf.cast(count, tf.float32)
      hidden = (places >= batch[key][:, :1]) & (places < batch[key][:, 1:])  # [B, count]
      spectrogram = tf.where(tf.expand_dims(hidden, 3 - axis), mean, spectrogram)
  return spectrogram


@keras.saving.register_keras_serializable(package='audionet_tf')
class LogMel(keras.layers.Layer):
  """log(mel bands of the magnitude spectrum + offset).

  Call: f32 [B, samples] -> f32 [B, frames, bands], frames = 1 + (samples - window) // hop; what is left over is
  dropped. The Hann window is periodic. `LogMel(**PRESETS['vggish'])` is VGGish's.

  The transform is computed in float64: beside a loud sine, the rounding of float32 is a hundredth of the offset.

  Args:
    sample_rate_hz: of the sound.
    window_seconds, hop_seconds: of the frames; the transform has the next power of two.
    bands, lower_hz, upper_hz: the mel bands, HTK's scale.
    offset: added before the logarithm: 0.01 in VGGish, 0.001 in YAMNet.
    transform: 'float64', or 'float32' for TensorFlow Lite, which knows no other.
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
    super().__init__(**kwargs)
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
    self.hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)).astype(transform)
    self.mel = mel_matrix(bands, self.fft_samples, sample_rate_hz, lower_hz, upper_hz).astype(np.float32)

  def call(self, waveform):
    frames = tf.signal.frame(waveform, self.window, self.hop)  # [B, frames, window]
    spectrum = tf.signal.rfft(tf.cast(frames, self.hann.dtype) * self.hann, [self.fft_samples])
    magnitude = tf.abs(tf.cast(spectrum, tf.complex64))  # [B, frames, fft_samples / 2 + 1]
    return tf.math.log(tf.matmul(magnitude, self.mel) + self.settings['offset'])  # [B, frames, bands]

  def compute_output_shape(self, input_shape):
    samples = input_shape[1]
    frames = None if samples is None else max(0, 1 + (samples - self.window) // self.hop)
    return (input_shape[0], frames, self.settings['bands'])

  def get_config(self):
    return super().get_config() | self.settings


def in_float32(model):
  """The model itself, or where it has a LogMel a copy, with the same weights, whose transforms are in float32."""
  if not any(isinstance(layer, LogMel) for layer in model.layers):
    return model

  def copied(layer):
    changed = {'transform': 'float32'} if isinstance(layer, LogMel) else {}
    return type(layer).from_config(layer.get_config() | changed)

  copy = keras.models.clone_model(model, clone_function=copied)
  copy.set_weights(model.get_weights())
  return copy
