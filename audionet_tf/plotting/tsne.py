"""Two-dimensional maps of features by t-SNE."""

import warnings

import numpy as np

from audionet_tf.core.errors import UserError

PERPLEXITY = 30
FEWEST = 4  # clips of a map


def plane(features, seed=0):
  """t-SNE of features, reproducible by its seed.

  Args:
    features: f32 [clips, width], at least FEWEST clips.
    seed: int.

  Returns:
    f32 [clips, 2].

  Raises:
    UserError: all features are equal.
  """
  import threadpoolctl
  from sklearn import manifold

  clips, width = features.shape
  if not np.ptp(features, axis=0).any():
    raise UserError('all clips have the same features; a map needs clips that differ')
  layout = manifold.TSNE(
    perplexity=min(PERPLEXITY, (clips - 1) / 5),
    learning_rate=max(5, clips / 12) if clips < 600 else 'auto',  # 'auto' is at least 50, with which few points diverge
    init='pca' if width > 1 else 'random',
    random_state=seed,
  )
  # Its threads wait by spinning: next to other work they take ten times as long as a single thread.
  with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
    warnings.simplefilter('ignore', RuntimeWarning)  # PCA divides by a variance of zero where clips are equal
    return layout.fit_transform(features)
