"""What a student says of clips with a category each: its groups of classes, its windows, its table, its folds."""

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
from audionet_tf.models import registry, student_file


def distributions(*shape, seed=0):
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
    ['dog', 999, 'a class that this model lacks'],
    ['bird', 4, 'crane'],
    ['birds', 900, 'crane'],
  )
  assert clip_accuracy.read_groups(path, evaluation_fixtures.NAMES) == {'dog': [2, 5, 6], 'bird': [4], 'birds': [3, 4]}


def test_groups_of_a_model_with_background_count_one_on(tmp_path):
  names = ['background', 'crane', 'x', 'crane']
  assert clip_accuracy.read_groups(evaluation_fixtures.groups_csv(tmp_path, ['bird', 2, 'crane']), names) == {
    'bird': [3]
  }


def test_groups_by_index_only_without_names(tmp_path):
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
def test_damaged_tables(tmp_path, text, expected):
  (tmp_path / 'groups.csv').write_text(text)
  with pytest.raises(UserError, match=expected):
    clip_accuracy.read_groups(tmp_path / 'groups.csv', evaluation_fixtures.NAMES)


def test_clips_of_folds(tmp_path):
  rows = [['filename', 'fold', 'target', 'category'], ['a.ogg', 1, 0, 'x'], ['b/c.ogg', 4, 1, 'y']]
  path = evaluation_fixtures.write_csv(tmp_path / 'clips.csv', rows)
  assert clip_accuracy.read_clips(path) == [(tmp_path / 'a.ogg', 'x'), (tmp_path / 'b' / 'c.ogg', 'y')]
  assert clip_accuracy.read_clips(path, '/media', ['4']) == [(pathlib.Path('/media/b/c.ogg'), 'y')]
  with pytest.raises(UserError, match='no clips of fold 5; there are 1, 4'):
    clip_accuracy.read_clips(path, None, ['5'])


def test_group_scores_are_sums():
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
  found = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert found['categories'] == ['shrill', 'deep', 'dog']
  assert found['confusion'] == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
  assert (found['accuracy'], found['clips'], found['unreadable']) == (0.8, 5, [])
  text = report.of_clips(found)
  assert 'accuracy: 80.0% (4 of 5 clips)' in text and '1 shrill' in text


def test_the_classes_of_a_student_of_labels_are_the_categories(tones):
  evaluation_fixtures.known_student(tones / 'labels', class_names=['deep', 'shrill', *evaluation_fixtures.NAMES[2:]])
  done = evaluation_fixtures.evaluate(
    f'--model={tones}/labels', f'--clips={tones}/videos.csv', f'--output={tones}/x.json'
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((tones / 'x.json').read_text())['clips']
  assert found['categories'][:2] == ['deep', 'shrill'] and found['accuracy'] == 0.8


def test_a_clip_is_the_mean_over_its_windows(tones):
  student = predictor.load_student(tones / 'run')
  cut = params.RecordParams()
  probabilities = clip_accuracy.clip_probabilities(student, tones / 'a.wav', cut)
  n = np.arange(8000)
  pcm = np.rint(0.5 * np.cos(2 * np.pi * 1000 * n / 16000) * 32768) / 32768
  windows = pcm[: 12 * 640].reshape(12, 640).astype(np.float32)
  expected = special.softmax(student.logits(windows)[:, 0].astype(np.float64), -1).mean(0)
  np.testing.assert_allclose(probabilities, expected, rtol=1e-3)
  longer = clip_accuracy.clip_probabilities(student, tones / 'a.wav', params.RecordParams(0.5, 0.5))
  np.testing.assert_allclose(longer, special.softmax(student.logits(pcm[None].astype(np.float32))[0, 0]), rtol=1e-3)


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows', 'repeats'),
  [('soundnet5', 5.0, 1, 1), ('soundnet5', 0.2, 2, 13), ('logmel_cnn', 0.2, 2, 2), ('audionet', 5.0, 1, 0)],
)
def test_short_sound_is_repeated_for_those_that_repeat(tones, student, window_seconds, rows, repeats):
  """Windows without end of a sound of half a second, of which `rows` begin within it; AudioNet hears silence behind."""
  heard = []

  def logits(waveform):
    heard.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = student_file.StudentConfig(student, 22_050, 'mean', window_seconds, {'t': ['x', 'y']})
  cut = params.RecordParams(window_seconds, window_seconds, sample_rate_hz=22_050)
  found = clip_accuracy.clip_probabilities(
    predictor.LogitsModel(logits, settings, None, 't', ['x', 'y']), tones / 'a.wav', cut
  )
  np.testing.assert_allclose(found, [0.5, 0.5])
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(tones / 'a.wav', 22_050, 'mean')]) / 32768
  size = cut.window_samples
  whole = np.resize(pcm, rows * size) if repeats else np.pad(pcm, [0, size - len(pcm)])
  expected = np.tile(whole.reshape(rows, size), [1, max(repeats, 1)])
  assert expected.shape[1] >= registry.shortest_samples(student)
  np.testing.assert_array_equal(np.concatenate(heard), expected.astype(np.float32))


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows'), [('logmel_cnn', None, 3), ('logmel_cnn', 0.2, 2), ('audionet', None, 2)]
)
def test_clips_end_as_infer_hears_them(tones, student, window_seconds, rows):
  """Clips of 0.5 s in windows of 0.2 s: a third one ends with the clip where no length is asked for."""
  heard = []

  def logits(waveform):
    heard.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = student_file.StudentConfig(student, 16_000, 'mean', 0.2, {'t': ['deep', 'shrill']})
  judged = predictor.LogitsModel(logits, settings, None, 't', ['deep', 'shrill'])
  clip_accuracy.evaluate_clips(judged, [(tones / 'a.wav', 'deep')], {'deep': [0], 'shrill': [1]}, window_seconds)
  table = multilabel.read(
    evaluation_fixtures.write_csv(tones / 'one.csv', [['file', 'labels'], ['a.wav', 'deep']]), ['deep', 'shrill']
  )
  multilabel.evaluate(judged, table, tones, window_seconds)
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(tones / 'a.wav', 16_000, 'mean')]) / 32768
  expected = [pcm[:3200], pcm[3200:6400], pcm[-3200:]][:rows]
  for found in heard:
    np.testing.assert_array_equal(found[:, :3200], np.array(expected, np.float32))
  assert len(heard) == 2


def test_unreadable_clips_are_named_and_left_out(tones, capsys):
  (tones / 'b.wav').write_bytes(b'no sound at all')
  (tones / 'c.wav').unlink()
  student = predictor.load_student(tones / 'run')
  groups = clip_accuracy.read_groups(tones / 'groups.csv', student.class_names)
  found = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert (found['accuracy'], found['clips']) == (1, 3)
  assert found['unreadable'] == [str(tones / 'b.wav'), str(tones / 'c.wav')]
  assert 'b.wav' in capsys.readouterr().err


def test_a_category_without_a_group_is_named(tones):
  student = predictor.load_student(tones / 'run')
  with pytest.raises(UserError, match='no group for the categories shrill of the clips'):
    clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), {'deep': [0]})


def test_folds_are_judged_by_their_own_models_and_added_up(tones):
  evaluation_fixtures.known_student(tones / 'run1', class_names=evaluation_fixtures.NAMES)
  evaluation_fixtures.known_student(
    tones / 'run2', class_names=evaluation_fixtures.NAMES[1::-1] + evaluation_fixtures.NAMES[2:]
  )  # takes low for high
  done = evaluation_fixtures.evaluate(
    f'--model={tones}/run{{fold}}',
    '--folds=1,2',
    f'--clips={tones}/videos.csv',
    f'--groups={tones}/groups.csv',
    f'--output={tones}/x.json',
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((tones / 'x.json').read_text())['clips']
  # Fold 1: a and b low, e high, all right. Fold 2: c is low and labelled high: right by mistake; d is taken for low.
  assert found['folds'] == {'1': 1.0, '2': 0.5}
  assert (found['accuracy'], found['mean'], found['clips']) == (0.8, 0.75, 5)
  assert found['deviation'] == pytest.approx(np.std([1, 0.5], ddof=1))
  assert np.sum(found['confusion']) == 5
  assert 'folds 1: 100.0%, 2: 50.0%; mean 75.0%' in done.stdout


def test_one_fold_deviates_from_nothing():
  part = {'accuracy': 0.5, 'clips': 2, 'unreadable': [], 'categories': ['a', 'b'], 'results': []}
  found = clip_accuracy.together({'3': part | {'confusion': [[1, 0], [1, 0]]}})
  assert (found['folds'], found['mean'], found['deviation']) == ({'3': 0.5}, 0.5, None)
  assert 'folds 3: 50.0%; mean 50.0%, deviation -' in report.of_clips(found).splitlines()
