"""VGGish: VGG's configuration A, shortened, on patches of 0.96 s, to an embedding of 128.

Layers by name: `conv1` ... `conv4_2` and `fc1_1`, `fc1_2` after ReLU; `fc2` before its activation, as the released
embeddings are. Heads stand on its ReLU in either case, as its authors advise.
"""

import keras

from audionet_tf.layers.whitened_pca import WhitenedPCA
from audionet_tf.models import patch_classifier

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
  """A student (`patch_classifier.student`): 72,141,184 parameters without heads.

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
  model = patch_classifier.student(heads, name, PRESET, body, keras.layers.ReLU(name='classifier_input'))
  if not quantised:
    return model
  x = WhitenedPCA(name=QUANTISED)(model.get_layer(patch_classifier.HIDDEN).output)
  return keras.Model(model.input, model.output | {QUANTISED: x}, name=name)


def layers(quantised=False):
  """As `patch_classifier.layers`."""
  tables = patch_classifier.layers(PRESET)
  return ({QUANTISED: tables[patch_classifier.HIDDEN]} if quantised else {}) | tables
