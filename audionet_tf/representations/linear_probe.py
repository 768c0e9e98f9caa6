"""How far a linear classifier gets with fixed features: windows of steps as samples, judged by clips, fold by fold.

Source: eval_esc50.lua and eval_dcase.lua of SoundNet: every window of a training clip is a sample with
the clip's label; a clip is given the class with the largest mean decision value over its windows.
"""

import dataclasses
import math
import warnings

import joblib
import numpy as np
import tqdm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from audionet_tf.core.errors import UserError

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # the original's 0.01 in the middle
INNER_PARTS = 3  # of the training clips, where there is only one fold to train on
SMALL_NUMBERS = 1 << 20  # of training, below which a process of its own costs more than it brings
MOST_BYTES = 8 << 30
SEED = 0


def svm(c):
  """liblinear's `-s 1`: squared hinge, dual, one class against the rest; 1000 iterations, as liblinear stops."""
  return LinearSVC(C=c, dual=True, random_state=SEED)


def softmax(c):
  """One softmax layer, all classes at once."""
  return LogisticRegression(C=c, max_iter=1000)


CLASSIFIERS = {'svm': svm, 'softmax': softmax}


@dataclasses.dataclass(frozen=True)
class Samples:
  """The windows of all clips.

  Attributes:
    vectors: f32 [windows, numbers].
    owners: int [windows], the clip that each is of.
    labels: int [clips].
    folds: str [clips].
    classes: list of str.
  """

  vectors: np.ndarray
  owners: np.ndarray
  labels: np.ndarray
  folds: np.ndarray
  classes: list


def window_steps(window_seconds, sound_seconds, steps):
  """Steps in a window: the share of the sound, rounded up."""
  return min(steps, math.ceil(round(window_seconds / sound_seconds * steps, 9)))


def windows(features, size, hop=1):
  """f32 [n, size x width] from f32 [T, width]: `size` steps in turn, `hop` steps on each time, n = 0 where T < size."""
  if len(features) < size:
    return np.zeros([0, size * features.shape[1]], np.float32)
  stacked = np.lib.stride_tricks.sliding_window_view(features, size, axis=0)[::hop]  # [n, width, size]
  return stacked.reshape(len(stacked), -1)


def natural(name):
  """Sort key: numbers by value, then names."""
  return (0, float(name), name) if name.replace('.', '', 1).isdecimal() else (1, 0, name)


def gather(vectors, categories, folds):
  """Samples from a list of f32 [n, numbers], and the category and fold of each clip.

  Raises:
    UserError: too many numbers for memory.
  """
  count, width = sum(map(len, vectors)), vectors[0].shape[1]
  needed = count * width * 24  # f32 here, f64 in scikit-learn, an index and a value in liblinear
  if needed > MOST_BYTES:
    raise UserError(
      f'{count:,} windows of {width:,} numbers need {needed / 1e9:.0f} GB, at most {MOST_BYTES / 1e9:.0f} is allowed; '
      '--hop_steps thins the windows, --pool=mean or statistics takes one vector a clip'
    )
  classes = sorted(set(categories), key=natural)
  labels = np.array([classes.index(category) for category in categories])
  owners = np.repeat(np.arange(len(vectors)), list(map(len, vectors)))
  return Samples(np.concatenate(vectors), owners, labels, np.array(folds), classes)


def predict_clips(samples, train, test, classifier, c, standardize):
  """int [clips of test]: the class that a classifier trained on the clips `train` gives to each clip of `test`.

  Args:
    samples: Samples.
    train, test: int, numbers of clips.
    classifier: key of CLASSIFIERS.
    c: the weight of the training's errors against the size of the weights.
    standardize: mean 0 and deviation 1 for every number, measured on the training clips.
  """
  inside = np.isin(samples.owners, train)
  vectors, targets = samples.vectors[inside], samples.labels[samples.owners[inside]]
  scaler = StandardScaler().fit(vectors) if standardize else None
  fitted = CLASSIFIERS[classifier](c)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)
    fitted.fit(scaler.transform(vectors) if scaler else vectors, targets)
  found = []
  for clip in test:
    one = samples.vectors[samples.owners == clip]
    values = fitted.decision_function(scaler.transform(one) if scaler else one)
    values = np.stack([-values, values], 1) if values.ndim == 1 else values  # two classes
    found.append(fitted.classes_[values.mean(0).argmax()])
  return np.array(found, int)


def inner_folds(samples, train):
  """The folds of the training clips; of a single fold, equal parts of every class. List of int arrays of clips."""
  names = np.unique(samples.folds[train])
  if len(names) > 1:
    return [train[samples.folds[train] == name] for name in names]
  order = np.zeros(len(train), int)
  for label in np.unique(samples.labels[train]):
    same = samples.labels[train] == label
    order[same] = np.arange(same.sum()) % INNER_PARTS
  return [train[order == part] for part in np.unique(order)]


def cross_validate(samples, folds, classifier='svm', c=None, standardize=False):
  """Trains on all folds but one and judges that one, for each of `folds`.

  Args:
    samples: Samples.
    folds: the folds to judge, str.
    classifier, standardize: as in `said`.
    c: None chooses from GRID by the accuracy over the training folds, each judged by the others; of equals the
      smallest.

  Returns:
    dict of fold to dict: `accuracy`, `c`, `clips` (numbers of clips, int list) and `said` (int list).

  Raises:
    UserError: a fold without clips to judge or to train on, or with one class to train on.
  """
  turns = {fold: split(samples, fold) for fold in folds}
  shared = (classifier,)
  jobs, keys = [], []
  for fold, (train, _) in turns.items():
    for value in GRID if c is None else ():
      for part in inner_folds(samples, train):
        jobs.append((np.setdiff1d(train, part), part, *shared, value, standardize))
        keys.append((fold, value))
  right = {}
  for (_, test, *_), key, found in zip(jobs, keys, run(samples, jobs, 'choosing C'), strict=True):
    right.setdefault(key, []).append((found == samples.labels[test]).mean())
  chosen = {fold: c if c is not None else best({v: np.mean(right[fold, v]) for v in GRID}) for fold in folds}
  finals = [(*turns[fold], *shared, chosen[fold], standardize) for fold in folds]
  judged = {}
  for fold, found in zip(folds, run(samples, finals, 'judging'), strict=True):
    test = turns[fold][1]
    accuracy = float((found == samples.labels[test]).mean())
    judged[fold] = {'accuracy': accuracy, 'c': chosen[fold], 'clips': test.tolist(), 'said': found.tolist()}
  return judged


def best(accuracies):
  """The smallest key of the highest value."""
  return min(accuracies, key=lambda c: (-accuracies[c], c))


def split(samples, fold):
  """(train, test), numbers of clips. UserError where one of them is of no use."""
  test, train = np.flatnonzero(samples.folds == fold), np.flatnonzero(samples.folds != fold)
  known = ', '.join(sorted(set(samples.folds), key=natural))
  if not len(test) or not len(train):
    raise UserError(f'fold {fold}: no clips to {"train on" if len(test) else "judge"}; folds are {known}')
  if len(np.unique(samples.labels[train])) < 2:
    raise UserError(f'fold {fold}: one class in the clips to train on; two are needed')
  return train, test


def run(samples, jobs, told):
  """Yields `said` of every job, in order; large ones in processes: liblinear's random numbers are one a process."""
  small = samples.vectors.size < SMALL_NUMBERS
  parallel = joblib.Parallel(n_jobs=1 if small else joblib.cpu_count(), return_as='generator')
  results = parallel(joblib.delayed(predict_clips)(samples, *job) for job in jobs)
  yield from tqdm.tqdm(results, total=len(jobs), desc=told, unit=' fits', delay=2)
