"""What is not finished stays out of stores, whichever module names it."""

import pathlib

import pytest

from audionet_tf.core import files
from audionet_tf.core.stores import store_cache
from audionet_tf.data import record_manifest
from audionet_tf.data.shards import tfrecord_io
from tfrecords import builder, shards

SHARD = pathlib.Path('labels-00000-of-00001.tfrecord')


@pytest.mark.parametrize(
  'name',
  [
    files.LOCK_NAME,
    *(files.partial_path(pathlib.Path(name)).name for name in ('metrics.jsonl', 'student.keras', 'README', 'a.b.csv')),
    files.partial_path(pathlib.Path('a.b.csv'), '12-3.').name,
    tfrecord_io.unfinished(SHARD).name,
    *(path.name for path in shards.partial_paths(pathlib.Path('records'), 2)),
    *sorted(record_manifest.PARTIAL_NAMES),
    f'{builder.PARTS}/a.tfrecord.1.partial',
  ],
)
def test_unfinished_files_are_not_uploaded(name):
  assert store_cache.is_hidden(name)


@pytest.mark.parametrize('name', ['metrics.jsonl', SHARD.name, '.x', 'x.partial.csv', record_manifest.MANIFEST_NAME])
def test_results_are(name):
  assert not store_cache.is_hidden(name)
