"""Points in a plane for vectors of many numbers: what is alike lies near. NumPy and scikit-learn."""

import warnings

import numpy as np

from audionet_tf.core.errors import UserError

PERPLEXITY = 30
FEWEST = 4  # vectors


def plane(features, seed=0):
  """f32 [clips, 2]: t-SNE of f32 [clips, width], the same for the same seed."""
  import threadpoolctl
  from sklearn import manifold

  clips, width = features.shape
  if not np.ptp(features, axis=0).any():
    raise UserError('all clips have the same features: there is nothing to lay out')
  layout = manifold.TSNE(
    perplexity=min(PERPLEXITY, (clips - 1) / 5),
    learning_rate=max(5, clips / 12) if clips < 600 else 'auto',  # 'auto' is 50 or more: few points fly apart
    init='pca' if width > 1 else 'random',
    random_state=seed,
  )
  # Its threads wait for each other by spinning: on a machine with other work, ten times as long as one alone.
  with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
    warnings.simplefilter('ignore', RuntimeWarning)  # where clips are equal, PCA divides by a spread of zero
    return layout.fit_transform(features)
