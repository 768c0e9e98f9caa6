"""Locks of folders in stores, as several processes hold, lose and inherit them."""

import json
import os
import threading

import faulty_proxy
import pytest
from s3_server import BUCKET, PLACE

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_folder, store_lock, store_retries


def test_a_lock_keeps_others_out_until_its_owner_is_gone(store, monkeypatch, capsys):
  system, _ = store
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '6')
  with store_lock.locked(PLACE, 'at work') as lock:
    with pytest.raises(UserError, match=f'{PLACE}: at work'), store_lock.locked(PLACE, 'at work'):
      pass
    lock.check()
  assert not system.exists(f'{BUCKET}/folder/.lock')
  gone = {'host': 'elsewhere', 'pid': 1, 'token': 'abc', 'renewals': 3}
  system.pipe_file(f'{BUCKET}/folder/.lock', json.dumps(gone).encode())
  with store_lock.locked(PLACE, 'at work'):  # it is not renewed
    held = json.loads(system.cat_file(f'{BUCKET}/folder/.lock'))
    assert held['pid'] == os.getpid()
  here = gone | {'host': store_lock.host(), 'pid': 2**22 + 1}  # no process has this number
  system.pipe_file(f'{BUCKET}/folder/.lock', json.dumps(here).encode())
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '1000')
  with store_lock.locked(PLACE, 'at work'):
    pass
  assert system.find(f'{BUCKET}/folder') == []


def test_a_lock_that_was_taken_over_stops_the_writer(store, monkeypatch):
  system, _ = store
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '0.4')
  with store_lock.locked(PLACE, 'at work') as lock:
    other = json.dumps(lock.content | {'token': 'other'}).encode()
    system.pipe_file(f'{BUCKET}/folder/.lock', other)
    lock.thread.join(60)
    with pytest.raises(UserError, match='has taken this lock over'):
      lock.check()
  assert system.cat_file(f'{BUCKET}/folder/.lock') == other


@pytest.mark.parametrize('now', ['gone', 'another'])
def test_a_process_that_wakes_after_its_lease_touches_nothing(monkeypatch, tmp_path, now):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '1000')  # so that nothing renews it within the test
  place = f'memory://wakes/{now}'
  object_store.put_bytes(f'{place}/old', b'old')
  with pytest.raises(UserError, match='has taken this lock over'), store_folder.written(place, 'busy') as folder:
    (folder / 'old').unlink()
    object_store.remove(f'{place}/.lock')
    if now == 'another':
      object_store.put_bytes(f'{place}/.lock', b'{"token": "other"}')
  assert object_store.read_bytes(f'{place}/old') == b'old'
  assert object_store.read_bytes(f'{place}/.lock') == (b'{"token": "other"}' if now == 'another' else None)


def test_heirs_that_were_killed_have_heirs(monkeypatch, capsys):
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '0.2')
  place = 'memory://heirs'
  object_store.put_bytes(f'{place}/.lock', b'{"token": "a"}')
  object_store.put_bytes(f'{place}/.lock-after-a', b'{"token": "b"}')
  object_store.put_bytes(f'{place}/.lock-after-a-after-b', b'')
  with store_lock.locked(place, 'at work') as lock:
    lock.check()
    assert [*object_store.listed(place)] == ['.lock']
  assert not object_store.listed(place)


def test_a_store_without_conditional_writes_is_warned_of(monkeypatch, capsys):
  monkeypatch.setattr(store_lock, 'CONDITIONAL', ())
  with store_lock.locked('memory://place', 'at work'):
    pass
  assert 'memory://place: this store has no conditional writes' in capsys.readouterr().err


def test_an_answer_that_is_lost_is_no_other_owner(store, monkeypatch):
  system, faults = store
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '1000')
  faults.after = [faulty_proxy.DROP]
  faults.matches = lambda method, path: method == 'PUT' and path.endswith('.lock')
  with store_lock.locked(PLACE, 'at work') as lock:
    assert json.loads(system.cat_file(f'{BUCKET}/folder/.lock'))['token'] == lock.content['token']
  assert not faults.after


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
