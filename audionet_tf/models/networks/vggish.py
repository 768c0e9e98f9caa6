"""VGGish: a shortened VGG, configuration A, on log-mel patches of 0.96 s, with an embedding of width 128.

Source: tensorflow/models, research/audioset/vggish/vggish_slim.py; Hershey et al. 2017, "CNN Architectures for
Large-Scale Audio Classification", section 3.

Layers by name: `conv1` ... `conv4_2` and `fc1_1`, `fc1_2` after ReLU; `fc2` before its activation, as the released
embeddings are. Heads take its ReLU in either case, as its authors advise.
"""

import keras

from audionet_tf.layers.whitened_pca import WhitenedPCA
from audionet_tf.models.networks import patch_classifier

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
  """A student on patches (`patch_classifier.student`), one step every 0.96 s.

  72,141,184 parameters without heads; 863.9 M multiplies per patch.

  Args:
    heads: dict of head name to number of classes.
    activated: whether the embedding is taken after its ReLU, as in the original's code until 2020 and Caption4Sound.
    quantised: whether the outputs include `pca` f32 [B, T, 128], AudioSet's embeddings (`WhitenedPCA`).
    convolutions, dense: tables of layers.

  Returns:
    keras.Model: `waveform` f32 [B, samples] to a dict of `logits/<head>` f32 [B, T, classes], `embedding` f32 [B, 128]
    and, where `quantised`, `pca`.
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
  """`registry.Architecture.layer_windows`: dict of layer name to its table of sliding windows (`receptive_field`)."""
  tables = patch_classifier.layers(PRESET)
  return ({QUANTISED: tables[patch_classifier.HIDDEN]} if quantised else {}) | tables
