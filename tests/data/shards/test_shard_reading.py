"""Records in a store are read as local ones are, window for window, and their shards come when they are needed."""

import os

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache, store_mirror
from audionet_tf.data import input_pipeline, records
from audionet_tf.data.shards import damage, shard_reading

PLACE = 'memory://shards/data'


NOT_UTF8 = os.fsdecode(b'caf\xe9')


@pytest.fixture(params=['plain', NOT_UTF8], ids=['plain', 'not UTF-8'])
def folders(tmp_path, monkeypatch, request):
  """(local folder of records, the mirror of the same records in a store), in a folder of either kind of name."""
  tmp_path /= request.param
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / 'cache'))
  synthetic_records.write_records(tmp_path / 'data', {'a': 9, 'b': 5, 'c': 7}, shards=3)
  for path in (tmp_path / 'data').iterdir():
    object_store.put(f'{PLACE}/{path.name}', path)
  return tmp_path / 'data', store_mirror.mirrored(PLACE)


def windows(folder, batches, count):
  source = input_pipeline.record_source(folder, records.read_manifest(folder))
  return [{name: x.numpy() for name, x in batch.items()} for batch in batches(source).take(count)]


@pytest.mark.parametrize(
  'batches',
  [
    lambda source: input_pipeline.sequential_batches(source, 4),
    lambda source: input_pipeline.training_batches(source, 4, seed=3),
  ],
  ids=['sequential', 'training'],
)
def test_batches_are_those_of_local_records(folders, batches):
  local, mirror = folders
  assert not list(mirror.glob('*.tfrecord'))
  for expected, found in zip(windows(local, batches, 9), windows(mirror, batches, 9), strict=True):
    assert expected.keys() == found.keys()
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value)


def test_local_paths_are_read_as_they_are(folders):
  paths = [str(path) for path in sorted(folders[0].glob('*.tfrecord'))]
  assert [os.fsdecode(path) for path in shard_reading.files(paths).as_numpy_iterator()] == paths


def test_a_shard_that_is_gone_is_named_by_its_address(folders, tmp_path):
  _, mirror = folders
  manifest = records.read_manifest(mirror)
  gone = manifest['shards'][1]['name']
  object_store.remove(f'{PLACE}/{gone}')
  paths = records.shard_paths(mirror, manifest)
  with pytest.raises(UserError, match=f'{PLACE}/{gone}: is gone since it was listed'), damage.named(paths, 'mend it'):
    windows(mirror, lambda source: input_pipeline.sequential_batches(source, 4), 9)


def test_an_old_failure_does_not_stand_for_a_later_one(folders):
  local, mirror = folders
  shards = [shard['name'] for shard in records.read_manifest(mirror)['shards']]
  for name in shards:
    object_store.remove(f'{PLACE}/{name}')
  with pytest.raises(tf.errors.OpError):  # outside of any context, as by a reader that gives up
    windows(mirror, lambda source: input_pipeline.sequential_batches(source, 4), 9)
  content = bytearray((local / shards[0]).read_bytes())
  content[40] ^= 1
  (local / shards[0]).write_bytes(content)
  paths = records.shard_paths(local, records.read_manifest(local))
  with pytest.raises(UserError, match=r': record at byte 0: wrong checksum; mend it'), damage.named(paths, 'mend it'):
    windows(local, lambda source: input_pipeline.sequential_batches(source, 4), 9)


def test_a_shard_that_is_damaged_is_named_by_its_address(folders):
  local, _ = folders
  name = records.read_manifest(local)['shards'][0]['name']
  content = bytearray((local / name).read_bytes())
  content[40] ^= 1
  object_store.put_bytes(f'{PLACE}/{name}', bytes(content))
  mirror = store_mirror.mirrored(PLACE)
  paths = records.shard_paths(mirror, records.read_manifest(mirror))
  with pytest.raises(UserError) as raised, damage.named(paths, 'mend it'):
    windows(mirror, lambda source: input_pipeline.sequential_batches(source, 4), 9)
  assert store_cache.addressed(str(raised.value)).startswith(f'{PLACE}/{name}: record at byte 0: wrong checksum')
