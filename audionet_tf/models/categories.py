"""A student's classes summed up to categories, and a last one, `unknown`, for sound unlike what it has learned.

Two layers behind a trained student (`category_layers`): its file and its exports hold them.

A sound is known as far as its embedding lies near those of known sounds and not near those of others: the mean of the
three largest cosines to the one, less a third of that to the other. Source: Sun et al. 2022, "Out-of-distribution
detection with deep nearest neighbors", section 3; that other sounds are there too is our own.
"""

import dataclasses

import keras
import numpy as np

from audionet_tf.data.tables.class_lists import UNKNOWN
from audionet_tf.layers import categories
from audionet_tf.models import heads

HEAD = 'category'


def familiarity_of(known, others):
  """The layer Familiarity for embeddings of known and of other sounds, f32 [N, width]."""
  layer = categories.Familiarity(len(known), len(others), name='familiarity')
  layer.build((None, known.shape[1]))
  layer.set_weights([(x / np.linalg.norm(x, axis=1, keepdims=True)).T for x in (known, others)])
  return layer


def calibrated(known, others, missed=0.02):
  """(threshold, slope) from the familiarity of held-out known sounds and of other ones, f32 [N] each.

  The share `missed` of the known lies below the threshold; the slope is that of a logistic regression, both kinds
  weighing alike.
  """
  from sklearn.linear_model import LogisticRegression

  values, labels = np.concatenate([known, others])[:, None], np.repeat([1, 0], [len(known), len(others)])
  slope = LogisticRegression(C=1e3, class_weight='balanced').fit(values, labels).coef_[0, 0]
  return float(np.quantile(known, missed)), float(slope)


def added(model, settings, groups, familiarity, threshold, slope):
  """(model, settings) with a first head `category`, whose names are those of the groups and `unknown`.

  Args:
    model, settings: of a student.
    groups: dict of category to positions of classes of its first head.
    familiarity: of `familiarity_of`.
    threshold, slope: of `calibrated`.
  """
  first = next(iter(settings.classes))
  members = [list(map(int, of)) for of in groups.values()]
  layer = categories.Categories(members, threshold, slope, name=f'logits_{HEAD}')
  logits = layer([model.output[heads.LOGITS + first], familiarity(model.output['embedding'])])
  found = keras.Model(model.input, {heads.LOGITS + HEAD: logits, **model.output}, name=model.name)
  names = {HEAD: [*groups, UNKNOWN], **settings.classes}
  return found, dataclasses.replace(settings, classes=names)
