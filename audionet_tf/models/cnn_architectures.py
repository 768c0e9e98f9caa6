"""Image classifiers on log-mel patches of 0.96 s: fully connected, AlexNet, VGG-19, Inception V3, ResNet-50.

Source: Hershey et al. 2017 (CNN Architectures for Large-Scale Audio Classification), section 3, which says how each was
changed. Patches of 96 x 64 do not overlap; batch normalization stands behind every convolution, ReLU behind that; no
dropout.

Inception V3 (Szegedy et al. 2015): the first four layers of its stem, up to the first max pool, and the auxiliary head
are left out: patches of 96 x 64 go 94 x 62, 46 x 30, 22 x 14, 10 x 6. Counted layer by layer these are the 28 M weights
of the paper's table but 5.44 G multiplies, where it has 4.7 G: the paper leaves open whether the convolution of 1 x 1
in 80 filters, which gets one channel now, stayed; without it they are 4.64 G. Its blocks are dicts of branch to the row
of its convolutions (filters, kernel); the branches are concatenated. The last step of a row may be a tuple of two
kernels, side by side.
"""

import keras

from audionet_tf.models import patch_classifier

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
  """A student (`patch_classifier.student`) of a function of patches.

  Args:
    heads: dict of head name to number of classes.
    name: of the model.
    body: `fc`, `alexnet`, `vgg19`, `resnet50` or `cnn_architectures.inception_v3`.
    bottleneck: None, or the width of a linear layer before the heads, which is the embedding then: 128 in the paper.
  """

  def narrowed(x):
    return keras.layers.Dense(bottleneck, name='bottleneck')(body(x))

  return patch_classifier.student(heads, name, PRESET, narrowed if bottleneck else body)


AVERAGE, MOST = 'average', 'most'  # a branch of these names begins, or ends, with a pool of 3 x 3


def block_35(pool_filters):
  return {
    '1x1': ((64, 1),),
    '5x5': ((48, 1), (64, 5)),
    '3x3': ((64, 1), (96, 3), (96, 3)),
    AVERAGE: ((pool_filters, 1),),
  }


def block_17(filters):
  wide, high = (1, 7), (7, 1)
  return {
    '1x1': ((192, 1),),
    '7x7': ((filters, 1), (filters, wide), (192, high)),
    '7x7_twice': ((filters, 1), (filters, high), (filters, wide), (filters, high), (192, wide)),
    AVERAGE: ((192, 1),),
  }


BLOCK_8 = {
  '1x1': ((320, 1),),
  '3x3': ((384, 1), (384, ((1, 3), (3, 1)))),
  '3x3_twice': ((448, 1), (384, 3), (384, ((1, 3), (3, 1)))),
  AVERAGE: ((192, 1),),
}
# Their last convolutions have stride 2 and no padding.
REDUCTION_17 = {'3x3': ((384, 3),), '3x3_twice': ((64, 1), (96, 3), (96, 3)), MOST: ()}
REDUCTION_8 = {'3x3': ((192, 1), (320, 3)), '7x7': ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)), MOST: ()}
BLOCKS = (
  *((block_35(filters), 1) for filters in (32, 64, 64)),
  (REDUCTION_17, 2),
  *((block_17(filters), 1) for filters in (128, 160, 160, 192)),
  (REDUCTION_8, 2),
  (BLOCK_8, 1),
  (BLOCK_8, 1),
)


def inception_v3(x):
  """[N, 96, 64, 1] -> [N, 2048]."""
  x = convolution(x, 80, 1, 'stem1', padding='valid', scale=False)
  x = convolution(x, 192, 3, 'stem2', padding='valid', scale=False)
  x = keras.layers.MaxPooling2D(3, 2, name='stem_pool')(x)
  for number, (branches, stride) in enumerate(BLOCKS):
    parts = [branch(x, f'mixed{number}_{name}', name, rows, stride) for name, rows in branches.items()]
    x = keras.layers.Concatenate(name=f'mixed{number}')(parts)
  return keras.layers.GlobalAveragePooling2D(name='pool')(x)


def branch(x, prefix, name, rows, stride):
  """One branch of a block."""
  if name == MOST:
    return keras.layers.MaxPooling2D(3, stride, name=f'{prefix}_pool')(x)
  if name == AVERAGE:
    x = keras.layers.AveragePooling2D(3, 1, 'same', name=f'{prefix}_pool')(x)
  for number, (filters, kernel) in enumerate(rows, 1):
    last = stride if number == len(rows) else 1
    if isinstance(kernel, tuple) and isinstance(kernel[0], tuple):
      sides = [
        convolution(x, filters, side, f'{prefix}_{number}{"ab"[i]}', scale=False) for i, side in enumerate(kernel)
      ]
      return keras.layers.Concatenate(name=prefix)(sides)
    padding = 'same' if last == 1 else 'valid'
    x = convolution(x, filters, kernel, f'{prefix}_{number}', last, padding, scale=False)
  return x


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
