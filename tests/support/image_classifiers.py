"""A tiny classifier of pictures as a Keras model, SavedModel and TFLite model, and in NumPy. Shared by tests."""

import keras
import numpy as np
import tensorflow as tf

SIZE, CLASSES = 8, 3
RNG = np.random.default_rng(5)
KERNEL = RNG.normal(0, 4, [3, CLASSES]).astype(np.float32)
BIAS = RNG.normal(0, 1, CLASSES).astype(np.float32)
IMAGES = (RNG.integers(0, 2, [6, 1, 1, 3]) * 155 + RNG.integers(0, 100, [6, SIZE, SIZE, 3])).astype(np.uint8)


def softmax(logits):
  powers = np.exp(logits - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def expected(images, low, high):
  """The tiny classifier in NumPy: mean colour, from `low` (black) to `high` (white), times a matrix, softmax."""
  colours = images.astype(np.float64).mean((1, 2)) / 255 * (high - low) + low
  return softmax(colours @ KERNEL + BIAS)


def keras_classifier(scale=1 / 255, activation='softmax'):
  """The tiny classifier for pictures in 0..255, preprocessing inside."""
  pictures = keras.Input([SIZE, SIZE, 3])
  x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(scale)(pictures))
  model = keras.Model(pictures, keras.layers.Dense(CLASSES, activation=activation, name='top')(x))
  model.get_layer('top').set_weights([KERNEL, BIAS])
  return model


class Classifier(tf.Module):
  """The tiny classifier as a SavedModel or TFLite model; uint8 pictures are brought to [0, 1] inside."""

  def __init__(self, batch=None, dtype=tf.float32, last=tf.nn.softmax):
    super().__init__()
    self.kernel, self.last = tf.Variable(KERNEL), last
    self.function = tf.function(self.answer, [tf.TensorSpec([batch, SIZE, SIZE, 3], dtype, 'pictures')])

  def answer(self, pictures):
    if pictures.dtype == tf.uint8:
      pictures = tf.cast(pictures, tf.float32) / 255
    return {'scores': self.last(tf.reduce_mean(pictures, [1, 2]) @ self.kernel + BIAS)}

  def save(self, path):
    tf.saved_model.save(self, str(path), signatures={'serving_default': self.function})
    return path

  def to_tflite(self, path, quantised=None):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([self.function.get_concrete_function()], self)
    if quantised:
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      pictures = IMAGES.astype(np.float32) / 127.5 - 1
      converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
      converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
      converter.inference_input_type, converter.inference_output_type = quantised
    path.write_bytes(converter.convert())
    return path
