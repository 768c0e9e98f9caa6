"""How well scores tell clips with a label from clips without: average precision, ROC AUC, d', calibration.

Source: Hershey et al. 2017, section 3.3 (balanced means over classes); scikit-learn computes the areas.
"""

import numpy as np
from scipy import special
from sklearn import metrics

CURVE_POINTS = 200  # of a curve that is kept
CALIBRATION_BINS = 15
MEANS = ('average_precision', 'roc_auc', 'd_prime')


def d_prime(auc):
  """sqrt(2) Z(AUC): how many deviations two normal distributions of that AUC lie apart. Infinite for 0 and 1."""
  return float(np.sqrt(2) * special.ndtri(auc))


def of_class(scores, labels):
  """What is measured of one class.

  Args:
    scores: f32 [clips], finite.
    labels: bool [clips].

  Returns:
    dict: `positives`; `average_precision`, `roc_auc`, `d_prime`, None where they are not defined (no positives; no
    negatives; an AUC of 0 or 1); `precision_recall` and `roc`, dicts of lists, thinned to CURVE_POINTS; None likewise.
  """
  positives = int(labels.sum())
  found = dict.fromkeys(('average_precision', 'roc_auc', 'd_prime', 'precision_recall', 'roc'))
  if positives:
    found['average_precision'] = float(metrics.average_precision_score(labels, scores))
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    found['precision_recall'] = thinned({'recall': recall[::-1], 'precision': precision[::-1]})
  if 0 < positives < len(labels):
    auc = float(metrics.roc_auc_score(labels, scores))
    found |= {'roc_auc': auc, 'd_prime': d_prime(auc) if 0 < auc < 1 else None}
    false, true, _ = metrics.roc_curve(labels, scores)
    found['roc'] = thinned({'false_positive_rate': false, 'true_positive_rate': true})
  return {'positives': positives} | found


def thinned(curve):
  """A curve, a dict of arrays, as lists of at most CURVE_POINTS points, the first and the last among them."""
  length = len(next(iter(curve.values())))
  kept = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
  return {name: values[kept].tolist() for name, values in curve.items()}


def means(classes):
  """Balanced means over the classes where a measure is defined, and who was left out.

  Args:
    classes: dict of class name to the dict of `of_class`.

  Returns:
    dict: MEANS, each None where no class has it; `d_prime_of_mean_auc`, as Caption4Sound gives it;
    `without_positives`, `without_negatives`, `told_apart_perfectly` (or the wrong way round: d' is infinite): names.
  """
  found = {}
  for name in MEANS:
    values = [row[name] for row in classes.values() if row[name] is not None]
    found[name] = float(np.mean(values)) if values else None
  auc = found['roc_auc']
  found['d_prime_of_mean_auc'] = d_prime(auc) if auc is not None and 0 < auc < 1 else None
  found['without_positives'] = [name for name, row in classes.items() if not row['positives']]
  lacking = [name for name, row in classes.items() if row['positives'] and row['roc_auc'] is None]
  perfect = [name for name, row in classes.items() if row['roc_auc'] is not None and row['d_prime'] is None]
  return found | {'without_negatives': lacking, 'told_apart_perfectly': perfect}


class Calibration:
  """Whether scores are the shares of clips that have the label: counts in bins of equal width, of all classes."""

  def __init__(self):
    self.counts, self.scores, self.positives = np.zeros([3, CALIBRATION_BINS])

  def add(self, scores, labels):
    """Counts scores f32 [n] in [0, 1], labels bool [n]."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    for total, weights in ((self.counts, None), (self.scores, scores), (self.positives, labels)):
      total += np.bincount(bins, weights, CALIBRATION_BINS)

  def result(self):
    """dict: `count`, `mean_score`, `share_of_positives`, a list each of the bins that are not empty; `error`: the mean
    distance of the two, weighted by the counts (Naeini et al. 2015).
    """
    there = self.counts > 0
    count = self.counts[there]
    score, share = self.scores[there] / count, self.positives[there] / count
    error = float(np.average(np.abs(score - share), weights=count))
    return {
      'count': count.astype(int).tolist(),
      'mean_score': score.tolist(),
      'share_of_positives': share.tolist(),
      'error': error,
    }
