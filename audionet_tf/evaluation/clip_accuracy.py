"""Accuracy without labels: does a student that never saw a label name the category of clips it never heard?

A category is a group of the teacher's classes (`groups.csv`: dog_bark is beagle, boxer, ...). A clip is given the
category with the largest sum of probabilities, averaged over the clip's windows. Labels only judge.
"""

import pathlib
import sys

import numpy as np
import tqdm

from audionet_tf.core import confusion
from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists, params
from audionet_tf.inference import windows
from audionet_tf.media import decoding, integrity
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry
from audionet_tf.teachers.keras_applications import IMAGENET_CLASSES

BATCH_SIZE = 256


def read_clips(path, media_root=None, folds=()):
  """List of (path, category) of the clips in a CSV with columns `path` or `filename`, `category` and perhaps `fold`.

  Args:
    path: of the CSV.
    media_root: folder that its paths start from; None for the folder of the CSV.
    folds: the folds wanted, str; all where empty.
  """
  rows = class_lists.read_table(path, (('path', 'filename'), ('category',), ('fold',) if folds else ('category',)))
  root = pathlib.Path(media_root or pathlib.Path(path).parent)
  chosen = [row for row in rows if not folds or row['fold'] in folds]
  if not chosen:
    there = sorted({row['fold'] for row in rows})
    raise UserError(f'{path}: no clips of fold {", ".join(folds)}; there are {", ".join(there)}')
  return [(root / (row.get('path') or row.get('filename', '')), row['category']) for row in chosen]


def read_groups(path, class_names):
  """dict of category to positions of its classes in `class_names`.

  A class is found by name: the whole of it, or its first synonym, without regard to case. By `imagenet_index`, which
  counts from 0 without 'background', only where the model has a thousand classes without names.

  Args:
    path: CSV with columns `category`, and `class_name` or `imagenet_index` or both; None where the classes are the
      categories, as of a student that was trained on them.
    class_names: list of str.

  Raises:
    UserError: the model knows no class of a category.
  """
  if path is None:
    return {name: [position] for position, name in enumerate(class_names)}
  rows = class_lists.read_table(path, (('category',), ('class_name', 'imagenet_index')))
  unnamed = len(class_names) == IMAGENET_CLASSES and class_names == class_lists.numbered_class_names(IMAGENET_CLASSES)
  background = int(class_names[0].lower() == 'background')
  groups = {}
  for row in rows:
    index = int(row['imagenet_index']) if row.get('imagenet_index', '').isdecimal() else None
    if unnamed:
      found = [index] if index is not None and index < IMAGENET_CLASSES else []
    else:
      found = named(row.get('class_name', ''), class_names)
      if len(found) > 1 and index is not None and index + background in found:
        found = [index + background]  # ImageNet has two cranes
    groups.setdefault(row['category'], set()).update(found)
  for category, positions in groups.items():
    if not positions:
      raise UserError(f'{path}: the model knows no class of category {category!r}')
  return {category: sorted(positions) for category, positions in groups.items()}


def named(name, class_names):
  """Positions of the classes called `name`, or else of those with the same first synonym."""
  plain = [' '.join(text.lower().replace('_', ' ').split()) for text in (name, *class_names)]
  first = [text.partition(',')[0] for text in plain]
  for texts in (plain, first):
    found = [i for i, text in enumerate(texts[1:]) if text and text == texts[0]]
    if found:
      return found
  return []


def group_scores(probabilities, groups):
  """f64 [clips, categories]: sums of the probabilities of each group's classes.

  Args:
    probabilities: float [clips, classes].
    groups: dict of category to positions.
  """
  return np.stack([probabilities[:, positions].sum(1, dtype=np.float64) for positions in groups.values()], 1)


def stretch(chunks, span, sample_rate_hz):
  """The part of (start_sample, int16 [n]) chunks within `span`, seconds, counted from its start."""
  first, last = (round(seconds * sample_rate_hz) for seconds in span)
  for start, pcm in chunks:
    part = pcm[max(0, first - start) : max(0, last - start)]
    if len(part):
      yield max(start, first) - first, part


def clip_probabilities(student, path, cut, span=None, least_rest=None):
  """f64 [classes]: the student's probabilities, averaged over the windows of a sound or video file.

  What is too short for a window, or for the student, is padded or repeated as `inference` does.

  Args:
    student: evaluation.Student.
    path: of the file.
    cut: Framing: window, rate and mono.
    span: (start, end) in seconds of what is heard of it; None for all.
    least_rest: as of `windows.windows`.
  """
  name, total, count = student.settings.student, 0, 0
  repeat = registry.network(name).short_input == 'repeat'
  repeats = -(-registry.shortest_samples(name) // cut.window_samples)
  with integrity.decompressed(path) as sound:
    chunks = decoding.decode_audio(sound, cut.sample_rate_hz, cut.mono, span and span[1])
    chunks = stretch(chunks, span, cut.sample_rate_hz) if span else chunks
    pairs = windows.windows(chunks, cut, repeat, least_rest)
    for indices, pcm in windows.batches(pairs, BATCH_SIZE, cut.window_samples):
      heard = np.tile(pcm[: len(indices)], [1, repeats]).astype(np.float32) / PCM_SCALE
      logits = student.logits(heard)  # [n, T, classes]
      total += student.probabilities(logits.astype(np.float64)).mean(1).sum(0)
      count += len(indices)
  return total / count


def together(folds):
  """What was measured on several folds as one: `evaluate_clips`' dict, with counts and results of all.

  Beside it `folds`: dict of fold to accuracy; `mean` and `deviation` (of a sample; None of one) of these.

  Args:
    folds: dict of fold to a dict of `evaluate_clips`.
  """
  parts = list(folds.values())
  counts = np.sum([part['confusion'] for part in parts], 0)
  accuracies = [part['accuracy'] for part in parts]
  whole = {
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
  seen = [part['vision'] for part in parts if 'vision' in part]
  if seen:
    clips = [part['clips'] for part in seen]
    whole['vision'] = {'clips': sum(clips)}
    for name in ('sound', 'vision', 'sound_and_vision'):
      whole['vision'][name] = float(np.average([part[name] for part in seen], weights=clips))
  return whole


def evaluate_clips(student, clips, groups, window_seconds=None):
  """The share of clips whose category the student names. A clip that cannot be read is told on stderr and left out.

  Args:
    student: evaluation.Student.
    clips: list of (path, category).
    groups: dict of category to positions of classes.
    window_seconds: None for that of the student's training; `windows.default_min_remainder` says how a clip ends then.

  Returns:
    dict: `accuracy`, `clips`, `unreadable` (paths), `categories`, `confusion` (int lists), `results`: list of dicts
    `path`, `category`, `named`, `scores`.
  """
  categories = list(groups)
  unknown = sorted({category for _, category in clips} - set(categories))
  if unknown:
    raise UserError(
      f'no group for the categories {", ".join(unknown)} of the clips; groups are {", ".join(categories)}'
    )
  settings = student.settings
  least_rest = windows.default_min_remainder(settings.student, window_seconds)
  window_seconds = window_seconds or settings.window_seconds
  cut = params.Framing(window_seconds, window_seconds, settings.sample_rate_hz, settings.mono)
  probabilities, judged, unreadable = [], [], []
  for path, category in tqdm.tqdm(clips, desc='listening', unit=' clips', delay=1):
    try:
      probabilities.append(clip_probabilities(student, path, cut, None, least_rest))
      judged.append((path, category))
    except (UserError, OSError) as error:
      unreadable.append(str(path))
      tqdm.tqdm.write(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
  if not judged:
    raise UserError(
      f'none of the {len(clips)} clips can be read; paths start from the folder of the CSV or --media_root'
    )
  scores = group_scores(np.stack(probabilities), groups)  # [clips, categories]
  said, true = scores.argmax(1), np.array([categories.index(category) for _, category in judged])
  return {
    'accuracy': float((said == true).mean()),
    'clips': len(judged),
    'unreadable': unreadable,
    'categories': categories,
    'confusion': confusion.matrix(true, said, len(categories)).tolist(),
    'results': [
      {'path': str(path), 'category': category, 'named': categories[best], 'scores': row.tolist()}
      for (path, category), best, row in zip(judged, said, scores, strict=True)
    ],
  }
