"""Inception V3 (Szegedy et al. 2015) on log-mel patches, as Hershey et al. 2017 changed it.

The first four layers of its stem, up to the first max pool, and the auxiliary head are left out: patches of 96 x 64 go
94 x 62, 46 x 30, 22 x 14, 10 x 6.

Counted layer by layer these are the 28 M weights of the paper's table but 5.44 G multiplies, where it has 4.7 G: the
paper leaves open whether the convolution of 1 x 1 in 80 filters, which hears one channel now, stayed; without it they
are 4.64 G.

A block is a dict of branch to its row of convolutions (filters, kernel); the branches are concatenated. The last step
of a row may be a tuple of two kernels, side by side.
"""

import keras

from audionet_tf.mel_convolution import convolution

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
