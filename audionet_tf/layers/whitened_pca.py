"""VGGish's post-processing: PCA with whitening, clipped and quantised to bytes.

Source: tensorflow/models, research/audioset/vggish/vggish_postprocess.py.
"""

import keras


@keras.saving.register_keras_serializable(package='audionet_tf')
class WhitenedPCA(keras.layers.Layer):
  """PCA, clipping and quantisation of VGGish's embeddings.

  Call: f32 [B, T, width] -> f32 [B, T, width] of whole numbers 0 to 255: E (x - mean), clipped to [-2, 2], scaled to
  [0, 255] and truncated. Weights, not trained: `pca_eigen_vectors` E f32 [width, width], `pca_means` f32 [width].
  """

  LIMIT = 2.0

  def __init__(self, **kwargs):
    kwargs['trainable'] = False
    super().__init__(**{'dtype': 'float32'} | kwargs)  # what it rounds to 256 steps must not be rounded before

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
