"""The manifest's limits, one value on each side of them, and the text of its file."""

import dataclasses
import json

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data import record_manifest
from audionet_tf.data.params import RecordParams

RECORD_BYTES = 16 + 2 * 640  # a frame, and 40 ms of int16 at 16 kHz


def manifest(params=None, **changes):
  """What a file of version 1 holds: two videos, two shards, of which the second is empty."""
  return {
    'schema_version': 1,
    'params': dataclasses.asdict(RecordParams()) | (params or {}),
    'sources': ['/videos'],
    'shards_asked': None,
    'windows': 5,
    'digest': 'd',
    'videos': videos(2, 3),
    'shards': shards(5, 0),
  } | changes


def videos(*windows, first=0):
  return [{'id': f'{i}.mp4', 'digest': 'x', 'windows': n, 'first_window': first} for i, n in enumerate(windows)]


def shards(*windows, size=RECORD_BYTES):
  return [{'name': f'{i}.tfrecord', 'windows': n, 'bytes': n * size} for i, n in enumerate(windows)]


def last_window(number):
  """One window, of the largest `number` that starts 2^10 us after the one before."""
  return {'params': {'hop_seconds': 0.001024}, 'videos': videos(5, first=number - 5)}


GOOD = {
  'as it is': {},
  'a video of one window': {'videos': videos(1, 4)},
  'windows from a later one on': {'videos': videos(2, 3, first=7)},
  'the last start in 63 bits': last_window(2**53 - 1),
  'a number for a float': {'params': {'hop_seconds': 1}},
  'an end': {'params': {'max_seconds': 2.5}},
  'a whole end': {'params': {'max_seconds': 3}},
}
BAD = {
  'a video of none': {'videos': videos(0, 5)},
  'a negative video': {'videos': videos(-1, 6)},
  'a negative first window': {'videos': videos(2, 3, first=-1)},
  'a start beyond 63 bits': last_window(2**53),
  'less bytes than its windows': {'shards': shards(5, 0, size=RECORD_BYTES - 1)},
  'a negative shard': {'shards': shards(6, -1)},
  'videos of fewer windows': {'videos': videos(2, 2)},
  'shards of fewer windows': {'shards': shards(2, 2)},
  'one video twice': {'videos': [videos(2)[0], videos(3)[0]]},
  'another order': {'videos': videos(2, 3)[::-1]},
  'an id that is not UTF-8': {'videos': [*videos(2), videos(3)[0] | {'id': '\ud800'}]},
  'one shard twice': {'shards': [*shards(2), *shards(3)]},
  'a shard in a folder': {'shards': [shards(5)[0] | {'name': 'x/0.tfrecord'}]},
  'a shard above the folder': {'shards': [shards(5)[0] | {'name': '..'}]},
  'a surrogate in a name': {'shards': [shards(5)[0] | {'name': '\ud800.tfrecord'}]},
  'a NUL in a name': {'shards': [shards(5)[0] | {'name': '0\0.tfrecord'}]},
  'another key': {'more': 1},
  'a bool for an int': {'windows': True},
  'a float for an int': {'windows': 5.0},
  'a number for a source': {'sources': ['/videos', 3]},
  'a number for a name': {'shards': [shards(5)[0] | {'name': 3}]},
  'text for a number of windows': {'shards': [shards(5)[0] | {'windows': '5'}]},
  'text for a size': {'shards': [shards(5)[0] | {'bytes': '9999'}]},
  'text for a first window': {'videos': videos(5, first='0')},
  'a bool as a parameter': {'params': {'images_per_window': True}},
  'a float as a whole parameter': {'params': {'jpeg_quality': 95.0}},
  'text as a parameter': {'params': {'max_seconds': '3'}},
  'an infinite parameter': {'params': {'max_seconds': float('inf')}},
  'a parameter that is not there': {'params': {'more': 1}},
}


@pytest.mark.parametrize('name', GOOD)
def test_what_is_allowed(name):
  content = manifest(**GOOD[name])
  checked = record_manifest.checked(content)
  assert checked == content | {'params': RecordParams(**content['params'])}


@pytest.mark.parametrize('name', BAD)
def test_what_is_refused(name):
  with pytest.raises((ValueError, TypeError, KeyError, UserError)):
    record_manifest.checked(manifest(**BAD[name]))


@pytest.mark.parametrize('key', sorted(manifest().keys() - {'sources', 'shards_asked'}))
def test_every_key_is_needed(key):
  content = manifest()
  del content[key]
  with pytest.raises(KeyError, match=key):
    record_manifest.checked(content)


def test_a_file_of_the_first_version_is_read(tmp_path):
  """It has no checksum and no second copy."""
  (tmp_path / 'manifest.json').write_text(json.dumps(manifest()))
  assert record_manifest.read(tmp_path) == record_manifest.checked(manifest())
  assert record_manifest.advice_for(tmp_path) == 'build the records again, into another folder'
  (tmp_path / 'manifest.json').write_text(json.dumps(manifest(windows=6)))
  with pytest.raises(
    UserError, match='manifest.json: not a manifest of this program .*; build the records again, into'
  ):
    record_manifest.read(tmp_path)
  (tmp_path / 'manifest.json').write_text(json.dumps(manifest(schema_version=2)))
  with pytest.raises(UserError, match='schema version 2, but this program reads 1'):
    record_manifest.read(tmp_path)
  (tmp_path / 'manifest.json').write_text(json.dumps(manifest(windows=0)))
  with pytest.raises(UserError, match='the records are empty'):
    record_manifest.read(tmp_path)


def test_both_files_are_written_alike_and_mended(tmp_path):
  content = record_manifest.checked(manifest())
  record_manifest.write(tmp_path, content)
  main, backup = tmp_path / 'manifest.json', tmp_path / 'manifest.backup.json'
  written = main.read_bytes()
  assert backup.read_bytes() == written and record_manifest.differing(tmp_path, content) == []
  assert json.loads(written).items() >= manifest().items() and 'checksum' in json.loads(written)
  assert written.startswith(
    b'{\n "schema_version": 1,\n "params": {\n  "window_seconds"'
  )  # older copies are compared with it
  assert record_manifest.advice_for(tmp_path) == f'python -m tfrecords.verify {tmp_path} --repair mends it'
  main.write_bytes(written + b' ')
  backup.unlink()
  assert record_manifest.differing(tmp_path, content) == [main.name, backup.name]
  record_manifest.renew(tmp_path, content)
  assert backup.read_bytes() == main.read_bytes() == written
  backup.write_bytes(b'')
  assert record_manifest.differing(tmp_path, content) == [backup.name]


def test_ids_and_folders_that_are_not_ascii(tmp_path):
  names = [{'id': 'ü.mp4', 'windows': 5, 'first_window': 0}]
  content = record_manifest.checked(manifest(videos=names, sources=['caf\udce9']))
  record_manifest.write(tmp_path, content)
  assert record_manifest.read(tmp_path) == content
