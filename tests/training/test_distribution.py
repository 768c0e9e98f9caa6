"""Which strategy trains on which devices; GPUs are stand-ins, as none may be there."""

import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.training import distribution


def with_gpus(monkeypatch, count):
  """List of the GPUs that become visible; MirroredStrategy is replaced by the list of its devices."""
  gpus, visible = [f'gpu {i}' for i in range(count)], []
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: gpus if kind == 'GPU' else ['cpu'])
  monkeypatch.setattr(tf.config, 'set_visible_devices', lambda devices, kind: visible.extend(devices))
  monkeypatch.setattr(tf.config.experimental, 'set_memory_growth', lambda *_: None)
  monkeypatch.setattr(tf.distribute, 'MirroredStrategy', lambda devices: devices)
  return visible


@pytest.mark.parametrize(('count', 'replicas', 'used'), [(1, 0, 1), (1, 1, 1), (8, 0, 8), (8, 3, 3)])
def test_mirrored_strategy_trains_on_gpus_one_or_many(monkeypatch, count, replicas, used):
  visible = with_gpus(monkeypatch, count)
  assert distribution.make(replicas) == [f'GPU:{i}' for i in range(used)]
  assert visible == ([f'gpu {i}' for i in range(used)] if replicas else [])


def test_a_processor_alone_does_without(monkeypatch):
  with_gpus(monkeypatch, 0)
  assert isinstance(distribution.make(), tf.distribute.OneDeviceStrategy)


@pytest.mark.parametrize(('count', 'replicas'), [(2, 3), (2, -1), (0, 65)])
def test_more_replicas_than_devices_are_refused(monkeypatch, count, replicas):
  with_gpus(monkeypatch, count)
  with pytest.raises(UserError, match='--replicas=.*allowed is 0'):
    distribution.make(replicas)
