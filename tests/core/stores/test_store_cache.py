"""Local copies of objects: what stays in the cache, and what commands are given in place of addresses."""

import contextlib
import fcntl
import os
import pathlib

import pytest
from s3_server import BUCKET, PLACE, files_in

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache, store_flags, store_folder, store_mirror
from audionet_tf.core.stores.object_store import Stored


def test_the_cache_keeps_within_its_bound(store, tmp_path, monkeypatch):
  system, faults = store
  monkeypatch.setenv('AUDIONET_CACHE_GB', '0.0003')  # three files
  monkeypatch.setattr(store_cache, 'HELD', 1)
  for name in 'abcd':
    system.pipe_file(f'{BUCKET}/folder/{name}', name.encode() * 100_000)
  listed = object_store.listed(PLACE)
  paths = {name: store_cache.fetched_file(f'{PLACE}/{name}', listed[name]) for name in 'abcd'}
  assert {name: path.exists() for name, path in paths.items()} == {'a': False, 'b': True, 'c': True, 'd': True}
  assert paths['d'].read_bytes() == b'd' * 100_000
  faults.seen.clear()
  store_cache.fetched_file(f'{PLACE}/b', listed['b'])
  assert not faults.seen  # it was there
  store_cache.fetched_file(f'{PLACE}/a', listed['a'])
  assert [name for name, path in paths.items() if path.exists()] == ['a', 'b', 'd']  # c was used longest ago


def test_what_another_process_uses_stays_in_the_cache(store, monkeypatch):
  system, _ = store
  monkeypatch.setenv('AUDIONET_CACHE_GB', '0.0001')
  monkeypatch.setattr(store_cache, 'HELD', 1)
  for name in 'abcd':
    system.pipe_file(f'{BUCKET}/folder/{name}', name.encode() * 100_000)
  listed = object_store.listed(PLACE)
  first = store_cache.fetched_file(f'{PLACE}/a', listed['a'])
  descriptor = os.open(first.parent, os.O_RDONLY)
  fcntl.flock(descriptor, fcntl.LOCK_SH)  # as another process has it
  others = [store_cache.fetched_file(f'{PLACE}/{name}', listed[name]) for name in 'bcd']
  assert first.exists() and [path.exists() for path in others] == [False, True, True]
  os.close(descriptor)


def test_flags_and_arguments_hold_local_paths(monkeypatch, tmp_path):
  from absl import flags

  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  object_store.put_bytes('memory://flags/labels.csv', b'a,b')
  object_store.put_bytes('memory://flags/records/manifest.json', b'{}')
  values = flags.FlagValues()
  for name, value in {'model': 'memory://m', 'names': 'memory://flags/labels.csv', 'output': 'memory://flags/out',
                      'records': 'memory://flags/records', 'rate': '1'}.items():  # fmt: skip
    flags.DEFINE_string(name, value, '', flag_values=values)
  flags.DEFINE_multi_string('labels', ['a=memory://flags/labels.csv', 'b=local'], '', flag_values=values)
  values(['program'])
  with store_flags.resolved(values, ['program', 'memory://flags/labels.csv', '-'], ()) as arguments:
    assert pathlib.Path(values.names).read_text() == pathlib.Path(arguments[1]).read_text() == 'a,b'
    assert arguments[2] == '-'
    assert values.model == 'memory://m' and values.rate == '1'
    assert values.labels == [f'a={values.names}', 'b=local']
    assert files_in(tmp_path / values.records) == {'manifest.json': b'{}'}
    with open(os.path.join(values.output, 'x'), 'w') as file:
      file.write('written')
  assert object_store.read_bytes('memory://flags/out/x') == b'written'
  assert isinstance(object_store.stat('memory://flags/out/x'), Stored)


def test_what_a_command_is_given_stays_until_its_end(monkeypatch, tmp_path):
  monkeypatch.setattr(store_cache, 'HELD', 1)
  monkeypatch.setattr(store_cache, '_kept', {})
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  monkeypatch.setenv('AUDIONET_CACHE_GB', '0.0000035')
  places = [f'memory://kept/{name}' for name in 'abcd']
  for place in places:
    object_store.put_bytes(place, bytes(1000))
  paths = [store_cache.kept(place) for place in places[:3]]
  assert store_cache.kept(places[0]) == paths[0]
  with pytest.raises(UserError, match='memory://kept/d: .* with what else this command reads, the cache holds'):
    store_cache.kept(places[3])
  assert all(map(os.path.exists, paths))


def test_what_a_call_is_given_stays_until_its_end(monkeypatch, tmp_path):
  monkeypatch.setattr(store_cache, 'HELD', 1)
  monkeypatch.setattr(store_cache, '_kept', {})
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  monkeypatch.setenv('AUDIONET_CACHE_GB', '0.0000035')
  places = [f'memory://within/{name}' for name in 'abcd']
  for place in places:
    object_store.put_bytes(place, bytes(1000))

  @store_cache.keeping()
  def given():
    paths = [store_cache.fetched(place) for place in places[:3]]
    assert store_cache.fetched(places[0]) == paths[0]
    with pytest.raises(UserError, match='memory://within/d: .* with what else this command reads, the cache holds'):
      store_cache.fetched(places[3])
    store_cache.make_room(3000)
    return paths, [*map(os.path.exists, paths)]

  for _ in range(2):
    paths, there = given()
    assert all(there)
  store_cache.fetched(places[2])
  store_cache.make_room(3000)
  assert [*map(os.path.exists, paths)] == [False, False, True]


@pytest.mark.parametrize('name', ['x' * 251 + '.csv', 'x' * 245 + '.json'])
def test_names_that_a_disk_can_hold_can_be_fetched(monkeypatch, tmp_path, name):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  place = f'memory://long/{len(name)}'
  object_store.put_bytes(f'{place}/{name}', b'1')
  assert files_in(store_mirror.mirrored(place)) == {name: b'1'}
  assert pathlib.Path(store_cache.fetched(f'{place}/{name}')).read_bytes() == b'1'
  with store_folder.written(place) as folder:
    assert files_in(folder) == {name: b'1'}


@pytest.mark.parametrize('use', [store_cache.fetched, store_mirror.mirrored, store_folder.written])
def test_a_file_that_is_also_a_folder_is_one_line(store, use):
  system, _ = store
  for name in ('a.json', 'a.json-', 'a.json/b/c.json', 'b.json'):
    system.pipe_file(f'{BUCKET}/folder/{name}', b'{}')
  with pytest.raises(UserError, match=f'{PLACE}/a.json: a file and a folder at once'), contextlib.ExitStack() as stack:
    found = use(PLACE)
    if use is store_folder.written:
      stack.enter_context(found)


def test_the_newest_whole_version_of_an_export_is_fetched(store):
  from audionet_tf.models import stored_student

  system, _ = store
  names = ('export/9/saved_model.pb', 'export/9/assets/a', 'export/10/saved_model.pb', 'export/11/variables/v')
  for name in (*names, 'student.keras', 'student.json', 'checkpoints/ckpt-1.index', 'metrics.jsonl'):
    system.pipe_file(f'{BUCKET}/folder/{name}', name.encode())
  stored_student.fetched.cache_clear()
  assert set(files_in(stored_student.fetched(PLACE))) == {'export/10/saved_model.pb', 'student.keras', 'student.json'}
  assert set(files_in(stored_student.fetched(f'{PLACE}/export'))) == {'10/saved_model.pb'}
  assert set(files_in(stored_student.fetched(f'{PLACE}/export/9'))) == {'saved_model.pb', 'assets/a'}
  keras = stored_student.fetched(f's3:/{BUCKET}/folder/student.keras')
  assert keras.read_bytes() == b'student.keras' and keras.with_suffix('.json').is_file()
  with pytest.raises(UserError, match='no student here'):
    stored_student.fetched(f'{PLACE}/checkpoints')
