"""Image classifiers on log-mel patches of 0.96 s: fully connected, AlexNet, VGG-19, Inception V3, ResNet-50.

Source: Hershey et al. 2017, "CNN Architectures for Large-Scale Audio Classification", section 3, which describes the
changes to each image network, and its table of weights and multiplies. Patches of 96 x 64 do not overlap; every
convolution is followed by batch normalization and ReLU; there is no dropout.

A body is a function of patches f32 [N, 96, 64, 1] to f32 [N, width]. Counts below are for one patch and one head of
3,087 classes; "weights" are kernels alone, as in the paper, "parameters" count everything.

Inception V3 (Szegedy et al. 2015): the first four layers of its stem, up to the first max pool, and the auxiliary head
are left out: maps are 96 x 64, 94 x 62, 46 x 30, 22 x 14, 10 x 6. Counted layer by layer these are the 28 M weights of
the paper's table, but 5.44 G multiplies against its 4.7 G: the paper does not say whether the 1 x 1 convolution with 80
filters, whose input now has one channel, was kept; without it they are 4.64 G. The blocks are dicts of branch name to
its convolutions (filters, kernel); the branches are concatenated. The kernel of the last convolution of a branch may be
two kernels, whose outputs are concatenated.
"""

import keras

from audionet_tf.models.networks import patch_classifier

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
  ('pool5', None, (5, 6), (5, 6), 'valid'),  # not in the paper: 10 x 12 to 2 x 2 gives its number of weights
)
# filters, convolutions; each row ends with a max pool of 2 x 2
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
WIDE = (4096, 4096)
# filters of the inner convolutions, blocks, stride
RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def fc(x):
  """Three layers of 1000 units, the paper's best of 2 to 6 layers of 500 to 4000: f32 [N, 96, 64, 1] -> [N, 1000].

  11,237,087 parameters, 11,231,000 of them weights; as many multiplies.
  """
  return dense(keras.layers.Flatten(name='flatten')(x), FC, 1)


def dense(x, units, first):
  """Dense layers with ReLU, `fc<first>` and so on: f32 [N, width] -> f32 [N, units[-1]]."""
  for number, width in enumerate(units, first):
    x = keras.layers.Dense(width, activation='relu', kernel_initializer='he_normal', name=f'fc{number}')(x)
  return x


def alexnet(x):
  """AlexNet in one tower; the first convolution has stride 2 in time, 1 in frequency: f32 [N, 96, 64, 1] -> [N, 4096].

  37,355,247 parameters, 37,338,464 of them weights; 767.6 M multiplies.
  """
  for name, filters, kernel, stride, padding in ALEXNET:
    if filters is None:
      x = keras.layers.MaxPooling2D(kernel, stride, padding, name=name)(x)
    else:
      x = convolution(x, filters, kernel, name, stride, padding)
  return dense(keras.layers.Flatten(name='flatten')(x), WIDE, 6)


def vgg19(x):
  """VGG's configuration E: f32 [N, 96, 64, 1] -> [N, 4096].

  62,055,503 parameters, 62,022,208 of them weights; 2.42 G multiplies.
  """
  for block, (filters, count) in enumerate(VGG19, 1):
    for number in range(1, count + 1):
      x = convolution(x, filters, 3, f'conv{block}_{number}')
    x = keras.layers.MaxPooling2D(2, name=f'pool{block}')(x)
  return dense(keras.layers.Flatten(name='flatten')(x), WIDE, 6)


def resnet50(x):
  """ResNet-50 (He et al. 2015) with stride 1 in its first convolution: f32 [N, 96, 64, 1] -> [N, 2048].

  29,880,143 parameters, 29,770,816 of them weights; 1.86 G multiplies. The last map is 6 x 4.
  """
  x = convolution(x, 64, 7, 'conv1')
  x = keras.layers.MaxPooling2D(3, 2, 'same', name='pool1')(x)
  for stage, (filters, blocks, stride) in enumerate(RESNET50, 2):
    for block in range(blocks):
      x = residual(x, filters, stride if block == 0 else 1, f'conv{stage}_{block + 1}')
  return keras.layers.GlobalAveragePooling2D(name='pool')(x)


def residual(x, filters, stride, name):
  """A bottleneck block: f32 [N, H, W, C] -> f32 [N, H', W', 4 filters]; the first convolution has the stride."""
  shortcut = x
  if stride != 1 or x.shape[3] != 4 * filters:
    shortcut = convolution(x, 4 * filters, 1, f'{name}_shortcut', stride, activated=False)
  x = convolution(x, filters, 1, f'{name}_1', stride)
  x = convolution(x, filters, 3, f'{name}_2')
  x = convolution(x, 4 * filters, 1, f'{name}_3', activated=False)
  return keras.layers.ReLU(name=name)(keras.layers.Add(name=f'{name}_add')([shortcut, x]))


def student(heads, name, body, bottleneck=None):
  """A student on patches (`patch_classifier.student`), one step every 0.96 s.

  Args:
    heads: dict of head name to number of classes.
    name: of the model.
    body: `fc`, `alexnet`, `vgg19`, `resnet50` or `inception_v3`.
    bottleneck: None, or the width of a linear layer before the heads, which becomes the embedding: 128 in the paper.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, T, classes] and `embedding`
    f32 [B, width].
  """

  def with_bottleneck(x):
    return keras.layers.Dense(bottleneck, name='bottleneck')(body(x))

  return patch_classifier.student(heads, name, PRESET, with_bottleneck if bottleneck else body)


# The branch AVERAGE starts with an average pool of 3 x 3, MOST is a max pool of 3 x 3. Saved models carry the names.
AVERAGE, MOST = 'average', 'most'


def block_35(pool_filters):
  """A block on the largest map, 35 x 35 in the original."""
  return {
    '1x1': ((64, 1),),
    '5x5': ((48, 1), (64, 5)),
    '3x3': ((64, 1), (96, 3), (96, 3)),
    AVERAGE: ((pool_filters, 1),),
  }


def block_17(filters):
  """A block on the middle map, 17 x 17 in the original: convolutions of 7 x 7 factorised into 1 x 7 and 7 x 1."""
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
# The last convolution of each branch has stride 2 and no padding.
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
  """Inception V3 without the first four layers of its stem: f32 [N, 96, 64, 1] -> [N, 2048].

  28,094,111 parameters; 5.44 G multiplies (the paper has 4.7 G: see above).
  """
  x = convolution(x, 80, 1, 'stem1', padding='valid', scale=False)
  x = convolution(x, 192, 3, 'stem2', padding='valid', scale=False)
  x = keras.layers.MaxPooling2D(3, 2, name='stem_pool')(x)
  for number, (branches, stride) in enumerate(BLOCKS):
    parts = [branch(x, f'mixed{number}_{name}', name, rows, stride) for name, rows in branches.items()]
    x = keras.layers.Concatenate(name=f'mixed{number}')(parts)
  return keras.layers.GlobalAveragePooling2D(name='pool')(x)


def branch(x, prefix, name, rows, stride):
  """One branch of a block: f32 [N, H, W, C] -> f32 [N, H', W', C'].

  Args:
    x: Keras tensor.
    prefix: beginning of the layers' names.
    name: of the branch.
    rows: its convolutions (filters, kernel).
    stride: of its last convolution, or of its max pool.
  """
  if name == MOST:
    return keras.layers.MaxPooling2D(3, stride, name=f'{prefix}_pool')(x)
  if name == AVERAGE:
    x = keras.layers.AveragePooling2D(3, 1, 'same', name=f'{prefix}_pool')(x)
  for number, (filters, kernel) in enumerate(rows, 1):
    last = stride if number == len(rows) else 1
    if isinstance(kernel, tuple) and isinstance(kernel[0], tuple):
      outputs = [
        convolution(x, filters, size, f'{prefix}_{number}{"ab"[i]}', scale=False) for i, size in enumerate(kernel)
      ]
      return keras.layers.Concatenate(name=prefix)(outputs)
    padding = 'same' if last == 1 else 'valid'
    x = convolution(x, filters, kernel, f'{prefix}_{number}', last, padding, scale=False)
  return x


def convolution(x, filters, kernel, name, stride=1, padding='same', activated=True, scale=True):
  """Convolution without bias, batch normalization, ReLU: layers `<name>_conv`, `<name>_norm`, `<name>`.

  Args:
    x: f32 [N, H, W, C].
    filters, kernel, stride, padding: of keras.layers.Conv2D.
    name: of the activation.
    activated: whether there is a ReLU.
    scale: whether batch normalization has a scale.

  Returns:
    f32 [N, H', W', filters].
  """
  x = keras.layers.Conv2D(
    filters, kernel, stride, padding, use_bias=False, kernel_initializer='he_normal', name=f'{name}_conv'
  )(x)
  norm = keras.layers.BatchNormalization(
    momentum=0.9, scale=scale, epsilon=1e-3, synchronized=True, name=f'{name}_norm'
  )
  x = norm(x)
  return keras.layers.ReLU(name=name)(x) if activated else x
