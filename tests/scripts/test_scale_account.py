"""The arithmetic of scale_account, and that its stages run; not how long they take."""

import json

import commands
import pytest

from scale import account, workload

COST = {
  'core_seconds': {'build: local': 3.6, 'teacher': 7.2, 'train': 0.36, 'order': 0.036, 'digest': 0.018},
  'bytes': {'videos': 2e6, 'records': 1e6},
}


def test_core_hours_hours_and_prices():
  rows = {row[0]: row[1:] for row in account.rows(COST, videos=1000, cores=10, core_hour=0.5, epochs=4)}
  assert rows == {
    'build: local': pytest.approx((3.6, 1.0, 10, 0.1, 0.5)),
    'teacher': pytest.approx((7.2, 2.0, 10, 0.2, 1.0)),
    'train, 4 epochs': pytest.approx((1.44, 0.4, 10, 0.04, 0.2)),
    account.SERIAL[0]: pytest.approx((0.036, 0.01, 1, 0.01, 0.005)),
    account.SERIAL[1]: pytest.approx((0.018, 0.005, 1, 0.005, 0.0025)),
  }


def test_it_computes_from_earlier_measurements(tmp_path):
  (tmp_path / 'cost.json').write_text(json.dumps(COST))
  done = commands.run(
    'scale.account', f'--measured={tmp_path}/cost.json', '--videos=2000000', '--cores=1', '--epochs=1', check=True
  )
  lines = [line.split() for line in done.stdout.splitlines()]
  assert ['build:', 'local', '3.600', '2,000', '1', '2,000.0', '80'] in lines
  assert ['records', '1,000,000', '2.00', '40'] in lines
  assert done.stdout.endswith('longest: teacher, 4,000.0 hours on 1 cores\n')


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--few=3', '--many=2'], 'not below'),
    (['--engines=x'], 'known are local'),
    (['--measured=no.json'], 'no such file'),
  ],
)
def test_a_mistake_is_one_line(words, message):
  done = commands.run('scale.account', *words)
  assert done.returncode == 1 and done.stderr.count('\n') == 1 and message in done.stderr


@pytest.mark.parametrize(
  'cost',
  [
    [],
    {},
    {'bytes': {}, 'core_seconds': {}},
    {'core_seconds': COST['core_seconds']},
    COST | {'bytes': {'videos': '1'}},
  ],
)
def test_what_are_no_measurements(cost):
  with pytest.raises(ValueError):
    account.checked(cost)
  assert account.checked(COST) is COST


def test_no_measurements_are_one_line(tmp_path):
  (tmp_path / 'cost.json').write_text('{}')
  done = commands.run('scale.account', f'--measured={tmp_path}/cost.json')
  assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'not measurements of scale_account' in done.stderr


@pytest.mark.long
def test_stages_run_on_short_clips(tmp_path):
  """All but other engines of the build, and training, which have tests of their own."""
  context = workload.Context(tmp_path, 1, 2, 1.0, 'audionet', 'mobilenet_v2')
  assert workload.make_clips(context)['videos'] > 1000
  for stage in ('build: local', 'teacher', 'order'):
    assert isinstance(workload.core_seconds(context, stage), float)
  stored = workload.stored_bytes(context)
  assert stored['records'] > 2 * 19800 and stored['stored labels'] > 4 * 2000
