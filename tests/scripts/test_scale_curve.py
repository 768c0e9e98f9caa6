"""A short run of scale_curve: what it measures and writes, not how fast."""

import json
import statistics
import types

import commands
import flips
import pytest

from scale import curve, stages

ROW = {
  'what': 'windows',
  'stage': 'build',
  'count': 100,
  'seconds': 2.0,
  'start_seconds': None,
  'core_seconds': None,
  'bytes': 3_000_000,
  'child_bytes': 0,
}


def test_the_table_compares_time_for_each_with_the_least():
  rows = [
    ROW,
    ROW | {'count': 1000, 'seconds': 31.0, 'start_seconds': 1.0, 'core_seconds': 20.0, 'child_bytes': 7_000_000},
    ROW | {'stage': 'label', 'count': 4},
  ]
  assert [line.split() for line in curve.table(rows).splitlines()[1:]] == [
    ['windows', 'build', '100', '2.0', '-', '20000.0', '1.00', '-', '3'],
    ['windows', 'build', '1,000', '31.0', '1.00', '30000.0', '1.50', '20000.0', '7'],
    ['windows', 'label', '4', '2.0', '-', '500000.0', '1.00', '-', '3'],
  ]


@pytest.fixture
def clocked(monkeypatch):
  """A function (stage, seconds by folder, results in turn): stages.run gets that stage; returns the folders it had."""

  def make(stage, seconds, results=None):
    clock, places = [0.0], []

    def function(place):
      places.append(place.name)
      clock[0] += seconds[place.name]
      return next(results) if results else None

    monkeypatch.setattr(
      stages, 'WINDOW_STAGES', dict.fromkeys(('build', 'label'), lambda place: None) | {stage: function}
    )
    monkeypatch.setattr(stages, 'synthetic_parts', lambda folder, windows: None)
    monkeypatch.setattr(stages, 'time', types.SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(stages, 'core_seconds', lambda: 1.5 * clock[0])
    return places

  return make


def test_a_stage_that_ends_soon_is_repeated_in_turns_with_a_few_windows(tmp_path, clocked):
  """A stage with a start of 0.5 s, and a millisecond for every window."""
  places = clocked('verify', {'warm_up_verify': 3.0, 'records': 5.5})
  row = stages.run('windows', tmp_path, 5000, 'verify')
  assert places == ['warm_up_verify', *['records', 'warm_up_verify'] * 2]  # 10 s are over after two turns
  assert (row['seconds'], row['core_seconds'], row['start_seconds']) == (5.5, 8.25, 0.5)


def test_what_a_stage_measures_itself_counts(tmp_path, clocked):
  places = clocked('train', {'warm_up_train': 3.0, 'records': 5.5}, iter([9, 1, 3]))
  row = stages.run('windows', tmp_path, 5000, 'train')
  assert (row['seconds'], row['core_seconds'], row['start_seconds']) == (2, None, None)
  assert places == ['warm_up_train', 'records', 'records']


def test_of_a_few_windows_the_start_is_not_known(tmp_path, clocked):
  places = clocked('verify', {'warm_up_verify': 1.0, 'records': 4.0})
  row = stages.run('windows', tmp_path, stages.WARM_UP_WINDOWS, 'verify')
  assert places == ['warm_up_verify', *['records'] * 3] and (row['seconds'], row['start_seconds']) == (4.0, None)


@pytest.mark.long
def test_a_short_run(tmp_path):
  words = ['--windows=300', '--stages=build,verify', '--videos=2', f'--output={tmp_path}/out.json']
  done = commands.run('scale.curve', *words, f'--work={tmp_path}', check=True)
  rows = json.loads((tmp_path / 'out.json').read_text())
  assert [(row['what'], row['stage'], row['count']) for row in rows] == [
    ('windows', 'build', 300),
    ('windows', 'verify', 300),
    ('videos', 'build', 2),
  ]
  assert all(row['seconds'] > 0 and row['bytes'] > 1e7 for row in rows)
  assert [bool(row['core_seconds']) for row in rows] == [True, True, False]
  assert done.stdout.count('\n') == 6 and (tmp_path / 'out.png').read_bytes().startswith(b'\x89PNG')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['out.json', 'out.png']


def test_stages_with_tensorflow(tmp_path, monkeypatch):
  monkeypatch.setattr(stages, 'TIMED_WINDOWS', 1200)
  stages.synthetic_parts(tmp_path, 600)
  stages.build_windows(tmp_path)
  stages.label_windows(tmp_path)
  seconds = stages.train_windows(tmp_path)
  first, *others = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert len(others) == 2 and all(row['kl'] > 0 for row in (first, *others))
  assert seconds == statistics.mean(row['seconds'] for row in others)
  stages.verify_windows(tmp_path)
  shard = next(tmp_path.glob('records-*'))
  flips.flip(shard, 0)
  with pytest.raises(ValueError, match='record at byte'):
    stages.verify_windows(tmp_path)


@pytest.mark.parametrize(
  'words',
  [['--windows=0'], ['--videos=x'], ['more'], ['--windows=', '--videos='], ['--stages=train,build'], ['--stages=x']],
)
def test_a_mistake_is_one_line(words):
  done = commands.run('scale.curve', *words)
  assert done.returncode == 1 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
