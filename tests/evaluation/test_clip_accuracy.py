"""Accuracy on labelled clips: groups of classes, windows of a clip, tables, folds."""

import collections
import json
import pathlib

import evaluation_fixtures
import numpy as np
import pytest
from scipy import special

from audionet_tf.core import confusion
from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.evaluation import clip_accuracy, multilabel, predictor, report
from audionet_tf.media import decoding
from audionet_tf.models import registry, student_settings


def distributions(*shape, seed=0):
  """Random probabilities that sum to 1 over the last axis."""
  return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.3), shape[:-1])


@pytest.fixture
def tones(tmp_path):
  return evaluation_fixtures.tones(tmp_path)


def test_groups_by_name(tmp_path):
  path = evaluation_fixtures.groups_csv(
    tmp_path,
    ['dog', 235, 'german shepherd'],
    ['dog', 242, 'Boxer'],
    ['dog', 207, 'golden_retriever'],
    ['dog', 999, 'a class that this model does not have'],
    ['bird', 4, 'crane'],
    ['birds', 900, 'crane'],
  )
  assert clip_accuracy.read_groups(path, evaluation_fixtures.NAMES) == {'dog': [2, 5, 6], 'bird': [4], 'birds': [3, 4]}


def test_indices_are_shifted_for_a_model_with_background(tmp_path):
  names = ['background', 'crane', 'x', 'crane']
  assert clip_accuracy.read_groups(evaluation_fixtures.groups_csv(tmp_path, ['bird', 2, 'crane']), names) == {
    'bird': [3]
  }


def test_groups_use_indices_only_without_names(tmp_path):
  path = evaluation_fixtures.groups_csv(tmp_path, ['dog', 207, 'golden retriever'], ['dog', 7, 'cock'])
  assert clip_accuracy.read_groups(path, [f'class {i}' for i in range(1000)]) == {'dog': [7, 207]}
  for names in ([f'class {i}' for i in range(999)], [f'name {i}' for i in range(1000)]):
    with pytest.raises(UserError, match="no class of category 'dog'"):
      clip_accuracy.read_groups(path, names)


def test_groups_without_an_index(tmp_path):
  path = evaluation_fixtures.write_csv(tmp_path / 'groups.csv', [['category', 'class_name'], ['tone', 'low']])
  assert clip_accuracy.read_groups(path, evaluation_fixtures.NAMES) == {'tone': [0]}


@pytest.mark.parametrize(
  'text, expected', [('', 'no rows'), ('a,b\n1,2\n', 'no column category'), ('category\nx\n', 'class_name')]
)
def test_invalid_tables_are_named(tmp_path, text, expected):
  (tmp_path / 'groups.csv').write_text(text)
  with pytest.raises(UserError, match=expected):
    clip_accuracy.read_groups(tmp_path / 'groups.csv', evaluation_fixtures.NAMES)


def test_read_clips(tmp_path):
  rows = [['filename', 'fold', 'target', 'category'], ['a.ogg', 1, 0, 'x'], ['b/c.ogg', 4, 1, 'y']]
  path = evaluation_fixtures.write_csv(tmp_path / 'clips.csv', rows)
  assert clip_accuracy.read_clips(path) == [(tmp_path / 'a.ogg', 'x'), (tmp_path / 'b' / 'c.ogg', 'y')]
  assert clip_accuracy.read_clips(path, '/media', ['4']) == [(pathlib.Path('/media/b/c.ogg'), 'y')]
  with pytest.raises(UserError, match='no clips of fold 5; the table has 1, 4'):
    clip_accuracy.read_clips(path, None, ['5'])


def test_group_scores_are_sums_of_probabilities():
  probabilities = distributions(20, 7)
  scores = clip_accuracy.group_scores(probabilities, {'a': [0, 3], 'b': [6]})
  np.testing.assert_allclose(scores, [[p[0] + p[3], p[6]] for p in probabilities])


def test_a_confusion_matrix_counts_pairs():
  true, predicted = np.random.default_rng(0).integers(0, 4, [2, 50])
  counts = collections.Counter(zip(true.tolist(), predicted.tolist(), strict=True))
  expected = [[counts[row, column] for column in range(5)] for row in range(5)]
  assert confusion.matrix(true, predicted, 5).tolist() == expected


def test_evaluate_clips(tones):
  student = predictor.load_student(tones / 'run')
  groups = clip_accuracy.read_groups(tones / 'groups.csv', student.class_names)
  measured = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert measured['categories'] == ['shrill', 'deep', 'dog']
  assert measured['confusion'] == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
  assert (measured['accuracy'], measured['clips'], measured['unreadable']) == (0.8, 5, [])
  text = report.of_clips(measured)
  assert 'accuracy: 80.0% (4 of 5 clips)' in text and 'true \\ predicted' in text and '1 shrill' in text


def test_without_groups_the_classes_are_the_categories(tones):
  evaluation_fixtures.known_student(tones / 'labels', class_names=['deep', 'shrill', *evaluation_fixtures.NAMES[2:]])
  done = evaluation_fixtures.evaluate(
    f'--model={tones}/labels', f'--clips={tones}/videos.csv', f'--output={tones}/x.json'
  )
  assert done.returncode == 0, done.stderr
  measured = json.loads((tones / 'x.json').read_text())['clips']
  assert measured['categories'][:2] == ['deep', 'shrill'] and measured['accuracy'] == 0.8


def test_clip_probabilities_are_the_mean_over_windows(tones):
  student = predictor.load_student(tones / 'run')
  framing = params.Framing()
  probabilities = clip_accuracy.clip_probabilities(student, tones / 'a.wav', framing)
  n = np.arange(8000)
  pcm = np.rint(0.5 * np.cos(2 * np.pi * 1000 * n / 16000) * 32768) / 32768
  windows = pcm[: 12 * 640].reshape(12, 640).astype(np.float32)
  expected = special.softmax(student.logits(windows)[:, 0].astype(np.float64), -1).mean(0)
  np.testing.assert_allclose(probabilities, expected, rtol=1e-3)
  longer = clip_accuracy.clip_probabilities(student, tones / 'a.wav', params.Framing(0.5, 0.5))
  np.testing.assert_allclose(longer, special.softmax(student.logits(pcm[None].astype(np.float32))[0, 0]), rtol=1e-3)


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows', 'repeats'),
  [('soundnet5', 5.0, 1, 1), ('soundnet5', 0.2, 2, 13), ('logmel_cnn', 0.2, 2, 2), ('audionet', 5.0, 1, 0)],
)
def test_short_sound_is_repeated_or_padded_as_the_student_needs(tones, student, window_seconds, rows, repeats):
  """A sound of half a second, in `rows` windows, is repeated; for AudioNet it is padded with zeros."""
  waveforms = []

  def logits(waveform):
    waveforms.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = student_settings.StudentConfig(student, 22_050, 'mean', window_seconds, {'t': ['x', 'y']})
  framing = params.Framing(window_seconds, window_seconds, sample_rate_hz=22_050)
  probabilities = clip_accuracy.clip_probabilities(
    predictor.LogitsModel(logits, settings, None, 't', ['x', 'y']), tones / 'a.wav', framing
  )
  np.testing.assert_allclose(probabilities, [0.5, 0.5])
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(tones / 'a.wav', 22_050, 'mean')]) / 32768
  size = framing.window_samples
  whole = np.resize(pcm, rows * size) if repeats else np.pad(pcm, [0, size - len(pcm)])
  expected = np.tile(whole.reshape(rows, size), [1, max(repeats, 1)])
  assert expected.shape[1] >= registry.shortest_samples(student)
  np.testing.assert_array_equal(np.concatenate(waveforms), expected.astype(np.float32))


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows'), [('logmel_cnn', None, 3), ('logmel_cnn', 0.2, 2), ('audionet', None, 2)]
)
def test_clips_end_with_the_windows_of_infer(tones, student, window_seconds, rows):
  """Clips of 0.5 s in windows of 0.2 s: by default a third window ends with the clip."""
  batches = []

  def logits(waveform):
    batches.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = student_settings.StudentConfig(student, 16_000, 'mean', 0.2, {'t': ['deep', 'shrill']})
  model = predictor.LogitsModel(logits, settings, None, 't', ['deep', 'shrill'])
  clip_accuracy.evaluate_clips(model, [(tones / 'a.wav', 'deep')], {'deep': [0], 'shrill': [1]}, window_seconds)
  table = multilabel.read(
    evaluation_fixtures.write_csv(tones / 'one.csv', [['file', 'labels'], ['a.wav', 'deep']]), ['deep', 'shrill']
  )
  multilabel.evaluate(model, table, tones, window_seconds)
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(tones / 'a.wav', 16_000, 'mean')]) / 32768
  expected = [pcm[:3200], pcm[3200:6400], pcm[-3200:]][:rows]
  for batch in batches:
    np.testing.assert_array_equal(batch[:, :3200], np.array(expected, np.float32))
  assert len(batches) == 2


def test_unreadable_clips_are_reported_and_skipped(tones, capsys):
  (tones / 'b.wav').write_bytes(b'no sound at all')
  (tones / 'c.wav').unlink()
  student = predictor.load_student(tones / 'run')
  groups = clip_accuracy.read_groups(tones / 'groups.csv', student.class_names)
  measured = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert (measured['accuracy'], measured['clips']) == (1, 3)
  assert measured['unreadable'] == [str(tones / 'b.wav'), str(tones / 'c.wav')]
  assert 'b.wav' in capsys.readouterr().err


def test_categories_without_a_group_are_named(tones):
  student = predictor.load_student(tones / 'run')
  with pytest.raises(UserError, match='no group for the categories shrill of the clips'):
    clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), {'deep': [0]})


def test_each_fold_is_evaluated_with_its_own_model(tones):
  evaluation_fixtures.known_student(tones / 'run1', class_names=evaluation_fixtures.NAMES)
  evaluation_fixtures.known_student(
    tones / 'run2', class_names=evaluation_fixtures.NAMES[1::-1] + evaluation_fixtures.NAMES[2:]
  )  # confuses low with high
  done = evaluation_fixtures.evaluate(
    f'--model={tones}/run{{fold}}',
    '--folds=1,2',
    f'--clips={tones}/videos.csv',
    f'--groups={tones}/groups.csv',
    f'--output={tones}/x.json',
  )
  assert done.returncode == 0, done.stderr
  measured = json.loads((tones / 'x.json').read_text())['clips']
  # Fold 1: a and b are low, e is high, all correct. Fold 2: c is low but labelled high: correct by accident; d: wrong.
  assert measured['folds'] == {'1': 1.0, '2': 0.5}
  assert (measured['accuracy'], measured['mean'], measured['clips']) == (0.8, 0.75, 5)
  assert measured['deviation'] == pytest.approx(np.std([1, 0.5], ddof=1))
  assert np.sum(measured['confusion']) == 5
  assert 'folds 1: 100.0%, 2: 50.0%; mean 75.0%' in done.stdout


def test_a_single_fold_has_no_standard_deviation():
  part = {'accuracy': 0.5, 'clips': 2, 'unreadable': [], 'categories': ['a', 'b'], 'results': []}
  measured = clip_accuracy.together({'3': part | {'confusion': [[1, 0], [1, 0]]}})
  assert (measured['folds'], measured['mean'], measured['deviation']) == ({'3': 0.5}, 0.5, None)
  assert 'folds 3: 50.0%; mean 50.0%, standard deviation -' in report.of_clips(measured).splitlines()
