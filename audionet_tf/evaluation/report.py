"""Results of `audionet_tf.evaluate` as aligned text."""

from audionet_tf.core import text


def of_records(measured):
  """A row per video and one for all windows. `measured`: from `teacher_agreement.evaluate_records`."""

  def row(name, values):
    return [name, str(values['windows']), f'{values["kl"]:.4f}', *(f'{values[k]:.1%}' for k in ('top1', 'top5'))]

  rows = [['video', 'windows', 'KL', 'top-1', 'top-5']]
  rows += [row(name, values) for name, values in sorted(measured['videos'].items())]
  rows.append(row('all windows', measured))
  return f'{text.aligned(rows)}\nmean KL of the videos: {measured["kl_of_videos"]:.4f} nats'


def of_labels(measured):
  """A row per class, the best first, and their means. `measured`: from `multilabel.evaluate`."""
  measures = ('average_precision', 'roc_auc', 'd_prime')

  def row(name, positives, values):
    return [name, positives, *('-' if values[key] is None else f'{values[key]:.3f}' for key in measures)]

  rows = [['class', 'clips', 'AP', 'ROC AUC', "d'"]]
  rows += [row(name, str(values['positives']), values) for name, values in measured['classes'].items()]
  means = measured['means']
  rows.append(row('mean of the classes', str(measured['clips']), means))
  lines = [text.aligned(rows)]
  for key, reason in (
    ('without_positives', 'no clip has them'),
    ('without_negatives', 'every clip has them'),
    ('told_apart_perfectly', "d' is infinite"),
  ):
    if means[key]:
      lines.append(f'left out of the means, as {reason}: {text.first_of(means[key])}')
  if means['d_prime_of_mean_auc'] is not None:
    lines.append(f"d' of the mean AUC: {means['d_prime_of_mean_auc']:.3f}")
  lines.append(f'calibration error: {measured["calibration"]["error"]:.3f}')
  for key, what in (('missing', 'without a file'), ('unreadable', 'unreadable')):
    if measured.get(key):
      lines.append(f'{len(measured[key])} clips {what}, left out: {text.first_of(list(measured[key]))}')
  return '\n'.join(lines)


def of_clips(measured):
  """The confusion matrix with a row per true category, the accuracy, and the results of folds and vision if present.

  Args:
    measured: from `clip_accuracy.evaluate_clips` or `clip_accuracy.together`.
  """
  names = measured['categories']
  rows = [['true \\ predicted', *(str(i + 1) for i in range(len(names))), 'correct']]
  for i, (name, counts) in enumerate(zip(names, measured['confusion'], strict=True)):
    share = f'{counts[i] / sum(counts):.0%}' if sum(counts) else '-'
    rows.append([f'{i + 1:2} {name}', *(str(count) if count else '.' for count in counts), share])
  correct = sum(counts[i] for i, counts in enumerate(measured['confusion']))
  unreadable = f', {len(measured["unreadable"])} unreadable' if measured['unreadable'] else ''
  lines = [
    text.aligned(rows),
    f'accuracy: {measured["accuracy"]:.1%} ({correct} of {measured["clips"]} clips{unreadable})',
  ]
  if 'folds' in measured:
    accuracies = ', '.join(f'{fold}: {accuracy:.1%}' for fold, accuracy in measured['folds'].items())
    deviation = '-' if measured['deviation'] is None else f'{measured["deviation"]:.1%}'
    lines.append(f'folds {accuracies}; mean {measured["mean"]:.1%}, standard deviation {deviation}')
  if 'vision' in measured:
    vision = measured['vision']
    lines.append(
      f'of {vision["clips"]} clips with pictures: sound {vision["sound"]:.1%}, the teacher {vision["vision"]:.1%}, '
      f'both together {vision["sound_and_vision"]:.1%}'
    )
  return '\n'.join(lines)
