"""Curves: KL over the epochs, precision and recall, ROC, calibration."""

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from audionet_tf.plotting import style
from audionet_tf.plotting.style import COLOURS, MOST_LINES

MOST_CURVES = len(COLOURS)


def curves(classes, calibration, title=''):
  """Three panels: precision over recall, true over false positives (ROC), share of positives over score (calibration).

  Of more than MOST_CURVES classes it draws those at even ranks of average precision.

  Args:
    classes: dict of class name to the dict of `evaluation.metrics.of_class`, in descending order of average precision.
    calibration: dict of `evaluation.metrics.Calibration.result`.
    title: str.

  Returns:
    matplotlib Figure.
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
    curve = row['precision_recall']
    label = f'{name[:30]} {row["average_precision"]:.3f}'.replace('$', r'\$').lstrip('_')
    left.step(curve['recall'], curve['precision'], where='post', color=colour, label=label)
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


def kl_per_video(epochs, table):
  """Mean KL of every video over epochs, and the mean of all.

  With more than 24 videos, all but the ten lowest and the ten highest at the end are grey, as a legend of more is not
  readable. Source: Bryce 2018, figure 3.

  Args:
    epochs: int [E], numbers of the epochs.
    table: dict of video name to float [E], nats, NaN where there is no value.

  Returns:
    matplotlib Figure.
  """
  names = sorted(table)
  coloured = names if len(names) <= MOST_LINES else extremes(table, 10)
  figure = Figure(figsize=(10, 5.6), layout='constrained')
  axes = figure.add_subplot()
  marker = 'o' if len(epochs) <= 12 else None
  others = sorted(set(names) - set(coloured))
  greys = [axes.plot(epochs, table[name], color='0.8', linewidth=0.6, zorder=1)[0] for name in others]
  handles = [
    axes.plot(epochs, table[name], marker=marker, linewidth=1.3, zorder=2, **style.line_style(i))[0]
    for i, name in enumerate(coloured)
  ]
  mean = np.nanmean([table[name] for name in names], axis=0)
  handles += axes.plot(epochs, mean, marker=marker, color='black', linewidth=3, zorder=3)
  axes.set_xlabel('epoch')
  axes.set_ylabel('mean KL(teacher ‖ student), nats')
  axes.set_ylim(bottom=0)
  edge = 0 if len(epochs) > 12 else 0.5  # room for the markers
  axes.set_xlim(epochs[0] - edge, epochs[-1] + edge)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  axes.grid(color='0.9')
  axes.set_axisbelow(True)
  texts = [*style.distinct(coloured), f'mean of the {len(names)} videos']
  if greys:
    texts.append(f'{len(greys)} others, which end between these')
  style.legend(axes, handles + greys[:1], texts)
  return figure


def extremes(table, count):
  """The `count` names with the lowest and the `count` with the highest last value, sorted by name."""
  last = {name: values[np.isfinite(values)][-1:].sum() for name, values in table.items()}
  ranked = sorted(table, key=last.get)
  return sorted({*ranked[:count], *ranked[-count:]})
