"""VGGish: VGG's configuration A, shortened, on patches of 0.96 s, to an embedding of 128.

Layers by name: `conv1` ... `conv4_2` and `fc1_1`, `fc1_2` after ReLU; `fc2` before its activation, as the released
embeddings are. Heads stand on its ReLU in either case, as its authors advise.
"""

import keras

from audionet_tf import attention, mel_patches

# name, filters; None: max pool
CONVOLUTIONS = (
  ('conv1', 64),
  ('pool1', None),
  ('conv2', 128),
  ('pool2', None),
  ('conv3_1', 256),
  ('conv3_2', 256),
  ('pool3', None),
  ('conv4_1', 512),
  ('conv4_2', 512),
  ('pool4', None),
)
DENSE = (('fc1_1', 4096), ('fc1_2', 4096), ('fc2', 128))
PRESET = 'vggish'
QUANTISED = 'pca'


def vggish(heads, activated=False, quantised=False, convolutions=CONVOLUTIONS, dense=DENSE):
  """A student (`mel_patches.student`): 72,141,184 parameters without heads.

  Args:
    heads: dict of head name to number of classes.
    activated: whether the embedding is taken behind its ReLU: so did the original's code until 2020, and Caption4Sound.
    quantised: whether there is a layer `pca` [B, T, 128], `WhitenedPCA`: AudioSet's embeddings.
    convolutions, dense: tables.
  """
  initial = {'kernel_initializer': keras.initializers.TruncatedNormal(0, 0.01)}

  def body(x):
    for layer, filters in convolutions:
      if filters is None:
        x = keras.layers.MaxPooling2D(2, padding='same', name=layer)(x)
      else:
        x = keras.layers.Conv2D(filters, 3, padding='same', activation='relu', name=layer, **initial)(x)
    x = keras.layers.Flatten(name='flatten')(x)  # [N, 6 x 4 x 512]
    for layer, units in dense[:-1]:
      x = keras.layers.Dense(units, activation='relu', name=layer, **initial)(x)
    layer, units = dense[-1]
    x = keras.layers.Dense(units, name=layer, **initial)(x)
    return keras.layers.ReLU(name='fc2_relu')(x) if activated else x

  name = 'vggish' + ('_relu' if activated else '') + ('_pca' if quantised else '')
  model = mel_patches.student(heads, name, PRESET, body, keras.layers.ReLU(name='classifier_input'))
  if not quantised:
    return model
  x = WhitenedPCA(name=QUANTISED)(model.get_layer(mel_patches.HIDDEN).output)
  return keras.Model(model.input, model.output | {QUANTISED: x}, name=name)


def attended(heads, body=vggish):
  """Caption4Sound from the sound on: `attention.caption4sound` on the quantised embeddings of a VGGish.

  VGGish stays as it is: no gradient passes the rounding. Its weights come from another student (`train --init`).

  Args:
    heads: dict of head name to number of classes.
    body: function of (heads, quantised) to VGGish.
  """
  front = body({}, quantised=True)
  for layer in front.layers:
    layer.trainable = False
  outputs = attention.caption4sound(front.output[QUANTISED], heads)
  return keras.Model(front.input, outputs, name='vggish_attention')


def layers(quantised=False):
  """As `mel_patches.layers`."""
  tables = mel_patches.layers(PRESET)
  return ({QUANTISED: tables[mel_patches.HIDDEN]} if quantised else {}) | tables


@keras.saving.register_keras_serializable(package='audionet_tf')
class WhitenedPCA(keras.layers.Layer):
  """VGGish's post-processing: f32 [B, T, width] -> f32 [B, T, width] of whole numbers 0 to 255.

  E (x - mean), clipped to [-2, 2], scaled to 0 ... 255, cut to whole numbers. Its weights are `pca_eigen_vectors` (E)
  and `pca_means`; they are not trained.
  """

  LIMIT = 2.0

  def __init__(self, **kwargs):
    kwargs['trainable'] = False
    super().__init__(**kwargs)

  def build(self, input_shape):
    width = input_shape[-1]
    self.eigen_vectors = self.add_weight(
      shape=[width, width], initializer='identity', trainable=False, name='pca_eigen_vectors'
    )
    self.means = self.add_weight(shape=[width], initializer='zeros', trainable=False, name='pca_means')

  def call(self, x):
    components = keras.ops.matmul(x - self.means, keras.ops.transpose(self.eigen_vectors))
    clipped = keras.ops.clip(components, -self.LIMIT, self.LIMIT)
    return keras.ops.floor((clipped + self.LIMIT) * (255 / (2 * self.LIMIT)))
