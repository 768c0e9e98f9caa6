"""The figures in the card of the starter, of a student that was trained without the clips that judge it."""

import pathlib

import numpy as np

from audionet_tf.core.errors import MediaError
from experiments import robustness_table


def windows(paths, settings, most=None):
  """f32 [windows, samples] of files: the first `most` windows of each, by default all; short sound is repeated."""
  from audionet_tf.media import decoding
  from audionet_tf.saved_model import signatures

  samples, rows = signatures.window_samples(settings), []
  for path in paths:
    pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, settings.sample_rate_hz, settings.mono)])
    pcm = np.resize(pcm, max(samples, len(pcm) // samples * samples))
    rows += list(pcm.reshape(-1, samples)[:most] / np.float32(1 << 15))
  return np.stack(rows).astype(np.float32)


def other_recordings(folder, settings):
  """f32 [windows, samples] of the files of a folder that have sound; None without a folder."""
  found = []
  for path in sorted(pathlib.Path(folder).iterdir()) if folder else []:
    try:
      found.append(windows([path], settings))
    except MediaError as error:
      print(f'{path} is left out: {error.reason}')
  return np.concatenate(found) if found else None


def rows_named(model, settings, clips, perturb=None):
  """(scores f64 [clips, categories and unknown], list of true positions) of labelled clips, by the head `category`.

  Args:
    model, settings: of a student with that head.
    clips: list of (path, category).
    perturb: as for `clip_accuracy.evaluate_clips`.
  """
  from audionet_tf.evaluation import clip_accuracy, predictor
  from audionet_tf.models import categories, heads

  head = heads.LOGITS + categories.HEAD
  student = predictor.stepwise_model(lambda sound: model(sound, training=False)[head], settings, categories.HEAD)
  groups = clip_accuracy.read_groups(None, student.class_names)
  results = clip_accuracy.evaluate_clips(student, clips, groups, perturb=perturb)['results']
  return np.array([row['scores'] for row in results]), [list(groups).index(row['category']) for row in results]


def shares(scores, true):
  """dict: `named`, share of clips whose category is the highest of all; `unknown`; `of_ten`, named without unknown.

  Args:
    scores: f64 [clips, categories and unknown].
    true: int [clips].
  """
  best, known = scores.argmax(1), scores[:, :-1].argmax(1)
  return {
    'named': float(np.mean(best == true)),
    'unknown': float(np.mean(best == scores.shape[1] - 1)),
    'of_ten': float(np.mean(known == true)),
  }


def accuracy(model, settings, clips, outside):
  """dict of form, or `outside CATEGORY`, to `shares`; `changed` and `worst` are over the changed forms.

  Args:
    model, settings, clips: as for `rows_named`.
    outside: dict of category to a folder of recordings of others.
  """
  found = {}
  for form in robustness_table.FORMS:
    perturb = None if form == robustness_table.AS_IT_IS else form
    found[form] = shares(*rows_named(model, settings, clips, perturb))
  for name, combine in ((robustness_table.CHANGED, np.mean), (robustness_table.WORST, np.min)):
    changed = [found[form] for form in robustness_table.changed_forms()]
    found[name] = {key: float(combine([row[key] for row in changed])) for key in ('named', 'of_ten')}
  for category, folder in outside.items():
    others = [(path, category) for path in sorted(pathlib.Path(folder).iterdir()) if path.is_file()]
    found[f'outside {category}'] = shares(*rows_named(model, settings, others))
  return found


def areas_under_curve(known, others):
  """AUROC of familiarity, f32 [N], of known sounds against a dict of kinds of others: dict by kind, and `all`."""
  from sklearn.metrics import roc_auc_score

  def area(values):
    return float(roc_auc_score(np.repeat([1, 0], [len(known), len(values)]), np.concatenate([known, values])))

  return {kind: area(values) for kind, values in others.items()} | {'all': area(np.concatenate([*others.values()]))}


def alarms_per_minute(familiarity, threshold, window_seconds):
  """How many windows in a minute of sound of no category are taken for known. `familiarity`: f32 [windows]."""
  return float(60 / window_seconds * np.mean(familiarity >= threshold))


def table(found):
  """The accuracies of `accuracy` as lines of a Markdown table, in percent."""
  names = {'named': 'named right', 'unknown': '`unknown`', 'of_ten': 'right among the ten'}
  lines = [f'| sound | {" | ".join(names.values())} |', '|---' * (1 + len(names)) + '|']
  for form, row in found.items():
    cells = (f'{100 * row[key]:.1f}' if key in row else '' for key in names)
    lines.append(f'| {form.replace("_", " ")} | {" | ".join(cells)} |')
  return '\n'.join(lines)
