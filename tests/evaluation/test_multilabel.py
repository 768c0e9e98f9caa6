"""Multi-label evaluation, compared with counted pairs, scikit-learn, and clips of known tones."""

import json
import os
import pathlib

import commands
import numpy as np
import pytest
from scipy.io import wavfile
from sklearn import calibration
from sklearn.metrics import average_precision_score

from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import metrics, multilabel, predictor, report
from audionet_tf.models import student_settings
from audionet_tf.plotting import curves, style

RATE = 16000


def random_scores(clips=400, classes=5):
  """(f32 scores, bool labels) [clips, classes]; scores are higher for clips with the label."""
  rng = np.random.default_rng(0)
  labels = rng.uniform(size=(clips, classes)) < 0.2
  scores = rng.uniform(size=labels.shape) * 0.7 + 0.3 * labels * rng.uniform(size=labels.shape)
  return scores.astype(np.float32).round(3), labels  # rounded, so that some are equal


def test_areas_match_counted_pairs_and_scikit_learn():
  scores, labels = random_scores()
  for column, truth in zip(scores.T, labels.T, strict=True):
    measured = metrics.of_class(column, truth)
    above = np.sign(column[truth][:, None] - column[~truth]).astype(np.float64)
    assert measured['roc_auc'] == pytest.approx(((above + 1) / 2).mean(), abs=1e-9)
    precisions = [truth[column >= score].mean() for score in column[truth]]
    assert measured['average_precision'] == pytest.approx(np.mean(precisions), abs=1e-9)
    assert measured['average_precision'] == pytest.approx(average_precision_score(truth, column), abs=1e-6)
    assert measured['positives'] == truth.sum()
    for curve in (measured['roc'], measured['precision_recall']):
      lengths = {len(values) for values in curve.values()}
      assert len(lengths) == 1 and lengths.pop() <= metrics.CURVE_POINTS
    assert measured['roc']['true_positive_rate'][-1] == 1 and measured['precision_recall']['recall'][0] == 0


def test_d_prime_is_the_distance_of_two_normal_distributions():
  rng = np.random.default_rng(0)
  truth = np.arange(200_000) % 2 == 0
  measured = metrics.of_class(rng.normal(1.5 * truth).astype(np.float32), truth)
  assert measured['d_prime'] == pytest.approx(1.5, abs=0.02)


def test_classes_with_undefined_metrics_are_left_out_and_listed():
  truth = np.array([True, False, True, False])
  scores = np.float32([0.9, 0.3, 0.2, 0.1])
  labels = {'none': truth & False, 'all': truth | True, 'some': truth, 'best': scores > 0.5}
  rows = {name: metrics.of_class(scores, row) for name, row in labels.items()}
  measured = metrics.means(rows)
  assert measured['average_precision'] == pytest.approx((1 + (1 + 2 / 3) / 2 + 1) / 3)
  assert measured['roc_auc'] == pytest.approx((0.75 + 1) / 2)
  assert measured['d_prime'] == pytest.approx(metrics.d_prime(0.75))  # that of `best` is infinite
  assert measured['d_prime_of_mean_auc'] == pytest.approx(metrics.d_prime(0.875))
  left_out = [measured[key] for key in ('without_positives', 'without_negatives', 'told_apart_perfectly')]
  assert left_out == [['none'], ['all'], ['best']]
  json.dumps(measured, allow_nan=False)


def test_calibration_matches_scikit_learn():
  scores, labels = random_scores()
  counts = metrics.Calibration()
  for row in zip(scores, labels, strict=True):
    counts.add(*row)
  measured = counts.result()
  share, score = calibration.calibration_curve(labels.ravel(), scores.ravel(), n_bins=metrics.CALIBRATION_BINS)
  np.testing.assert_allclose(measured['share_of_positives'], share)
  np.testing.assert_allclose(measured['mean_score'], score, rtol=1e-5)
  assert measured['error'] == pytest.approx(np.average(abs(share - score), weights=measured['count']))


def tone(hz, seconds=0.4):
  return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def tone_logits(waveform):
  """f32 [B, 1, 2]: logits that grow with the levels at 1 and 3 kHz."""
  powers = np.abs(np.fft.rfft(waveform, axis=1)) / waveform.shape[1]
  bins = [round(hz * waveform.shape[1] / RATE) for hz in (1000, 3000)]
  return (40 * powers[:, bins] - 4).astype(np.float32)[:, None]


@pytest.fixture
def student():
  settings = student_settings.StudentConfig(
    'audionet', RATE, 'mean', 0.04, {'t': ['Low', 'High, shrill']}, activations={'t': 'sigmoid'}
  )
  return predictor.LogitsModel(tone_logits, settings, None, 't', settings.classes['t'])


@pytest.fixture
def folder(tmp_path):
  sounds = {
    'low.wav': tone(1000),
    'sub/high.wav': tone(3000),
    'abcdefghijk_30.wav': tone(1000) + tone(3000),
    'nothing.wav': tone(1000) * 0,
    'long.wav': np.concatenate([tone(1000), tone(3000), tone(1000) * 0]),
  }
  (tmp_path / 'sub').mkdir()
  for name, sound in sounds.items():
    wavfile.write(tmp_path / name, RATE, (sound * 16000).astype(np.int16))
  return tmp_path


LABELS = """file,start,end,labels
low,,,Low
high.wav,,,High_shrill
abcdefghijk,30,40,/m/1;/m/2
nothing.wav,,,
long.wav,0.4,0.8,/m/2
long.wav,0,0.4,low
"""


def test_clips_are_scored_in_the_spans_of_the_table(folder, student):
  (folder / 'classes.csv').write_text('index,mid,display_name\n0,/m/2,"High, shrill"\n1,/m/1,Low\n')
  (folder / 'labels.csv').write_text(LABELS.replace('High_shrill', '"High, shrill"'))
  table = multilabel.read(folder / 'labels.csv', student.class_names, folder / 'classes.csv')
  measured = multilabel.evaluate(student, table, folder)
  assert (measured['clips'], measured['unreadable'], list(measured['classes'])) == (6, [], ['High, shrill', 'Low'])
  assert all(row['positives'] == 3 and row['average_precision'] == 1 for row in measured['classes'].values())
  assert measured['means']['told_apart_perfectly'] == ['Low', 'High, shrill']
  assert measured['calibration']['count'] == [6, 6] and measured['calibration']['error'] < 0.2
  lines = report.of_labels(measured).splitlines()
  assert lines[1].split() == ['High,', 'shrill', '3', '1.000', '1.000', '-']
  assert "left out of the means, as d' is infinite: Low, High, shrill" in lines
  figure = curves.curves(measured['classes'], measured['calibration'])
  assert [len(axes.lines) for axes in figure.axes] == [2, 3, 2]
  style.save(figure, folder / 'x.png')


def test_long_lists_of_classes_are_shortened():
  classes = {f'class\n{number}': {'positives': 0, 'roc_auc': None} for number in range(527)}
  row = dict.fromkeys(('positives', 'average_precision', 'roc_auc', 'd_prime', 'd_prime_of_mean_auc'))
  means = row | {'without_positives': list(classes), 'without_negatives': [], 'told_apart_perfectly': ['a', 'b']}
  measured = {'classes': {}, 'means': means, 'clips': 1, 'calibration': {'error': 0.0}}
  lines = report.of_labels(measured).splitlines()
  first = ', '.join(f'class?{number}' for number in range(5))
  assert f'left out of the means, as no clip has them: {first} and 522 more' in lines
  assert "left out of the means, as d' is infinite: a, b" in lines
  assert max(map(len, lines)) < 120


def test_missing_ambiguous_and_unreadable_files_are_named(folder, student, capsys):
  (folder / 'bad.wav').write_bytes(b'no sound')
  os.mkfifo(folder / 'pipe.wav')
  os.mkfifo(folder / 'sub/deep.wav')
  (folder / 'labels.csv').write_text('file,labels\nbad.wav,Low\nlow.wav,Low\npipe.wav,Low\ndeep,Low\n')
  table = multilabel.read(folder / 'labels.csv', student.class_names)
  measured = multilabel.evaluate(student, table, folder)
  names = [pathlib.Path(path).name for path in measured['unreadable']]
  assert measured['clips'] == 1 and names == ['bad.wav', 'pipe.wav', 'deep.wav']
  told = capsys.readouterr().err
  assert 'bad.wav' in told and told.count('not a regular file') == 2 and measured['means']['roc_auc'] is None
  for rows, message in (
    ('missing,Low\n', 'there is no file missing, nor'),
    ('low,Low\n', '2 files are called low, nor'),
  ):
    (folder / 'sub/low.mp3').write_bytes(b'')
    (folder / 'labels.csv').write_text(f'file,labels\n{rows}')
    with pytest.raises(UserError, match=f'{message} .*--media_root'):
      multilabel.evaluate(student, multilabel.read(folder / 'labels.csv', student.class_names), folder)


def test_clips_without_a_file_are_left_out_and_counted(folder, student, capsys):
  (folder / 'sub/low.mp3').write_bytes(b'')
  lines = ['gone.wav,Low', 'high.wav,"High, shrill"', 'low,Low', 'gone2,Low', 'nothing.wav,', 'abcdefghijk_30.wav,Low']
  (folder / 'labels.csv').write_text('\n'.join(['file,labels', *lines]))
  table = multilabel.read(folder / 'labels.csv', student.class_names)
  measured = multilabel.evaluate(student, table, folder)
  missing = {'gone.wav': 'there is no file', 'low': '2 files are called', 'gone2': 'there is no file'}
  assert (measured['clips'], measured['missing']) == (3, missing)
  assert '3 of 6 clips are left out: gone.wav (there is no file), low (2 files are called)' in capsys.readouterr().err
  assert '3 clips without a file, left out: gone.wav, low, gone2' in report.of_labels(measured)
  few = ''.join(lines[i] + '\n' for i in (1, 4, 5))
  (folder / 'labels.csv').write_text(f'file,labels\n{few}')
  alone = multilabel.evaluate(student, multilabel.read(folder / 'labels.csv', student.class_names), folder)
  assert alone['missing'] == {} and alone['means'] == measured['means']  # the others are judged as without them


NAMES = ['Yabcdefghijk', 'abcdefghijk_0.4', 'abcdefghijk_0.400_0.800', 'abcdefghijk_0.4-0.8', 'abcdefghijk_400_800',
         'Yabcdefghijk_0.400', 'abcdefghijk']  # fmt: skip


@pytest.mark.parametrize('name', NAMES)
def test_files_of_downloaders_are_found_and_hold_the_segment(folder, student, name):
  (folder / 'sub/abcdefghijk').mkdir()
  wavfile.write(folder / f'sub/abcdefghijk/{name}.wav', RATE, (tone(3000) * 16000).astype(np.int16))
  wavfile.write(folder / 'sub/abcdefghijk_9.0.wav', RATE, (tone(1000) * 16000).astype(np.int16))  # another segment
  (folder / 'abcdefghijk_30.wav').unlink()
  (folder / 'labels.csv').write_text('abcdefghijk, 0.400, 0.800, "High, shrill"\n')
  located, missing = multilabel.clips(multilabel.read(folder / 'labels.csv', student.class_names), folder)
  assert (missing, [path.stem for path, *_ in located]) == ({}, [name])
  (path, span, rows) = located[0]
  assert multilabel.span_within(path, span) is None and rows[0].labels == (1,)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--labels=x.csv', '--clips=y.csv'], 'use either --clips or --labels, not both'),
    (['--labels=x.csv', '--groups=y.csv'], '--groups goes with --clips'),
    (['--records=r', '--vocabulary=v.csv'], '--vocabulary goes with --labels'),
    (['--labels=x.csv'], 'x.csv: no such file'),
  ],
)
def test_invalid_combinations_of_flags_are_named(arguments, message):
  done = commands.run('audionet_tf.evaluate', '--model=run', *arguments)
  assert done.returncode == 1 and done.stderr.strip() == f'error: {message}'
