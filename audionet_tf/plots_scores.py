"""Figures of scores against labels: precision and recall, ROC, calibration."""

import numpy as np
from matplotlib.figure import Figure

from audionet_tf.plots import COLOURS

MOST_CURVES = len(COLOURS)


def curves(classes, calibration, title=''):
  """Three panels: precision over recall, true over false positives, share of positives over score.

  Of more than MOST_CURVES classes those are drawn that lie evenly in the order of their average precision.

  Args:
    classes: dict of class name to the dict of `score_metrics.of_class`, falling by average precision.
    calibration: of `score_metrics.Calibration.result`.
    title: str.
  """
  figure = Figure(figsize=(15, 5), layout='constrained')
  left, middle, right = figure.subplots(1, 3)
  for axes in (left, middle, right):
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect='equal')
    axes.grid(alpha=0.3)
  drawn = [name for name, row in classes.items() if row['roc']]
  chosen = np.unique(np.linspace(0, len(drawn) - 1, min(len(drawn), MOST_CURVES)).round().astype(int))
  for colour, name in zip(COLOURS, [drawn[number] for number in chosen], strict=False):
    row = classes[name]
    both = row['precision_recall']
    shown = f'{name[:30]} {row["average_precision"]:.3f}'.replace('$', r'\$').lstrip('_')
    left.step(both['recall'], both['precision'], where='post', color=colour, label=shown)
    middle.plot(row['roc']['false_positive_rate'], row['roc']['true_positive_rate'], color=colour)
  if drawn:
    left.legend(fontsize=8, title='class, average precision')
  middle.plot([0, 1], [0, 1], color='grey', linestyle=':')
  right.plot([0, 1], [0, 1], color='grey', linestyle=':')
  right.plot(calibration['mean_score'], calibration['share_of_positives'], 'o-', color=COLOURS[0])
  left.set(xlabel='recall', ylabel='precision')
  middle.set(xlabel='false positives, share', ylabel='true positives, share', title='ROC')
  right.set(
    xlabel='score', ylabel='clips with the label, share', title=f'calibration: error {calibration["error"]:.3f}'
  )
  left.set_title(title or 'precision and recall', parse_math=False)
  return figure
