"""Networks of image classification on log-mel patches of 0.96 s, as Hershey et al. 2017 changed them.

Patches of 96 x 64 do not overlap; batch normalization stands behind every convolution, ReLU behind that; no dropout.
Inception V3 has a file of its own.
"""

import keras

from audionet_tf import mel_patches
from audionet_tf.mel_convolution import convolution

PRESET = 'vggish'
BOTTLENECK = 128

FC = (1000, 1000, 1000)
# name, filters (None: max pool), kernel, stride, padding
ALEXNET = (
  ('conv1', 96, 11, (2, 1), 'valid'),
  ('pool1', None, 3, 2, 'valid'),
  ('conv2', 256, 5, 1, 'same'),
  ('pool2', None, 3, 2, 'valid'),
  ('conv3', 384, 3, 1, 'same'),
  ('conv4', 384, 3, 1, 'same'),
  ('conv5', 256, 3, 1, 'same'),
  ('pool5', None, (5, 6), (5, 6), 'valid'),  # not said in the paper: 10 x 12 to 2 x 2 gives its number of weights
)
# filters, convolutions; behind each row a max pool of 2 x 2
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
WIDE = (4096, 4096)
# filters of the inner convolutions, blocks, stride
RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def fc(x):
  """Three layers of 1000: the paper's best of 2 to 6 layers of 500 to 4000."""
  return dense(keras.layers.Flatten(name='flatten')(x), FC, 1)


def dense(x, units, first):
  for number, width in enumerate(units, first):
    x = keras.layers.Dense(width, activation='relu', kernel_initializer='he_normal', name=f'fc{number}')(x)
  return x


def alexnet(x):
  """AlexNet in one tower; the first convolution has stride 2 in time and 1 in frequency."""
  for name, filters, kernel, stride, padding in ALEXNET:
    if filters is None:
      x = keras.layers.MaxPooling2D(kernel, stride, padding, name=name)(x)
    else:
      x = convolution(x, filters, kernel, name, stride, padding)
  return dense(keras.layers.Flatten(name='flatten')(x), WIDE, 6)


def vgg19(x):
  """VGG's configuration E."""
  for block, (filters, count) in enumerate(VGG19, 1):
    for number in range(1, count + 1):
      x = convolution(x, filters, 3, f'conv{block}_{number}')
    x = keras.layers.MaxPooling2D(2, name=f'pool{block}')(x)
  return dense(keras.layers.Flatten(name='flatten')(x), WIDE, 6)


def resnet50(x):
  """ResNet-50 (He et al. 2015) whose first convolution has stride 1, so that its last map is 6 x 4."""
  x = convolution(x, 64, 7, 'conv1')
  x = keras.layers.MaxPooling2D(3, 2, 'same', name='pool1')(x)
  for stage, (filters, blocks, stride) in enumerate(RESNET50, 2):
    for block in range(blocks):
      x = residual(x, filters, stride if block == 0 else 1, f'conv{stage}_{block + 1}')
  return keras.layers.GlobalAveragePooling2D(name='pool')(x)


def residual(x, filters, stride, name):
  """A bottleneck block; its stride is that of the first convolution, as in the paper of 2015."""
  shortcut = x
  if stride != 1 or x.shape[3] != 4 * filters:
    shortcut = convolution(x, 4 * filters, 1, f'{name}_shortcut', stride, activated=False)
  x = convolution(x, filters, 1, f'{name}_1', stride)
  x = convolution(x, filters, 3, f'{name}_2')
  x = convolution(x, 4 * filters, 1, f'{name}_3', activated=False)
  return keras.layers.ReLU(name=name)(keras.layers.Add(name=f'{name}_add')([shortcut, x]))


def student(heads, name, body, bottleneck=None):
  """A student (`mel_patches.student`) of a function of patches.

  Args:
    heads: dict of head name to number of classes.
    name: of the model.
    body: `fc`, `alexnet`, `vgg19`, `resnet50` or `inception_v3.inception_v3`.
    bottleneck: None, or the width of a linear layer before the heads, which is the embedding then: 128 in the paper.
  """

  def narrowed(x):
    return keras.layers.Dense(bottleneck, name='bottleneck')(body(x))

  return mel_patches.student(heads, name, PRESET, narrowed if bottleneck else body)
