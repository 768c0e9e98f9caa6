"""Accuracy of a linear classifier on fixed features, by cross-validation over folds of clips.

Source: eval_esc50.lua and eval_dcase.lua of SoundNet: every window of steps of a training clip is a sample with the
clip's label; the prediction for a clip is the class with the largest mean decision value over its windows.
"""

import dataclasses
import math
import sys
import warnings

import joblib
import numpy as np
import tqdm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from audionet_tf.core.errors import UserError

ORIGINAL_C = 1e-2
GRID = (1e-4, 1e-3, ORIGINAL_C, 1e-1, 1.0)
INNER_PARTS = 3  # inner folds where there is only one fold to train on
SMALL_NUMBERS = 1 << 20  # values of all samples, below which processes cost more than they gain
MOST_BYTES = 8 << 30
SEED = 0


def svm(c):
  """liblinear's `-s 1`: squared hinge, dual, one versus all; at most 1000 iterations, as in liblinear."""
  return LinearSVC(C=c, dual=True, random_state=SEED)


def softmax(c):
  """Multinomial logistic regression."""
  return LogisticRegression(C=c, max_iter=1000)


CLASSIFIERS = {'svm': svm, 'softmax': softmax}


@dataclasses.dataclass(frozen=True)
class Samples:
  """The samples of all clips.

  Attributes:
    vectors: f32 [windows, width].
    owners: int [windows], index of the clip of each window.
    labels: int [clips].
    folds: str [clips].
    classes: list of str, class names.
  """

  vectors: np.ndarray
  owners: np.ndarray
  labels: np.ndarray
  folds: np.ndarray
  classes: list


def window_steps(window_seconds, sound_seconds, steps):
  """Number of steps in a window: its share of the sound's steps, rounded up."""
  return min(steps, math.ceil(round(window_seconds / sound_seconds * steps, 9)))


def windows(features, size, hop=1):
  """Windows of `size` steps, every `hop` steps: f32 [T, width] to f32 [n, size width], n = 0 where T < size."""
  if len(features) < size:
    return np.zeros([0, size * features.shape[1]], np.float32)
  stacked = np.lib.stride_tricks.sliding_window_view(features, size, axis=0)[::hop]  # [n, width, size]
  return stacked.reshape(len(stacked), -1)


def natural(name):
  """Sort key of a str: numbers by value, then names."""
  return (0, float(name), name) if name.replace('.', '', 1).isdecimal() else (1, 0, name)


def gather(vectors, categories, folds):
  """Joins the samples of all clips.

  Args:
    vectors: list of f32 [n, width], one per clip.
    categories, folds: list of str, one per clip.

  Returns:
    Samples.

  Raises:
    UserError: they do not fit into MOST_BYTES.
  """
  count, width = sum(map(len, vectors)), vectors[0].shape[1]
  needed = count * width * 24  # f32 here, f64 in scikit-learn, an index and a value in liblinear
  if needed > MOST_BYTES:
    raise UserError(
      f'{count:,} windows of {width:,} numbers need {needed / 1e9:.0f} GB, at most {MOST_BYTES / 1e9:.0f} is allowed; '
      'use a larger --hop_steps, or --pool=mean or statistics for one vector per clip'
    )
  classes = sorted(set(categories), key=natural)
  labels = np.array([classes.index(category) for category in categories])
  owners = np.repeat(np.arange(len(vectors)), list(map(len, vectors)))
  return Samples(np.concatenate(vectors), owners, labels, np.array(folds), classes)


def predict_clips(samples, train, test, classifier, c, standardize):
  """Trains a classifier on some clips and predicts the classes of others.

  Args:
    samples: Samples.
    train, test: int [n], indices of clips.
    classifier: key of CLASSIFIERS.
    c: inverse strength of the regularisation.
    standardize: whether values are scaled to mean 0 and standard deviation 1, measured on the training clips.

  Returns:
    int [clips of test], predicted classes.
  """
  in_train = np.isin(samples.owners, train)
  vectors, targets = samples.vectors[in_train], samples.labels[samples.owners[in_train]]
  scaler = StandardScaler().fit(vectors) if standardize else None
  model = CLASSIFIERS[classifier](c)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)
    model.fit(scaler.transform(vectors) if scaler else vectors, targets)
  predictions = []
  for clip in test:
    windows_of_clip = samples.vectors[samples.owners == clip]
    values = model.decision_function(scaler.transform(windows_of_clip) if scaler else windows_of_clip)
    values = np.stack([-values, values], 1) if values.ndim == 1 else values  # two classes
    predictions.append(model.classes_[values.mean(0).argmax()])
  return np.array(predictions, int)


def inner_splits(samples, train):
  """Splits of the training clips to choose C by, list of (train, test), int arrays of clips.

  One leaves out each fold, or each of INNER_PARTS parts of a single fold. Those that leave one class to train on are of
  no use: the list is empty where classes have too few clips or folds.
  """
  splits = [(np.setdiff1d(train, part), part) for part in inner_folds(samples, train)]
  return [(rest, part) for rest, part in splits if len(np.unique(samples.labels[rest])) > 1]


def inner_folds(samples, train):
  """The folds of the training clips, or INNER_PARTS stratified parts of a single fold: list of int arrays of clips."""
  names = np.unique(samples.folds[train])
  if len(names) > 1:
    return [train[samples.folds[train] == name] for name in names]
  order = np.zeros(len(train), int)
  for label in np.unique(samples.labels[train]):
    same = samples.labels[train] == label
    order[same] = np.arange(same.sum()) % INNER_PARTS
  return [train[order == part] for part in np.unique(order)]


def cross_validate(samples, folds, classifier='svm', c=None, standardize=False):
  """Evaluates each of `folds` with a classifier that is trained on all other folds.

  Args:
    samples: Samples.
    folds: list of str, the folds to evaluate.
    classifier: key of CLASSIFIERS.
    c: inverse strength of the regularisation; None chooses from GRID by cross-validation within the training folds,
      among equals the smallest; ORIGINAL_C, with a note on stderr, where these cannot be split (`inner_splits`).
    standardize: whether values are scaled to mean 0 and standard deviation 1, measured on the training clips.

  Returns:
    dict of fold to dict of `accuracy`, `c`, `clips` (list of int, indices) and `predictions` (list of int).

  Raises:
    UserError: a fold has no clips to evaluate or to train on, or only one class to train on.
  """
  splits = {fold: split(samples, fold) for fold in folds}
  jobs, keys = [], []
  for fold, (train, _) in splits.items():
    for value in GRID if c is None else ():
      for inner in inner_splits(samples, train):
        jobs.append((*inner, classifier, value, standardize))
        keys.append((fold, value))
  accuracies = {}
  for (_, test, *_), key, predictions in zip(jobs, keys, run(samples, jobs, 'choosing C'), strict=True):
    accuracies.setdefault(key, []).append((predictions == samples.labels[test]).mean())
  chosen = {fold: c if c is not None else choose(accuracies, fold) for fold in folds}
  finals = [(*splits[fold], classifier, chosen[fold], standardize) for fold in folds]
  results = {}
  for fold, predictions in zip(folds, run(samples, finals, 'evaluating'), strict=True):
    test = splits[fold][1]
    accuracy = float((predictions == samples.labels[test]).mean())
    results[fold] = {
      'accuracy': accuracy,
      'c': chosen[fold],
      'clips': test.tolist(),
      'predictions': predictions.tolist(),
    }
  return results


def choose(accuracies, fold):
  """C for a fold, from the dict of (fold, C) to accuracies in the inner splits."""
  if (fold, ORIGINAL_C) not in accuracies:
    print(f'fold {fold}: too few clips to train on to choose C by: it is {ORIGINAL_C:g}; --c sets it', file=sys.stderr)
    return ORIGINAL_C
  return best({value: np.mean(accuracies[fold, value]) for value in GRID})


def best(accuracies):
  """The smallest C among those with the highest accuracy: dict of C to accuracy."""
  return min(accuracies, key=lambda c: (-accuracies[c], c))


def split(samples, fold):
  """(train, test), int arrays of clips. UserError where one is empty, or train has a single class."""
  test, train = np.flatnonzero(samples.folds == fold), np.flatnonzero(samples.folds != fold)
  names = ', '.join(sorted(set(samples.folds), key=natural))
  if not len(test) or not len(train):
    raise UserError(f'fold {fold}: no clips to {"train on" if len(test) else "evaluate"}; folds are {names}')
  if len(np.unique(samples.labels[train])) < 2:
    raise UserError(f'fold {fold}: only one class in the clips to train on; at least two are needed')
  return train, test


def run(samples, jobs, description):
  """Yields `predict_clips` of every job, in order.

  Large jobs run in processes, not threads, as the random state of liblinear is global to its process.

  Args:
    samples: Samples.
    jobs: list of arguments of `predict_clips` after `samples`.
    description: str of the progress bar.
  """
  small = samples.vectors.size < SMALL_NUMBERS
  parallel = joblib.Parallel(n_jobs=1 if small else joblib.cpu_count(), return_as='generator')
  results = parallel(joblib.delayed(predict_clips)(samples, *job) for job in jobs)
  yield from tqdm.tqdm(results, total=len(jobs), desc=description, unit=' fits', delay=2)
