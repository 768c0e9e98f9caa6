"""F1 of segments and events, against counts made by hand, and the command on tones with known onsets."""

import importlib.util
import json
import types

import commands
import pytest
import scipy.io.wavfile
import tones

from audionet_tf.captioning import event_detection, event_scores, psds
from audionet_tf.captioning.event_tables import Annotation
from audionet_tf.core.errors import UserError
from audionet_tf.saved_model import export

if None in map(importlib.util.find_spec, ('sed_eval', 'psds_eval')):
  message = '!!!! EVENT SCORES NOT TESTED: sed_eval or psds_eval not installed (scripts/setup events)'
  pytest.skip(message, allow_module_level=True)


def f1(right, annotated, detected):
  return 2 * right / (annotated + detected)


def test_counts_by_hand():
  annotated = [Annotation(0, 2, 'a'), Annotation(4, 5, 'a'), Annotation(0, 3, 'b')]
  detected = [
    Annotation(0.1, 2.3, 'a'),  # onset within 0.2 s, offset within a fifth of 2 s
    Annotation(4.3, 5, 'a'),  # onset too late; yet in the right segment
    Annotation(0, 2, 'b'),  # offset too early: a third of 3 s
    Annotation(7, 8, 'b'),  # nothing there
  ]
  silent = ('silent.wav', 3.0, [], [Annotation(0, 1, 'a')])
  measured = event_scores.score([('x.wav', 8.0, annotated, detected), silent], ['a', 'b'])
  event, segment = measured['event'], measured['segment']
  assert event['classes']['a'] == {
    'annotated': 2,
    'detected': 3,
    'precision': pytest.approx(1 / 3),
    'recall': 0.5,
    'f1': pytest.approx(f1(1, 2, 3)),
  }
  assert event['classes']['b']['f1'] == 0 and event['f1'] == pytest.approx(f1(1, 3, 5))
  assert event['macro_f1'] == pytest.approx(f1(1, 2, 3) / 2)
  # Active seconds, a: 0 1 and 4, detected 0 1 2 and 4, and one in the silent file. b: 0 1 2, detected 0 1 and 7.
  assert segment['classes']['a']['f1'] == pytest.approx(f1(3, 3, 5))
  assert segment['classes']['b']['f1'] == pytest.approx(f1(2, 3, 3))
  assert segment['f1'] == pytest.approx(f1(5, 6, 8))


def test_labels_are_the_students_classes_but_for_case_and_underscores():
  annotated = {'x.wav': [Annotation(0, 1, 'Dog bark'), Annotation(1, 2, 'CAT')]}
  named = event_scores.in_classes(annotated, ['dog_bark', 'cat', 'owl'], 'x.csv')
  assert [event.label for event in named['x.wav']] == ['dog_bark', 'cat']
  with pytest.raises(UserError, match='no events called CAT, Dog bark; it has owl; --names=CSV'):
    event_scores.in_classes(annotated, ['owl'], 'x.csv')
  with pytest.raises(UserError, match='holds no event'):
    event_scores.in_classes({'x.wav': []}, ['owl'], 'x.csv')


def test_a_file_of_several_names_is_compared_once_with_all_its_annotations(tmp_path, monkeypatch):
  owl, crow = Annotation(0, 1, 'owl'), Annotation(2, 3, 'crow')
  (tmp_path / 'clip.wav').write_bytes(b'')
  heard = (4.0, [owl, crow], [[owl, crow] for _ in psds.THRESHOLDS])
  monkeypatch.setattr(event_scores, 'detected', lambda *_: heard)
  predictor = types.SimpleNamespace(class_names=['owl', 'crow'])
  annotated = {'clip': [owl], 'clip.wav': [crow]}  # as of two tables of Raven
  measured = event_scores.evaluate(predictor, event_detection.DetectionConfig(), annotated, 'tables', tmp_path)
  assert measured['files'] == 1 and measured['event']['f1'] == measured['segment']['f1'] == 1


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Two sounds of tones, their true events, and a student that hears them."""
  folder = tmp_path_factory.mktemp('world')
  served = tones.student()
  export.export(served.module, served.settings, folder / 'export')
  scipy.io.wavfile.write(folder / 'a.wav', tones.RATE, tones.sound(9, ('low', 1, 3), ('high', 4, 5)))
  scipy.io.wavfile.write(folder / 'b.wav', tones.RATE, tones.sound(4, ('low', 0.5, 3.5)))
  (folder / 'broken.wav').write_bytes(b'nothing')
  return folder


def evaluate(world, table, *flags):
  options = ['--model=export', f'--events={table}', '--stop=silence', '--output=scores.json', *flags]
  done = commands.run('audionet_tf.evaluate', *options, cwd=world)
  assert 'Traceback' not in done.stderr
  return done


@pytest.mark.long
def test_known_onsets_are_found(world):
  rows = ['a.wav,1,3,low', 'a.wav,4,5,High', 'b.wav,0.5,3.5,low', 'b.wav,0.5,1.5,high']  # the last is not there
  (world / 'events.csv').write_text('\n'.join(['file,onset,offset,label', *rows]))
  done = evaluate(world, 'events.csv')
  assert done.returncode == 0, done.stderr
  measured = json.loads((world / 'scores.json').read_text())['events']
  assert measured['event']['classes']['low']['f1'] == 1
  assert measured['event']['classes']['high']['recall'] == 0.5
  assert measured['event']['f1'] == pytest.approx(f1(3, 4, 3)) and measured['files'] == 2
  assert 'all together' in done.stdout and '85.7%' in done.stdout
  # Every threshold finds the tones and nothing else: of `low` 2 of 2, of `high` 1 of 2, less the standard deviation.
  assert measured['psds'] == {key: pytest.approx(0.75 - 0.25) for key in ('psds1', 'psds2')}
  assert 'PSDS, over all thresholds: 0.500 (events in their place), 0.500 (no confusion)' in done.stdout


def test_a_student_of_embeddings_hears_events_of_classes_in_a_table(world):
  tones.write_embedding_student(world, tones.NAMES)
  (world / 'low.csv').write_text('file,onset,offset,label\na.wav,1,3,low\n')
  done = evaluate(world, 'low.csv', '--model=run', '--classes=words.npz')
  assert done.returncode == 0, done.stderr
  assert json.loads((world / 'scores.json').read_text())['events']['event']['classes']['low']['f1'] == 1
  done = evaluate(world, 'low.csv', '--model=run', '--classes=none.txt')
  assert done.returncode == 1 and 'none.txt' in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.long
def test_what_caption_writes_for_raven_scores_one(world):
  done = commands.run(
    *['audionet_tf.caption', '--model=export', '--stop=silence', '--output=raven', '--format=raven', 'a.wav', 'b.wav'],
    cwd=world,
    check=True,
  )
  assert 'a.wav.selections.txt' in done.stdout
  done = evaluate(world, 'raven', '--media_root=.')
  assert done.returncode == 0, done.stderr
  measured = json.loads((world / 'scores.json').read_text())['events']
  assert measured['event']['f1'] == measured['segment']['f1'] == 1


def test_missing_and_unreadable_files_are_named_and_left_out(world):
  (world / 'some.csv').write_text('file,onset,offset,label\na.wav,1,3,low\nbroken.wav,0,1,low\ngone.wav,0,1,low\n')
  done = evaluate(world, 'some.csv')
  assert done.returncode == 1 and 'gone.wav: no such file' in done.stderr and 'broken.wav: ' in done.stderr
  assert '2 files left out: gone.wav, broken.wav' in done.stdout


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--events=none.csv'], 'none.csv: no such file'),
    (['--clips=some.csv', '--threshold=0.5'], '--threshold goes with --events'),
    (['--events=some.csv', '--thresholds=none.csv'], 'none.csv: no such file'),
    ([], 'evaluate needs --records or --clips or --labels or --events'),
  ],
)
def test_mistakes_are_one_line(world, flags, message):
  (world / 'some.csv').write_text('file,onset,offset,label\na.wav,1,3,low\n')
  done = commands.run('audionet_tf.evaluate', '--model=export', *flags, cwd=world)
  assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1
