"""The lock of a folder, in a store in memory."""

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_lock


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
