"""Accuracy on labelled clips of a student that was trained without labels.

A category is a group of the teacher's classes (`groups.csv`: dog_bark is beagle, boxer, ...). The prediction for a clip
is the category with the largest sum of probabilities, averaged over the clip's windows. Labels serve evaluation only.
"""

import pathlib
import sys

import numpy as np
import tqdm

from audionet_tf.core import confusion
from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.data.tables import class_lists, csv_files
from audionet_tf.inference import windows
from audionet_tf.media import decoding, perturbations
from audionet_tf.media.containers import integrity
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry
from audionet_tf.teachers.keras_applications import IMAGENET_CLASSES

BATCH_SIZE = 256


def read_clips(path, media_root=None, folds=()):
  """Reads a table of labelled clips.

  Args:
    path: CSV with columns `path` or `filename`, `category`, and `fold` if folds are given.
    media_root: folder that its paths are relative to; None for the folder of the CSV.
    folds: list of str, the folds to read; empty for all.

  Returns:
    list of (path, category).

  Raises:
    UserError: there is no such file, a column is missing, or no clip is in these folds.
  """
  rows = csv_files.read_table(path, (('path', 'filename'), ('category',), ('fold',) if folds else ('category',)))
  root = pathlib.Path(media_root or pathlib.Path(path).parent)
  chosen = [row for row in rows if not folds or row['fold'] in folds]
  if not chosen:
    present = sorted({row['fold'] for row in rows})
    raise UserError(f'{path}: no clips of fold {", ".join(folds)}; the table has {", ".join(present)}')
  column = 'path' if 'path' in rows[0] else 'filename'
  return [(root / csv_files.required(path, row, column), csv_files.required(path, row, 'category')) for row in chosen]


def read_groups(path, class_names):
  """Reads which classes belong to each category.

  A class is looked up by its full name or its first synonym, ignoring case. `imagenet_index`, which counts from 0
  without 'background', is used only for a model with a thousand unnamed classes.

  Args:
    path: CSV with columns `category`, and `class_name` or `imagenet_index` or both; None if the classes themselves are
      the categories, as for a student that was trained on them.
    class_names: list of str.

  Returns:
    dict of category to sorted positions in `class_names`.

  Raises:
    UserError: there is no such file, a column is missing, or the model has no class of a category.
  """
  if path is None:
    return {name: [position] for position, name in enumerate(class_names)}
  rows = csv_files.read_table(path, (('category',), ('class_name', 'imagenet_index')))
  unnamed = len(class_names) == IMAGENET_CLASSES and class_names == class_lists.numbered_class_names(IMAGENET_CLASSES)
  background = int(class_names[0].lower() == 'background')
  groups = {}
  for row in rows:
    index = csv_files.whole_number(row.get('imagenet_index', ''))
    if unnamed:
      positions = [index] if index is not None and index < IMAGENET_CLASSES else []
    else:
      positions = find_class(row.get('class_name', ''), class_names)
      if len(positions) > 1 and index is not None and index + background in positions:
        positions = [index + background]  # ImageNet has two cranes
    groups.setdefault(csv_files.required(path, row, 'category'), set()).update(positions)
  for category, positions in groups.items():
    if not positions:
      raise UserError(f'{path}: the model has no class of category {category!r}')
  return {category: sorted(positions) for category, positions in groups.items()}


def find_class(name, class_names):
  """Positions of the classes called `name`; if there are none, of those with the same first synonym."""
  plain = [' '.join(text.lower().replace('_', ' ').split()) for text in (name, *class_names)]
  first = [text.partition(',')[0] for text in plain]
  for texts in (plain, first):
    positions = [i for i, text in enumerate(texts[1:]) if text and text == texts[0]]
    if positions:
      return positions
  return []


def group_scores(probabilities, groups):
  """Sums the probabilities of each category's classes.

  Args:
    probabilities: float [clips, classes].
    groups: dict of category to positions of classes.

  Returns:
    f64 [clips, categories].
  """
  return np.stack([probabilities[:, positions].sum(1, dtype=np.float64) for positions in groups.values()], 1)


def crop(chunks, span, sample_rate_hz):
  """Yields the part of (start_sample, int16 [n]) chunks within `span`, (start, end) in seconds, counted from start."""
  first, last = (round(seconds * sample_rate_hz) for seconds in span)
  for start, pcm in chunks:
    part = pcm[max(0, first - start) : max(0, last - start)]
    if len(part):
      yield max(start, first) - first, part


def clip_probabilities(student, path, framing, span=None, min_remainder=None, perturb=None):
  """Averages the student's probabilities over the windows of a sound or video file.

  Sound that is shorter than a window or than the student's minimum is padded or repeated, as in `inference`.

  Args:
    student: predictor.LogitsModel.
    path: of the file.
    framing: params.Framing.
    span: (start, end) in seconds of the part to use; None for all.
    min_remainder: fraction of a window; if more than this remains at the end, a last window ends with the sound. None
      to drop the remainder.
    perturb: key of perturbations.PERTURBATIONS, how the sound is changed first; None to leave it as it is.

  Returns:
    f64 [classes].

  Raises:
    UserError: the file cannot be decoded, has no sound, or the student's outputs are not finite.
  """
  name, total, count = student.settings.student, 0, 0
  repeat = registry.network(name).short_input == 'repeat'
  repeats = -(-registry.shortest_samples(name) // framing.window_samples)
  with integrity.decompressed(path) as sound:
    chunks = decoding.decode_audio(sound, framing.sample_rate_hz, framing.mono, span and span[1])
    chunks = crop(chunks, span, framing.sample_rate_hz) if span else chunks
    if perturb:
      chunks = perturbations.perturbed(chunks, perturb, framing.sample_rate_hz, pathlib.Path(path).name)
    pairs = windows.windows(chunks, framing, repeat, min_remainder)
    for indices, pcm in windows.batches(pairs, BATCH_SIZE, framing.window_samples):
      waveforms = np.tile(pcm[: len(indices)], [1, repeats]).astype(np.float32) / PCM_SCALE
      logits = student.logits(waveforms)  # [n, T, classes]
      total += student.probabilities(logits.astype(np.float64)).mean(1).sum(0)
      count += len(indices)
  return total / count


def together(folds):
  """Combines the results of several folds.

  Args:
    folds: dict of fold to the dict that `evaluate_clips` returns.

  Returns:
    The dict that `evaluate_clips` would return for all clips, and `folds`, dict of fold to accuracy; `mean` and
    `deviation` of these accuracies (sample standard deviation; None for a single fold).
  """
  parts = list(folds.values())
  counts = np.sum([part['confusion'] for part in parts], 0)
  accuracies = [part['accuracy'] for part in parts]
  combined = {
    'accuracy': float(np.trace(counts) / counts.sum()),
    'clips': sum(part['clips'] for part in parts),
    'unreadable': [path for part in parts for path in part['unreadable']],
    'categories': parts[0]['categories'],
    'confusion': counts.tolist(),
    'results': [result for part in parts for result in part['results']],
    'folds': dict(zip(folds, accuracies, strict=True)),
    'mean': float(np.mean(accuracies)),
    'deviation': float(np.std(accuracies, ddof=1)) if len(parts) > 1 else None,
  }
  vision = [part['vision'] for part in parts if 'vision' in part]
  if vision:
    clips = [part['clips'] for part in vision]
    combined['vision'] = {'clips': sum(clips)}
    for name in ('sound', 'vision', 'sound_and_vision'):
      combined['vision'][name] = float(np.average([part[name] for part in vision], weights=clips))
  return combined


def evaluate_clips(student, clips, groups, window_seconds=None, perturb=None):
  """Measures the share of clips whose category the student predicts.

  Unreadable clips are reported on stderr and skipped.

  Args:
    student: predictor.LogitsModel.
    clips: list of (path, category).
    groups: dict of category to positions of classes.
    window_seconds: length of a window; None for that of training, where the last window of a clip may end with it.
    perturb: key of perturbations.PERTURBATIONS, how the sound is changed first; None to leave it as it is.

  Returns:
    dict: `accuracy`; `clips`, their number; `unreadable`, list of paths; `categories`, list of str; `confusion`, int
    lists [categories][categories]; `results`, list of dicts `path`, `category`, `named` (the predicted category) and
    `scores` (per category).

  Raises:
    UserError: a clip's category has no group, or no clip can be read.
  """
  categories = list(groups)
  unknown = sorted({category for _, category in clips} - set(categories))
  if unknown:
    raise UserError(
      f'no group for the categories {", ".join(unknown)} of the clips; there are groups for {", ".join(categories)}'
    )
  settings = student.settings
  min_remainder = windows.default_min_remainder(registry.network(settings.student).short_input, window_seconds)
  window_seconds = window_seconds or settings.window_seconds
  framing = params.Framing(window_seconds, window_seconds, settings.sample_rate_hz, settings.mono)
  probabilities, readable, unreadable = [], [], []
  for path, category in tqdm.tqdm(clips, desc='predicting', unit=' clips', delay=1):
    try:
      probabilities.append(clip_probabilities(student, path, framing, None, min_remainder, perturb))
      readable.append((path, category))
    except (UserError, OSError) as error:
      unreadable.append(str(path))
      tqdm.tqdm.write(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
  if not readable:
    raise UserError(
      f'none of the {len(clips)} clips can be read; paths are relative to the folder of the CSV or to --media_root'
    )
  scores = group_scores(np.stack(probabilities), groups)  # [clips, categories]
  predicted, true = scores.argmax(1), np.array([categories.index(category) for _, category in readable])
  return {
    'accuracy': float((predicted == true).mean()),
    'clips': len(readable),
    'unreadable': unreadable,
    'categories': categories,
    'confusion': confusion.matrix(true, predicted, len(categories)).tolist(),
    'results': [
      {'path': str(path), 'category': category, 'named': categories[best], 'scores': row.tolist()}
      for (path, category), best, row in zip(readable, predicted, scores, strict=True)
    ],
  }
