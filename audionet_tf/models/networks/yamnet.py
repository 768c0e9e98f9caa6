"""YAMNet: MobileNet v1 on log-mel patches of 0.96 s, one every 0.48 s.

Source: tensorflow/models, research/audioset/yamnet/yamnet.py; Howard et al. 2017, "MobileNets: Efficient Convolutional
Neural Networks for Mobile Vision Applications", table 1.

Layers by name: `layer1` ... `layer14` after batch normalization and ReLU, likewise `layer2_depthwise` ...; all batch
normalizations have an offset and no scale. The original pads the sound with silence to complete its last patch, and so
do `infer`, `caption` and `features`. In the windows of training and of exports, an incomplete patch is dropped.
"""

import keras

from audionet_tf.models.networks import patch_classifier

# stride, filters of layers 2 to 14: a depthwise convolution, then a pointwise one
YAMNET = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))
FIRST_FILTERS = 32
EPSILON = 1e-4
CLASSES = 521  # of the published network
PRESET = 'yamnet'


def yamnet(heads, table=YAMNET, first_filters=FIRST_FILTERS):
  """A student on patches (`patch_classifier.student`), one step every 0.48 s.

  With one head of 521 classes 3,751,369 parameters, of which 3,718,016 in kernels, and 69.2 M multiplies per patch.

  Args:
    heads: dict of head name to number of classes.
    table: rows of (stride, filters).
    first_filters: of the first layer.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, T, classes] and `embedding`
    f32 [B, 1024].
  """

  def normalized(x, name):
    x = keras.layers.BatchNormalization(
      momentum=0.9, scale=False, epsilon=EPSILON, synchronized=True, name=f'{name}_norm'
    )(x)
    return keras.layers.ReLU(name=name)(x)

  plain = {'padding': 'same', 'use_bias': False}

  def body(x):
    x = normalized(keras.layers.Conv2D(first_filters, 3, 2, name='layer1_conv', **plain)(x), 'layer1')
    for number, (stride, filters) in enumerate(table, 2):
      name = f'layer{number}'
      depthwise = keras.layers.DepthwiseConv2D(3, stride, name=f'{name}_depthwise_conv', **plain)(x)
      x = normalized(depthwise, f'{name}_depthwise')
      x = normalized(keras.layers.Conv2D(filters, 1, name=f'{name}_conv', **plain)(x), name)
    return keras.layers.GlobalAveragePooling2D(name='pool')(x)  # [N, 1024]

  return patch_classifier.student(heads, 'yamnet', PRESET, body)
