"""Multi-label metrics: average precision, ROC AUC, d-prime and calibration.

Source: Hershey et al. 2017 ("CNN Architectures for Large-Scale Audio Classification"), section 3.3: balanced means over
classes. scikit-learn computes the areas.
"""

import numpy as np
from scipy import special
from sklearn import metrics

CURVE_POINTS = 200  # kept of each curve
CALIBRATION_BINS = 15
MEANS = ('average_precision', 'roc_auc', 'd_prime')


def d_prime(auc):
  """d' = sqrt(2) Z(AUC): distance of two unit normal distributions with that AUC. Infinite for 0 and 1.

  Source: Hershey et al. 2017, section 3.3.
  """
  return float(np.sqrt(2) * special.ndtri(auc))


def of_class(scores, labels):
  """Computes the metrics of one class.

  Args:
    scores: f32 [clips], finite.
    labels: bool [clips].

  Returns:
    dict: `positives`, the number of clips with the label; `average_precision`, `roc_auc` and `d_prime`; the curves
    `precision_recall` and `roc`, dicts of lists of at most CURVE_POINTS. What is not defined is None: all of them
    without positives, those of the ROC without negatives, `d_prime` for an AUC of 0 or 1.
  """
  positives = int(labels.sum())
  values = dict.fromkeys(('average_precision', 'roc_auc', 'd_prime', 'precision_recall', 'roc'))
  if positives:
    values['average_precision'] = float(metrics.average_precision_score(labels, scores))
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    values['precision_recall'] = thin({'recall': recall[::-1], 'precision': precision[::-1]})
  if 0 < positives < len(labels):
    auc = float(metrics.roc_auc_score(labels, scores))
    values |= {'roc_auc': auc, 'd_prime': d_prime(auc) if 0 < auc < 1 else None}
    false, true, _ = metrics.roc_curve(labels, scores)
    values['roc'] = thin({'false_positive_rate': false, 'true_positive_rate': true})
  return {'positives': positives} | values


def thin(curve):
  """Reduces a curve, a dict of arrays, to lists of at most CURVE_POINTS points, including the first and the last."""
  length = len(next(iter(curve.values())))
  kept = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
  return {name: values[kept].tolist() for name, values in curve.items()}


def means(classes):
  """Averages the metrics over the classes where they are defined, each class with the same weight.

  Args:
    classes: dict of class name to the dict that `of_class` returns.

  Returns:
    dict: MEANS, None where no class has the metric; `d_prime_of_mean_auc`, the figure that Caption4Sound reports; lists
    of the classes left out: `without_positives`, `without_negatives` and `told_apart_perfectly` (d' is infinite, as
    the AUC is 0 or 1).
  """
  averages = {}
  for name in MEANS:
    values = [row[name] for row in classes.values() if row[name] is not None]
    averages[name] = float(np.mean(values)) if values else None
  auc = averages['roc_auc']
  averages['d_prime_of_mean_auc'] = d_prime(auc) if auc is not None and 0 < auc < 1 else None
  averages['without_positives'] = [name for name, row in classes.items() if not row['positives']]
  without_negatives = [name for name, row in classes.items() if row['positives'] and row['roc_auc'] is None]
  perfect = [name for name, row in classes.items() if row['roc_auc'] is not None and row['d_prime'] is None]
  return averages | {'without_negatives': without_negatives, 'told_apart_perfectly': perfect}


class Calibration:
  """Calibration over all classes: are scores the share of clips that have the label? Counts in bins of equal width.

  Source: Naeini, Cooper, Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian binning".
  """

  def __init__(self):
    self.counts, self.scores, self.positives = np.zeros([3, CALIBRATION_BINS])

  def add(self, scores, labels):
    """Counts scores f32 [n] in [0, 1], labels bool [n]."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    for total, weights in ((self.counts, None), (self.scores, scores), (self.positives, labels)):
      total += np.bincount(bins, weights, CALIBRATION_BINS)

  def result(self):
    """The calibration so far.

    Returns:
      dict: `count`, `mean_score` and `share_of_positives`, lists over the bins that are not empty; `error`, the
      expected calibration error: the mean difference of score and share, weighted by the counts.
    """
    used = self.counts > 0
    count = self.counts[used]
    score, share = self.scores[used] / count, self.positives[used] / count
    error = float(np.average(np.abs(score - share), weights=count))
    return {
      'count': count.astype(int).tolist(),
      'mean_score': score.tolist(),
      'share_of_positives': share.tolist(),
      'error': error,
    }
