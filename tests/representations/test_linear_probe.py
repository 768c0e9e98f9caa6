"""The protocol of the linear probe against direct use of scikit-learn, its samples, and the separation of folds."""

import statistics

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables
from audionet_tf.representations import baselines, linear_probe, probing

RATE = 22_050


def random_samples(clips_each=4, folds=('1', '2', '3'), classes=3, steps=5, width=4, noise=1.0, seed=0):
  """linear_probe.Samples of clips whose class shifts their mean a little."""
  rng = np.random.default_rng(seed)
  centers = rng.normal(size=[classes, width])
  vectors, names, chosen = [], [], []
  for fold in folds:
    for label in range(classes):
      for _ in range(clips_each):
        vectors.append((centers[label] + noise * rng.normal(size=[steps, width])).astype(np.float32))
        names.append(f'class {label}')
        chosen.append(fold)
  return linear_probe.gather(vectors, names, chosen)


def by_hand(samples, train, test, c):
  """The protocol without the library: windows of `train` as samples, mean decision value over the windows of a clip."""
  rows = [i for i, owner in enumerate(samples.owners) if owner in train]
  model = LinearSVC(C=c, dual=True, random_state=0)
  model.fit(samples.vectors[rows], [samples.labels[samples.owners[i]] for i in rows])
  return [model.decision_function(samples.vectors[samples.owners == clip]).mean(0).argmax() for clip in test]


def test_svm_equals_scikit_learn():
  samples = random_samples()
  results = linear_probe.cross_validate(samples, ['1', '2', '3'], c=0.01)
  for fold, result in results.items():
    test = np.flatnonzero(samples.folds == fold)
    expected = by_hand(samples, set(np.flatnonzero(samples.folds != fold)), test, 0.01)
    assert result['clips'] == test.tolist() and result['predictions'] == expected
    assert result['accuracy'] == np.mean(np.array(expected) == samples.labels[test])


def test_c_is_chosen_by_the_training_folds_alone():
  samples = random_samples(noise=2.0, clips_each=6)
  results = linear_probe.cross_validate(samples, ['2'])
  means = {}
  for c in linear_probe.GRID:
    right = []
    for inner in ('1', '3'):
      test, other = np.flatnonzero(samples.folds == inner), '3' if inner == '1' else '1'
      predictions = by_hand(samples, set(np.flatnonzero(samples.folds == other)), test, c)
      right.append(np.mean(np.array(predictions) == samples.labels[test]))
    means[c] = np.mean(right)
  assert results['2']['c'] == max(means, key=lambda c: (means[c], -c))
  assert len(set(means.values())) > 1
  # The content of the evaluated fold, with its labels, does not influence the choice.
  vectors, labels = samples.vectors.copy(), samples.labels.copy()
  evaluated_rows = samples.folds[samples.owners] == '2'
  vectors[evaluated_rows] = np.random.default_rng(1).normal(size=vectors[evaluated_rows].shape)
  labels[samples.folds == '2'] = 0
  other = linear_probe.Samples(vectors, samples.owners, labels, samples.folds, samples.classes)
  assert linear_probe.cross_validate(other, ['2'])['2']['c'] == results['2']['c']


def test_folds_never_mix(monkeypatch):
  samples, folds = random_samples(), []
  real = linear_probe.predict_clips

  def recorded(samples, train, test, *arguments):
    folds.append((set(samples.folds[train]), set(samples.folds[test])))
    return real(samples, train, test, *arguments)

  monkeypatch.setattr(linear_probe, 'predict_clips', recorded)
  linear_probe.cross_validate(samples, ['1'])
  *inner, final = folds
  assert final == ({'2', '3'}, {'1'})
  assert len(inner) == 2 * len(linear_probe.GRID)
  assert all(train | test == {'2', '3'} and not train & test for train, test in inner)


def test_a_single_training_fold_is_cut_into_stratified_parts():
  samples = random_samples(folds=('1', '2'), clips_each=6)
  parts = linear_probe.inner_folds(samples, np.flatnonzero(samples.folds == '2'))
  assert sorted(np.concatenate(parts)) == np.flatnonzero(samples.folds == '2').tolist()
  assert all(np.bincount(samples.labels[part]).tolist() == [2, 2, 2] for part in parts)


@pytest.mark.parametrize('classifier', ['svm', 'softmax'])
@pytest.mark.parametrize('standardize', [False, True])
def test_separable_classes_are_classified(classifier, standardize):
  samples = random_samples(noise=0.1, classes=2)
  results = linear_probe.cross_validate(samples, ['1', '2', '3'], classifier, None, standardize)
  assert [result['accuracy'] for result in results.values()] == [1, 1, 1]


def test_standardizing_makes_scales_equal():
  samples = random_samples(noise=0.5)
  scaled = linear_probe.Samples(
    samples.vectors * [1, 1e4, 1e-4, 10] + [0, 5, 0, 1], samples.owners, samples.labels, samples.folds, samples.classes
  )
  one, other = (linear_probe.cross_validate(s, ['1'], 'softmax', 0.1, True)['1'] for s in (samples, scaled))
  assert one['predictions'] == other['predictions']


@pytest.mark.parametrize(
  ('window', 'seconds', 'steps', 'expected'), [(1, 10, 27, 3), (5, 30, 81, 14), (1, 10, 10, 1), (20, 10, 27, 27)]
)
def test_window_steps(window, seconds, steps, expected):
  """The first two are those of SoundNet's code: 3 and 14 steps, 25 and 68 windows."""
  assert linear_probe.window_steps(window, seconds, steps) == expected
  assert len(linear_probe.windows(np.zeros([steps, 2], np.float32), expected)) == steps - expected + 1


def test_windows_hold_neighbouring_steps():
  features = np.arange(12, dtype=np.float32).reshape(6, 2)
  cut = linear_probe.windows(features, 3, 2)
  assert [sorted(row) for row in cut.tolist()] == [list(range(6)), list(range(4, 10))]


@pytest.mark.parametrize('pool', ['windows', 'mean', 'statistics'])
def test_samples_of_a_clip(pool):
  steps = {name: np.random.default_rng(i).normal(size=[10, 2]).astype(np.float32) for i, name in enumerate('ab')}
  clips = [clip_tables.Clip(path=name, category=name, fold='1', name=name) for name in 'ab']
  settings = probing.ProbeConfig(window_seconds=1.0, pool=pool)
  samples, _ = probing.samples_of({name: (x, 5.0) for name, x in steps.items()}, clips, settings)
  for number, x in enumerate(steps.values()):
    columns = [[float(row[i]) for row in x] for i in range(2)]
    expected = {
      'windows': [[*columns[0][t : t + 2], *columns[1][t : t + 2]] for t in range(9)],
      'mean': [[statistics.fmean(column) for column in columns]],
      'statistics': [[f(column) for f in (statistics.fmean, statistics.pstdev) for column in columns]],
    }[pool]
    np.testing.assert_allclose(samples.vectors[samples.owners == number], expected, rtol=1e-5)


def test_too_many_numbers_are_refused(monkeypatch):
  monkeypatch.setattr(linear_probe, 'MOST_BYTES', 1000)
  with pytest.raises(UserError, match='180 windows of 4 numbers .*--hop_steps'):
    random_samples()


@pytest.mark.parametrize(
  ('folds', 'fold', 'message'),
  [(('1',), '1', 'fold 1: no clips to train on'), (('1', '2'), '3', 'fold 3: no clips to evaluate; folds are 1, 2')],
)
def test_unusable_folds_are_refused(folds, fold, message):
  with pytest.raises(UserError, match=message):
    linear_probe.cross_validate(random_samples(folds=folds), [fold])


def test_natural_order():
  assert sorted(['10', '9', 'b', 'a', '1.5'], key=linear_probe.natural) == ['1.5', '9', '10', 'a', 'b']


def test_mfcc_are_a_cosine_transform_of_log_mels():
  pcm = np.random.default_rng(0).integers(-9000, 9000, 30_000).astype(np.int16)
  frames = baselines.log_mels(pcm).astype(np.float64)
  number = np.arange(64)
  cosines = np.cos(np.pi / 64 * np.outer(number + 0.5, number)) * np.sqrt(2 / 64)
  expected = (frames @ cosines)[:, 1:13]
  features = baselines.mfcc(pcm)
  assert features.shape == (1, 26)
  np.testing.assert_allclose(
    features[0, :24], np.concatenate([expected.mean(0), expected.std(0)]), rtol=1e-3, atol=1e-4
  )


def test_zero_crossings_of_a_tone():
  tone = (9000 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE + 0.1)).astype(np.int16)
  np.testing.assert_allclose(baselines.zero_crossings(tone).mean(), 2000 / RATE, rtol=0.01)


@pytest.mark.parametrize('value', [0, 9000, -9000])
def test_a_single_sample_is_completed_with_silence(value):
  """A Hann window begins with 0: the spectrum is that of silence, whose logarithm is constant."""
  pcm = np.array([value], np.int16)
  np.testing.assert_allclose(baselines.logmel(pcm), [[np.log(1e-3)] * 64 + [0] * 64], atol=1e-4)
  crossings = 1 / 550 if value < 0 else 0  # of the 550 pairs in a frame of 25 ms
  np.testing.assert_allclose(baselines.mfcc(pcm), [[0] * 24 + [crossings, 0]], atol=1e-4)


@pytest.mark.parametrize(
  ('categories', 'folds'),
  [('aaabb', '11221'), ('ab' * 2, '1122'), ('aabbb', '12122'), ('abcabc', '111222'), ('aab' * 3, '111222333')],
)
def test_classes_too_rare_for_inner_splits_give_accuracies(categories, folds, capsys):
  """Where no inner split has two classes to train on, C is the original's; a fixed C needs no inner splits."""
  vectors = [np.float32([[ord(name), number]]) for number, name in enumerate(categories)]
  samples = linear_probe.gather(vectors, list(categories), list(folds))
  names = sorted(set(folds))
  results = linear_probe.cross_validate(samples, names)
  notes = capsys.readouterr().err
  for fold in names:
    clips = [i for i, name in enumerate(folds) if name != fold]
    parts = {name: [i for i in clips if folds[i] == name] for name in set(folds) - {fold}}
    if len(parts) == 1:  # n-th clip of each class in part n % 3
      parts = {n: [i for i in clips if [j for j in clips if categories[j] == categories[i]].index(i) % 3 == n]
               for n in range(3)}  # fmt: skip
    usable = [part for part in parts.values() if part and len({categories[i] for i in clips if i not in part}) > 1]
    assert results[fold]['c'] in linear_probe.GRID and (usable or results[fold]['c'] == 0.01)
    assert (f'fold {fold}: too few clips' in notes) == (not usable)
  fixed = linear_probe.cross_validate(samples, names, c=0.01)
  assert all(results[fold]['predictions'] == fixed[fold]['predictions'] for fold in names if results[fold]['c'] == 0.01)
