import collections
import os
import signal

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('OMP_NUM_THREADS', '1')  # of PyTorch, whose threads would wait for the other workers'

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell's background jobs have it
  signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session', autouse=True)
def pictures_at_the_end():
  """TensorBoard's pictures after the last epoch only: they would take half the time of runs as small as these."""
  from audionet_tf.training import tensorboard

  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(tensorboard, 'in_series', lambda number: False)
    yield


def pytest_collection_modifyitems(items):
  """Files with slow tests come first, those with the fewest tests before: the last worker is not alone for a minute."""
  tests = collections.Counter(item.path for item in items)
  slow = {item.path for item in items if item.get_closest_marker('slow')}
  items.sort(key=lambda item: (item.path not in slow, tests[item.path] if item.path in slow else 0, str(item.path)))
