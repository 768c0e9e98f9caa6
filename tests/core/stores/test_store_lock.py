"""The lock of a folder, in a store in memory."""

import json
import threading

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_lock, store_retries


def test_a_live_lock_stays_where_the_store_ignores_conditions(monkeypatch, capsys):
  """As servers do that know no If-None-Match: they answer as if there had been no lock."""
  put = object_store.put_bytes
  monkeypatch.setattr(object_store, 'put_bytes', lambda address, content, new=False: put(address, content))
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '8')
  with store_lock.locked('memory://ignorant', 'at work') as lock:
    assert 'this store has no conditional writes' in capsys.readouterr().err
    with pytest.raises(UserError, match='ignorant: at work'), store_lock.locked('memory://ignorant', 'at work'):
      pass
    lock.check()


def made(monkeypatch, address, waits):
  """A Lock that is in the store, with no thread of its own. `waits`: what waiting for its release gives each time."""
  lock = store_lock.Lock(address, {'token': 'first', 'renewals': 0})
  object_store.put_bytes(lock.address, store_lock.written(lock.content))
  lock.thread = threading.Thread()
  lock.thread.start()
  monkeypatch.setattr(lock.over, 'wait', lambda seconds: waits.pop(0))
  return lock


@pytest.mark.parametrize('step, name', [('renew', 'pipe_file'), ('release', 'rm_file')])
def test_a_lock_that_another_took_over_during_an_outage_stays_its_own(monkeypatch, step, name):
  """A request that is tried again for a minute may come after the lease, which is shorter."""
  lock, others = made(monkeypatch, f'memory://outage/{step}', [False, True]), store_lock.written({'token': 'other'})
  monkeypatch.setattr(store_retries.time, 'sleep', lambda seconds: None)
  system, path = object_store.connected(lock.address)
  real = getattr(type(system), name)

  def fail_once(*args, **options):
    monkeypatch.setattr(type(system), name, real)
    system.pipe_file(path, others)
    raise ConnectionError('the network is gone')

  monkeypatch.setattr(type(system), name, fail_once)
  getattr(lock, step)()
  assert object_store.read_bytes(lock.address) == others and lock.is_lost


def test_a_lock_is_renewed_and_removed(monkeypatch):
  lock = made(monkeypatch, 'memory://renewed', [False, False, True])
  lock.renew()
  assert json.loads(object_store.read_bytes(lock.address)) == {'token': 'first', 'renewals': 2}
  lock.release()
  assert object_store.read_bytes(lock.address) is None and not lock.is_lost
