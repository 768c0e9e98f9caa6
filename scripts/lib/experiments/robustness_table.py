"""The table of scripts/benchmark_robustness and its plot."""

from audionet_tf.media import perturbations

AS_IT_IS, CHANGED, WORST = 'as_it_is', 'changed', 'worst'
EXCLUDED = 'softer_40db'  # not part of the mean
FORMS = (AS_IT_IS, *perturbations.PERTURBATIONS)
LEAST = {AS_IT_IS: 0.92, CHANGED: 0.90, WORST: 0.83}
AIM = {AS_IT_IS: 0.957, CHANGED: 0.94, WORST: 0.90}


class Required:
  """The requirements of a student, in the form of `folds.Row`."""

  least, aim = LEAST, AIM

  def required(self, figure, bound):
    """The requirement for a figure in `bound`, or None."""
    return bound.get(figure)


def changed_forms():
  """list of the perturbations in the mean."""
  return [form for form in perturbations.PERTURBATIONS if form != EXCLUDED]


def mean_changed(shares):
  """Mean accuracy over `changed_forms`."""
  forms = changed_forms()
  return sum(shares[form] for form in forms) / len(forms)


def with_worst(lines):
  """Lines of `folds.summary`, with `worst` the lowest mean of a form, not the mean of each student's worst."""
  for line in lines:
    if line['figure'] == WORST:
      forms = [other for other in lines if other['row'] == line['row'] and other['figure'] in changed_forms()]
      line |= {'mean': min(form['mean'] for form in forms), 'over_folds': None, 'over_seeds': None}
      line['folds'] = {fold: min(form['folds'][fold] for form in forms) for fold in line['folds']}
  return lines


def draw(lines, path):
  """Draws a row of points per figure: the mean over folds large, the folds small, one colour per model."""
  from matplotlib.figure import Figure

  from audionet_tf.plotting import style

  names, figures = (list(dict.fromkeys(line[key] for line in lines)) for key in ('row', 'figure'))
  figure = Figure(figsize=(9, 0.42 * len(figures) + 1.2), layout='constrained')
  axes = figure.add_subplot()
  for number, name in enumerate(names):
    colour = style.COLOURS[number % len(style.COLOURS)]
    own = {line['figure']: line for line in lines if line['row'] == name}
    heights = [figures.index(key) + 0.22 * (number - (len(names) - 1) / 2) for key in own]
    for height, line in zip(heights, own.values(), strict=True):
      axes.scatter(
        [100 * share for share in line['folds'].values()], [height] * len(line['folds']), 9, colour, alpha=0.5
      )
    axes.plot([100 * line['mean'] for line in own.values()], heights, 'D', color=colour, label=name)
  axes.set_yticks(range(len(figures)), [key.replace('_', ' ') for key in figures])
  axes.invert_yaxis()
  axes.set(xlim=(0, 101), xlabel='accuracy, %; small: one fold, large: the mean')
  axes.grid(alpha=0.3)
  axes.legend(loc='lower left')
  style.save(figure, path)
