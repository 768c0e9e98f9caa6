"""The transfer benchmark: the folds of each step, its table, and the mistakes that it refuses."""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from audionet_tf.core.errors import UserError
from experiments import folds

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / 'scripts'


def results():
  values = {('1', '0'): 0.5, ('2', '0'): 0.7, ('1', '1'): 0.6, ('2', '1'): 0.9}
  return [
    {'row': 'best', 'fold': fold, 'seed': seed, 'shares': {'named': value, 'embedding': 0.5}}
    for (fold, seed), value in values.items()
  ]


def test_summary_is_over_folds_and_over_seeds():
  named, embedding = folds.summary(results())
  assert named['mean'] == pytest.approx(0.675)
  assert named['folds'] == pytest.approx({'1': 0.55, '2': 0.8})
  assert named['over_folds'] == pytest.approx(0.25 / 2**0.5)
  assert named['over_seeds'] == pytest.approx(0.15 / 2**0.5)
  assert (embedding['figure'], embedding['over_folds']) == ('embedding', 0)


def test_table_says_what_is_required():
  lines = folds.table(folds.summary(results()), folds.ROWS).splitlines()
  cells = [line.split() for line in lines[1:]]
  assert cells[0] == ['best', 'named', '85.0', '93.0', '55.0', '80.0', '67.5', '17.7', '10.6']
  assert cells[1][:4] == ['best', 'embedding', '87.0', '93.0']
  mfcc = [{'row': 'mfcc', 'fold': '1', 'seed': None, 'shares': {'mfcc': 0.6}}]
  last = folds.table(folds.summary(mfcc), folds.ROWS).splitlines()[1]
  assert last.split() == ['mfcc', 'mfcc', '-', '-', '60.0', '60.0', '-', '-']


def test_tensorboard_compares_candidates(tmp_path):
  shares = {'named': 0.75, 'embedding': 0.5}
  for number in range(2):
    folds.write_hparams(tmp_path / f'{number}', 'slow', ['learning_rate=1e-3', 'augment=shift,mix=1'], shares)
  groups = []
  for path in sorted(tmp_path.rglob('events.*')):
    values = [v for event in tf.compat.v1.train.summary_iterator(str(path)) for v in event.summary.value]
    assert {v.tag: float(tf.make_ndarray(v.tensor)) for v in values if not v.tag.startswith('_')} == shares
    # Without `_hparams_/experiment`, which would fix the columns to the flags of one candidate.
    (content,) = (v.metadata.plugin_data.content for v in values if v.tag.startswith('_hparams_/'))
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    given = {name: value.string_value for name, value in start.hparams.items()}
    assert given == {'candidate': 'slow', 'learning_rate': '1e-3', 'augment': 'shift,mix=1'}
    groups.append(start.group_name)
  assert groups == ['slow', 'slow']  # of one row


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A Place whose commands are written down instead of run, each leaving what the next step reads."""
  for fold in '123':
    (tmp_path / f'videos/fold{fold}').mkdir(parents=True)
  (tmp_path / 'data/teacher').mkdir(parents=True)
  for name in ('a.tflite', 'a.txt'):
    (tmp_path / 'data/teacher' / name).touch()
  calls = []

  def run(module, *arguments):
    given = dict(str(argument)[2:].partition('=')[::2] for argument in arguments if '=' in str(argument))
    folders = [str(argument).rpartition('/')[2] for argument in arguments if '--videos=' in str(argument)]
    calls.append((module, given, folders))
    if module == 'audionet_tf.evaluate':
      clips = {'accuracy': 0.25, 'vision': {'sound': 0.25, 'vision': 1.0, 'sound_and_vision': 0.5}}
      pathlib.Path(given['output']).write_text(json.dumps({'clips': clips}))
    elif module == 'audionet_tf.probe':
      pathlib.Path(given['output']).mkdir(parents=True, exist_ok=True)
      layers = {layer: {'mean': 0.75} for layer in given['layer'].split(',')}
      (pathlib.Path(given['output']) / 'probe.json').write_text(json.dumps({'layers': layers}))
    elif module == 'audionet_tf.train':
      (pathlib.Path(given['run_dir']) / 'export/1').mkdir(parents=True)

  monkeypatch.setattr(folds, 'run', run)
  return folds.Place(tmp_path / 'data', tmp_path / 'videos', tmp_path / 'work'), calls


def test_the_evaluation_fold_is_held_out_and_no_label_reaches_the_student(place):
  place, calls = place
  shares = folds.evaluate(place, 'best', folds.ROWS['best'], '2', '0', ['epochs=1'])
  assert shares == {'named': 0.25, 'vision': 1.0, 'sound_and_vision': 0.5, 'embedding': 0.75}
  (build, given, videos), (train, trained, _), (evaluate, evaluated, _), (probe, probed, _) = calls
  assert [build, train, evaluate, probe] == [
    'tfrecords.build',
    *(f'audionet_tf.{n}' for n in ('train', 'evaluate', 'probe')),
  ]
  assert videos == ['fold1', 'fold3'] and trained['records'] == given['output']
  assert trained['teacher'].endswith('a.tflite') and not any('.csv' in value for value in trained.values())
  assert trained['epochs'] == '1' and evaluated['folds'] == '2'
  assert (probed['folds'], probed['judge']) == ('1,2,3', '2')
  folds.evaluate(place, 'best', folds.ROWS['best'], '2', '0', ['epochs=1'])
  assert len(calls) == 4  # finished steps are kept


@pytest.mark.parametrize('name', ['best', 'mfcc'])
def test_results_of_other_settings_are_refused(place, name):
  place, calls = place

  def evaluate(place, extra=()):
    folds.evaluate(place, name, folds.ROWS[name], '2', '0', list(extra))
    return len(calls)

  assert evaluate(place) == evaluate(place)
  with pytest.raises(UserError, match='work: .* videos;.*--work'):
    evaluate(dataclasses.replace(place, left_out=('3',)))
  with pytest.raises(UserError, match=f'flags of {name};'):
    evaluate(place, ['epochs=2'])


def test_another_probe_is_run_again(place):
  place, calls = place
  row = folds.ROWS['best']
  for c, count in (('0.1', 4), ('0.1', 4), ('0.2', 5)):
    folds.evaluate(place, 'best', dataclasses.replace(row, probe=(f'--c={c}',)), '2', '0', [])
    assert len(calls) == count and calls[-1][0] == 'audionet_tf.probe' and calls[-1][1]['c'] == c
  (probed,) = place.work.glob('**/probe.json')
  (probed.parent / 'asked.json').unlink()  # as before it was written
  folds.evaluate(place, 'best', dataclasses.replace(row, probe=('--c=0.2',)), '2', '0', [])
  assert len(calls) == 6


def test_an_interrupted_probe_is_run_again(place, monkeypatch):
  place, _ = place
  row, run = folds.ROWS['mfcc'], folds.run
  folds.evaluate(place, 'mfcc', row, '2', None, [])

  def interrupted(module, *arguments):
    run(module, *arguments)
    raise KeyboardInterrupt

  monkeypatch.setattr(folds, 'run', interrupted)
  for probe in (('--c=0.2',), row.probe):
    with pytest.raises(KeyboardInterrupt):
      folds.evaluate(place, 'mfcc', dataclasses.replace(row, probe=probe), '2', None, [])


def test_candidates_are_compared_without_the_fold_left_out(place):
  place, _ = place
  assert folds.inner_folds(['1', '2', '3', '4'], '3') == ['4', '1', '2']
  inside = folds.Place(place.data, place.videos, place.work, left_out=('3',))
  assert inside.folds() == ['1', '2']


def test_mistakes_are_one_line(tmp_path):
  (tmp_path / 'esc10').mkdir()
  with (tmp_path / 'esc10/esc10.csv').open('w', newline='') as file:
    csv.writer(file).writerow(['filename', 'fold', 'category'])
  for arguments, message in (
    ([], 'no esc10/esc10.csv'),
    ([f'--data={tmp_path}'], '--videos=None: no videos.csv in it'),
  ):
    line = [sys.executable, '-m', 'experiments.transfer', *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_plan_names_candidates(tmp_path):
  plan = tmp_path / 'plan.txt'
  plan.write_text('# of a night\nplain\nnoisy augment=shift,noise=0.3 epochs=50  # half\n\n', encoding='utf-8')
  assert folds.read_plan(plan) == {'plain': (), 'noisy': ('augment=shift,noise=0.3', 'epochs=50')}
  for text, message in (
    ('a\na x=1', 'a is there twice'),
    ('a --x=1', 'a: --x=1: expected is FLAG=VALUE'),
    ('a x', 'a: x: expected is FLAG=VALUE'),
    ('# nothing', 'no candidate in it'),
  ):
    plan.write_text(text, encoding='utf-8')
    with pytest.raises(UserError, match=message):
      folds.read_plan(plan)
  with pytest.raises(UserError, match='No such file'):
    folds.read_plan(tmp_path / 'none.txt')


def test_settings_of_a_joined_row_are_those_of_its_students_too():
  lines = folds.preset_lines('joined')
  assert '--members=best,transfer_soundnet8' in lines
  for name in ('best', 'transfer_soundnet8'):
    assert set(folds.preset_lines(name)) <= set(lines)
