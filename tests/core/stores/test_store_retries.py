"""How long a request to a store is repeated, by a clock of the test's own."""

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_retries


@pytest.fixture
def clock(monkeypatch):
  """List of one number, the time in seconds; to sleep adds to it."""
  now = [0.0]

  class Clock:
    monotonic = staticmethod(lambda: now[0])
    sleep = staticmethod(lambda seconds: now.__setitem__(0, now[0] + seconds))

  monkeypatch.setattr(store_retries, 'time', Clock)
  monkeypatch.setenv('AUDIONET_STORE_SECONDS', '60')
  return now


def failing(clock, seconds, times):
  """(function that takes so long to fail, and succeeds after so many times; list of the times of its calls)."""
  calls = []

  def transfer():
    calls.append(clock[0])
    clock[0] += seconds
    if len(calls) <= times:
      raise ConnectionError('broken')
    return 'whole'

  return transfer, calls


def test_a_transfer_that_breaks_after_a_long_time_is_tried_again(clock):
  transfer, calls = failing(clock, 90, 1)
  assert store_retries.repeated('s3://b/shard', transfer) == 'whole' and len(calls) == 2


def test_a_request_that_stalls_is_repeated_for_as_long_as_the_documents_say(clock):
  transfer, calls = failing(clock, 15, 1000)
  with pytest.raises(UserError, match=r's3://b/shard: ConnectionError: broken, after 6\d s of trying again'):
    store_retries.repeated('s3://b/shard', transfer)
  assert len(calls) == 5


def test_requests_that_fail_at_once_are_repeated_with_growing_waits(clock):
  transfer, calls = failing(clock, 0, 1000)
  with pytest.raises(UserError, match=r'after 5\d s of trying again'):
    store_retries.repeated('s3://b/shard', transfer)
  waits = [after - before for before, after in zip(calls, calls[1:], strict=False)]
  assert waits[1] > waits[0] and waits[-1] == pytest.approx(store_retries.LONGEST_WAIT_SECONDS)
