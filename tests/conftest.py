import collections
import os
import signal

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('OMP_NUM_THREADS', '1')  # of PyTorch, whose threads would wait for the other workers'

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell's background jobs have it
  signal.signal(signal.SIGINT, signal.default_int_handler)


LONG_SECONDS = 3600  # limit of a test that is marked `long`


def pytest_addoption(parser):
  group = parser.getgroup('faults', 'tests of faults: kills, mutated files, random requests')
  group.addoption('--all', action='store_true', help='also the tests that are marked long')
  group.addoption('--seed', type=int, default=0, help='of the kills, the mutated files and the requests')
  group.addoption('--share', type=float, default=1.0, help='of the kills and of the mutated files that are tried')


def pytest_terminal_summary(terminalreporter, config):
  if terminalreporter.stats.get('failed') or terminalreporter.stats.get('error'):
    seed = config.getoption('seed')
    terminalreporter.write_line(f'seed of kills, mutated files and requests: {seed}; the same again with --seed={seed}')
  skips = {report.longrepr[-1].removeprefix('Skipped: ') for report in terminalreporter.stats.get('skipped', ())}
  for reason in sorted(reason for reason in skips if '!!!!' in reason):
    terminalreporter.write_line(reason)


@pytest.fixture(scope='session')
def seed(pytestconfig):
  """int, of what a test draws at random; other tests have seeds of their own."""
  return pytestconfig.getoption('seed')


@pytest.fixture(scope='session')
def share(pytestconfig):
  """Function of a number of kills or files to the number that is to be tried."""
  return lambda number: max(1, round(number * pytestconfig.getoption('share')))


@pytest.fixture(scope='session', autouse=True)
def pictures_at_the_end():
  """TensorBoard's pictures after the last epoch only: they would take half the time of runs as small as these."""
  from audionet_tf.training import tensorboard

  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(tensorboard, 'in_series', lambda number: False)
    yield


def pytest_collection_modifyitems(config, items):
  """Leaves out the long tests unless --all asks for them, and sorts the files by the time that they take.

  Files with long tests come first, those with the fewest tests before, so that the last worker is not alone for long.
  """
  long = [item for item in items if item.get_closest_marker('long')]
  if config.getoption('all'):
    for item in long:
      item.add_marker(pytest.mark.timeout(LONG_SECONDS))
  elif long:
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker('long')]
  tests = collections.Counter(item.path for item in items)
  first = {item.path for item in long}  # also of tests that are left out: what else is in these files is not quick
  items.sort(key=lambda item: (item.path not in first, tests[item.path] if item.path in first else 0, str(item.path)))
