"""A convolution with batch normalization and ReLU, as the networks on log-mel patches have it."""

import keras


def convolution(x, filters, kernel, name, stride=1, padding='same', activated=True, scale=True):
  """[N, H, W, C] -> [N, H', W', filters]: layers `<name>_conv`, `<name>_norm` and, where `activated`, `<name>`.

  Args:
    x: Keras tensor.
    filters, kernel, stride, padding: of keras.layers.Conv2D; there is no bias.
    name: of the activation.
    activated: whether a ReLU follows.
    scale: whether batch normalization has one.
  """
  x = keras.layers.Conv2D(
    filters, kernel, stride, padding, use_bias=False, kernel_initializer='he_normal', name=f'{name}_conv'
  )(x)
  norm = keras.layers.BatchNormalization(
    momentum=0.9, scale=scale, epsilon=1e-3, synchronized=True, name=f'{name}_norm'
  )
  x = norm(x)
  return keras.layers.ReLU(name=name)(x) if activated else x
