"""Objects, the cache and written folders, against a real S3 server behind a proxy that fails when it is told to."""

import builtins
import contextlib
import fcntl
import json
import os
import pathlib
import re

import faulty_proxy
import pytest
import s3_server
from faulty_proxy import CUT, DROP, STALL

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import (
  object_store,
  store_cache,
  store_flags,
  store_folder,
  store_lock,
  store_mirror,
  store_retries,
)
from audionet_tf.core.stores.object_store import Stored
from audionet_tf.data import codec_variants, soft_labels

BUCKET = 'sounds'
PLACE = f's3://{BUCKET}/folder'


@pytest.fixture(scope='module')
def upstream():
  with s3_server.running() as endpoint:
    yield endpoint


@pytest.fixture(scope='module')
def proxy(upstream):
  with faulty_proxy.running(upstream) as (address, faults):
    yield address, faults


@pytest.fixture
def store(upstream, proxy, tmp_path, monkeypatch):
  """(an s3fs file system of its own, the Faults between the server and the code under test); the bucket is empty."""
  import s3fs

  for name, value in s3_server.variables(upstream, tmp_path / 'cache', seconds=24).items():
    monkeypatch.setenv(name, value)
  system = s3_server.system()
  if system.exists(BUCKET):
    system.rm(BUCKET, recursive=True)
  system.mkdir(BUCKET)
  address, faults = proxy
  monkeypatch.setenv('AWS_ENDPOINT_URL', address)
  s3fs.S3FileSystem.clear_instance_cache()
  faults.__init__()
  yield system, faults
  s3fs.S3FileSystem.clear_instance_cache()


def files_in(folder):
  return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize(
  'path, expected',
  [
    ('clips', False),
    ('/data/s3/x', False),
    ('clips/s3://x', False),
    ('hf://me/dogs', False),
    ('https://example.org/x', False),
    ('s3:///', False),
    ('s3://bucket/x', True),
    ('s3:/bucket/x', True),  # of a pathlib.Path
    ('gs://bucket', True),
    ('memory://x', True),
  ],
)
def test_addresses(path, expected):
  assert object_store.is_address(path) is expected


@pytest.mark.parametrize(
  'address, said',
  [
    ('s3://me:secret@bucket/x', 'credentials in an address'),
    ('s3://bucket/x::file', 'a chain of addresses'),
    ('nostore://bucket/x', 'no store of this kind'),
  ],
)
def test_addresses_that_are_refused(address, said):
  with pytest.raises(UserError, match=said) as raised:
    object_store.checked(address)
  assert 'secret' not in str(raised.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
  import fsspec

  monkeypatch.setattr(fsspec, 'get_filesystem_class', lambda protocol: builtins.__import__('no_such_package'))
  with pytest.raises(UserError, match=re.escape("s3:// needs s3fs: in the project's folder run scripts/setup s3")):
    object_store.checked('s3://bucket')


def test_objects_are_listed_and_read_as_they_were_put(store, tmp_path):
  system, _ = store
  (tmp_path / 'a').write_bytes(b'sound')
  object_store.put(f'{PLACE}/a', tmp_path / 'a')
  assert object_store.put_bytes(f'{PLACE}/b/c', b'1', new=True)
  assert not object_store.put_bytes(f'{PLACE}/b/c', b'2', new=True)
  assert system.cat_file(f'{BUCKET}/folder/b/c') == b'1'
  listed = object_store.listed(PLACE)
  assert {name: each.size for name, each in listed.items()} == {'a': 5, 'b/c': 1}
  assert listed['a'] == object_store.stat(f'{PLACE}/a') and object_store.stat(PLACE) is None
  assert object_store.globbed(f'{PLACE}/*') == {f'{PLACE}/a': listed['a'], f'{PLACE}/b': None}
  object_store.fetch(f'{PLACE}/a', listed['a'], tmp_path / 'b')
  assert (tmp_path / 'b').read_bytes() == b'sound'


@pytest.mark.parametrize('fault', [500, 503, CUT, DROP, STALL])
def test_a_server_that_fails_in_between_is_asked_again(store, tmp_path, fault):
  system, faults = store
  content = os.urandom(200_000)
  system.pipe_file(f'{BUCKET}/folder/a', content)
  listed = object_store.listed(PLACE)
  faults.matches = lambda method, path: method == 'GET' and path.endswith('/folder/a')
  faults.next = [fault]
  object_store.fetch(f'{PLACE}/a', listed['a'], tmp_path / 'a')
  assert not faults.next and files_in(tmp_path)['a'] == content


@pytest.mark.parametrize('fault', [500, 503, DROP])
def test_an_upload_that_fails_in_between_is_repeated(store, tmp_path, fault):
  system, faults = store
  (tmp_path / 'a').write_bytes(b'sound')
  faults.matches = lambda method, path: method == 'PUT'
  faults.next = [fault, fault]
  object_store.put(f'{PLACE}/a', tmp_path / 'a')
  assert not faults.next and system.cat_file(f'{BUCKET}/folder/a') == b'sound'


def test_a_server_that_goes_on_failing_is_given_up_in_one_line(store, tmp_path, monkeypatch):
  system, faults = store
  system.pipe_file(f'{BUCKET}/folder/a', b'sound')
  listed = object_store.listed(PLACE)
  monkeypatch.setenv('AUDIONET_STORE_SECONDS', '1')
  faults.matches, faults.next = lambda method, path: method == 'GET', [503] * 1000
  with pytest.raises(UserError, match=rf'{PLACE}/a: .*after \d+ s of trying again') as raised:
    object_store.fetch(f'{PLACE}/a', listed['a'], tmp_path / 'a')
  assert '\n' not in str(raised.value) and not (tmp_path / 'a').exists()
  assert not [path for path in tmp_path.iterdir() if path.is_file()]  # nothing half-read


def test_mistakes_are_not_repeated(store, tmp_path, monkeypatch):
  _, faults = store
  with pytest.raises(UserError, match='s3://no-such-bucket/x: no such bucket'):
    store_cache.fetched('s3://no-such-bucket/x')
  with pytest.raises(UserError, match=f'{PLACE}/x: nothing there'):
    store_cache.fetched(f'{PLACE}/x')
  faults.next = [403]
  with pytest.raises(UserError, match=f'{PLACE}: access denied'):
    object_store.listed(PLACE)
  assert len(faults.seen) < 15
  import s3fs

  s3fs.S3FileSystem.clear_instance_cache()
  for name in s3_server.CREDENTIALS:
    monkeypatch.delenv(name)
  monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(tmp_path / 'none'))
  monkeypatch.setenv('AWS_CONFIG_FILE', str(tmp_path / 'none'))
  with pytest.raises(UserError, match=f'{PLACE}: no credentials.*AWS_ACCESS_KEY_ID'):
    object_store.listed(PLACE)


def test_no_network(store, monkeypatch):
  import s3fs

  monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://127.0.0.1:9')
  monkeypatch.setenv('AUDIONET_STORE_SECONDS', '0.3')
  s3fs.S3FileSystem.clear_instance_cache()
  with pytest.raises(UserError, match=f'{PLACE}: .*connect'):
    object_store.listed(PLACE)


def test_secrets_are_left_out_of_messages(monkeypatch):
  monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'very-secret')
  assert 'very-secret' not in store_retries.reason(PLACE, OSError('signed with very-secret'))


@pytest.mark.parametrize('change, said', [('replace', 'has changed'), ('remove', 'is gone')])
@pytest.mark.parametrize('when', ['HEAD', 'GET'])
def test_an_object_that_is_not_what_was_listed(store, tmp_path, change, said, when):
  system, faults = store
  system.pipe_file(f'{BUCKET}/folder/a', b'sound')
  listed = object_store.listed(PLACE)
  changes = [change]

  def before(method, path):
    if method == when and path.endswith('/folder/a') and changes:
      changes.pop()
      (system.pipe_file if change == 'replace' else system.rm_file)(
        f'{BUCKET}/folder/a', *([b'other'] if change == 'replace' else [])
      )

  faults.before = before
  with pytest.raises(object_store.Changed, match=f'{PLACE}/a: {said} since it was listed'):
    object_store.fetch(f'{PLACE}/a', listed['a'], tmp_path / 'a')
  assert not (tmp_path / 'a').exists()


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


def test_a_mirror_fetches_small_files_at_once_and_shards_on_demand(store):
  system, faults = store
  for name, content in {'manifest.json': b'{}', 'a.tfrecord': b'shard', 'labels/k/manifest.json': b'[]'}.items():
    system.pipe_file(f'{BUCKET}/folder/{name}', content)
  root = store_mirror.mirrored(PLACE)
  assert files_in(root) == {'manifest.json': b'{}', 'labels/k/manifest.json': b'[]'}
  assert not any('a.tfrecord' in path for method, path in faults.seen)
  assert store_mirror.size(root / 'a.tfrecord') == 5 and store_mirror.is_remote(str(root / 'a.tfrecord'))
  copy = store_mirror.present(root / 'a.tfrecord')
  assert copy.read_bytes() == b'shard' and copy != root / 'a.tfrecord'
  assert store_mirror.present('local.tfrecord') == 'local.tfrecord' and store_mirror.size('local.tfrecord') is None
  assert store_cache.addressed(f'{copy}: damaged') == f'{PLACE}/a.tfrecord: damaged'
  assert store_cache.addressed(f'{root}: damaged') == f'{PLACE}: damaged'
  # What is made beside the records is uploaded, its manifest last, and its shards are then copies like others.
  labels = root / 'labels/new'
  labels.mkdir()
  (labels / 'l.tfrecord').write_bytes(b'labels')
  (labels / 'manifest.json').write_bytes(b'{"l": 1}')
  (labels / '.lock').touch()
  faults.seen.clear()
  store_folder.publish_beside_records(labels)
  puts = [path.rpartition('/')[2] for method, path in faults.seen if method == 'PUT']
  assert puts == ['l.tfrecord', 'manifest.json']
  assert store_mirror.is_remote(labels / 'l.tfrecord')
  faults.seen.clear()
  assert store_mirror.present(labels / 'l.tfrecord').read_bytes() == b'labels' and not faults.seen
  # What another process has put there since is found when it is asked for.
  system.pipe_file(f'{BUCKET}/folder/labels/other/manifest.json', b'{}')
  system.pipe_file(f'{BUCKET}/folder/labels/other/o.tfrecord', b'other')
  store_mirror.refresh(root / 'labels/other')
  assert (root / 'labels/other/manifest.json').read_bytes() == b'{}'
  assert store_mirror.present(root / 'labels/other/o.tfrecord').read_bytes() == b'other'


def test_what_cannot_be_put_beside_records_stays_here(store, capsys):
  system, faults = store
  system.pipe_file(f'{BUCKET}/folder/manifest.json', b'{}')
  root = store_mirror.mirrored(PLACE)
  (root / 'labels').mkdir()
  (root / 'labels/manifest.json').write_bytes(b'[]')
  faults.matches, faults.next = lambda method, path: method == 'PUT', [403] * 9
  store_folder.publish_beside_records(root / 'labels')
  assert 'access denied' in capsys.readouterr().err and (root / 'labels/manifest.json').exists()


def test_a_written_folder_is_uploaded_in_order_and_what_is_gone_is_removed(store, tmp_path):
  system, faults = store
  system.pipe_file(f'{BUCKET}/folder/old.tfrecord', b'old')
  with store_folder.written(PLACE, 'busy') as folder:
    assert files_in(folder) == {'old.tfrecord': b'old'}
    for name in ('manifest.json', 'new.tfrecord', 'settings.json', '.parts/x', 'checkpoints/ckpt-1.index'):
      (folder / name).parent.mkdir(exist_ok=True)
      (folder / name).write_bytes(name.encode())
    (folder / 'checkpoints/ckpt-1.data-00000-of-00001').write_bytes(b'weights')
    (folder / 'old.tfrecord').unlink()
    faults.seen.clear()
    store_folder.publish(folder)
    assert system.exists(f'{BUCKET}/folder/manifest.json')
    changes = [(m, p.partition('/folder/')[2]) for m, p in faults.seen if m in ('PUT', 'DELETE') and '.lock' not in p]
    assert changes == [
      *(('PUT', name) for name in ('settings.json', 'new.tfrecord', 'checkpoints/ckpt-1.data-00000-of-00001')),
      *(('PUT', name) for name in ('checkpoints/ckpt-1.index', 'manifest.json')),
      ('DELETE', 'old.tfrecord'),
    ]
    faults.seen.clear()
    store_folder.publish(folder)  # nothing has changed
    assert not [method for method, path in faults.seen if '.lock' not in path]
  assert not folder.exists()  # it is in the store now
  assert not system.exists(f'{BUCKET}/folder/.lock') and not system.exists(f'{BUCKET}/folder/.parts')
  with store_folder.written(tmp_path) as same:  # a local folder is what it is
    assert same == tmp_path


def test_work_that_could_not_be_uploaded_is_found_again_unless_others_went_on(store, capsys):
  system, faults = store

  def fail(content):
    with store_folder.written(PLACE, 'busy') as folder:
      (folder / 'a').write_bytes(content)
      store_folder.publish(folder)
      (folder / 'b').write_bytes(content)
      faults.matches, faults.next = lambda method, path: method == 'PUT' and '/b' in path, [403] * 9
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    fail(b'1')
  assert 'is kept in' in capsys.readouterr().err
  faults.next = []
  with store_folder.written(PLACE, 'busy') as folder:
    assert files_in(folder) == {'a': b'1', 'b': b'1'}
  with pytest.raises(KeyboardInterrupt):
    fail(b'2')
  faults.next = []
  system.pipe_file(f'{BUCKET}/folder/a', b'of another machine')
  with store_folder.written(PLACE, 'busy') as folder:
    assert files_in(folder) == {'a': b'of another machine', 'b': b'1'}


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


def test_an_output_may_be_a_bucket_with_a_dot_in_its_name(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  with contextlib.ExitStack() as stack:
    (store_flags.output(stack, 'memory://my.bucket') / 'x').write_bytes(b'1')
  with contextlib.ExitStack() as stack:
    store_flags.output(stack, 'memory://my.bucket/y.csv').write_bytes(b'2')
  assert [object_store.read_bytes(f'memory://my.bucket/{name}') for name in ('x', 'y.csv')] == [b'1', b'2']


def test_a_cache_may_be_named_by_way_of_its_neighbour(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', f'{tmp_path}/other/../cache')
  for name in ('manifest.json', 'a.tfrecord'):
    object_store.put_bytes(f'memory://neighbour/{name}', b'{}')
  assert store_mirror.size(store_mirror.mirrored('memory://neighbour') / 'a.tfrecord') == 2


@pytest.mark.parametrize('name', ['x' * 251 + '.csv', 'x' * 245 + '.json'])
def test_names_that_a_disk_can_hold_can_be_fetched(monkeypatch, tmp_path, name):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  place = f'memory://long/{len(name)}'
  object_store.put_bytes(f'{place}/{name}', b'1')
  assert files_in(store_mirror.mirrored(place)) == {name: b'1'}
  assert pathlib.Path(store_cache.fetched(f'{place}/{name}')).read_bytes() == b'1'
  with store_folder.written(place) as folder:
    assert files_in(folder) == {name: b'1'}


def test_results_with_names_like_those_of_partial_files_are_uploaded(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  results = ['.hidden.wav.csv', '.sounds/.of/a.wav.csv', 'talk.partial', 'talk.partial.csv']
  own = ['.lock', '.a.csv.lock', '.a.partial.csv', '.a.csv.partial', 'a.tfrecord.partial', '.12.a.csv', '.parts/a']
  own += ['.partial-1/a', '.a.partial/a', '.a.earlier/a']
  with store_folder.written('memory://names', wanted=store_folder.nothing) as folder:
    for name in results + own:
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      (folder / name).write_bytes(b'1')
  assert sorted(object_store.listed('memory://names')) == results
  assert store_cache.listed('memory://names').keys() == {name for name in results if '/' not in name}  # as records


@pytest.mark.parametrize('use', [store_cache.fetched, store_mirror.mirrored, store_folder.written])
def test_a_file_that_is_also_a_folder_is_one_line(store, use):
  system, _ = store
  for name in ('a.json', 'a.json-', 'a.json/b/c.json', 'b.json'):
    system.pipe_file(f'{BUCKET}/folder/{name}', b'{}')
  with pytest.raises(UserError, match=f'{PLACE}/a.json: a file and a folder at once'), contextlib.ExitStack() as stack:
    found = use(PLACE)
    if use is store_folder.written:
      stack.enter_context(found)


def test_what_is_gone_from_the_store_goes_from_its_mirror(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  place = 'memory://gone'
  for name in ('manifest.json', 'b.json', 'labels/k/c.json', 'labels/k/d.json', 'labels/k/l.tfrecord', 'labels/m/e'):
    object_store.put_bytes(f'{place}/{name}', b'{}')
  root = store_mirror.mirrored(place)
  for name in ('labels/k/of-this-machine.json', 'labels/k/d.json'):
    (root / name).write_bytes(b'{"labels": "new"}')
  for name in ('b.json', 'labels/k/c.json', 'labels/k/d.json', 'labels/k/l.tfrecord'):
    object_store.remove(f'{place}/{name}')
  store_mirror.refresh(root / 'labels/k')
  here = {'labels/k/of-this-machine.json', 'labels/k/d.json', 'labels/m/e', 'manifest.json'}
  assert files_in(root).keys() == here | {'b.json'}
  assert store_mirror.names(root / 'labels/k', '*.tfrecord') == []
  assert store_mirror.size(root / 'labels/k/l.tfrecord') is None
  assert store_mirror.mirrored(place) == root and files_in(root).keys() == here


@pytest.mark.parametrize('now', [b'whole!', b'mended and longer'])
def test_what_is_mended_beside_records_is_mended_in_the_store(monkeypatch, tmp_path, now):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  place = f'memory://mended/{len(now)}'
  for name in ('manifest.json', 'labels/k/l.tfrecord', 'labels/k/same.tfrecord'):
    object_store.put_bytes(f'{place}/{name}', b'broken')
  root = store_mirror.mirrored(place)
  (root / 'labels/k/l.tfrecord').write_bytes(now)
  (root / 'labels/k/same.tfrecord').write_bytes(b'broken')
  version = object_store.stat(f'{place}/labels/k/same.tfrecord')
  store_folder.publish_beside_records(root / 'labels/k')
  assert object_store.read_bytes(f'{place}/labels/k/l.tfrecord') == now
  assert object_store.stat(f'{place}/labels/k/same.tfrecord') == version
  assert store_mirror.present(root / 'labels/k/l.tfrecord').read_bytes() == now


@pytest.mark.parametrize('module', [codec_variants, soft_labels])
def test_advice_about_what_is_beside_records_in_a_store_is_one_that_can_be_followed(monkeypatch, tmp_path, module):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  object_store.put_bytes('memory://advice/manifest.json', b'{}')
  root = store_mirror.mirrored('memory://advice')
  said = store_cache.addressed(module.advice_for(root / 'labels/k'))
  assert said == 'delete memory://advice/labels/k and train again'
  assert '--repair' in module.advice_for(tmp_path / 'labels/k')


def test_results_join_what_is_there_without_fetching_it(store):
  system, faults = store
  system.pipe_file(f'{BUCKET}/folder/1/saved_model.pb', b'old')
  with store_folder.written(PLACE, 'busy', store_folder.nothing) as folder:
    assert [path.name for path in folder.iterdir()] == ['1'] and files_in(folder) == {}
    (folder / '2').mkdir()
    (folder / '2/saved_model.pb').write_bytes(b'new')
    (folder / '2/x.tfrecord.partial').write_bytes(b'half')
  assert system.find(f'{BUCKET}/folder') == [f'{BUCKET}/folder/{number}/saved_model.pb' for number in (1, 2)]
  assert not any(method == 'GET' and path.endswith('saved_model.pb') for method, path in faults.seen)


def test_an_answer_that_is_lost_is_no_other_owner(store, monkeypatch):
  system, faults = store
  monkeypatch.setenv('AUDIONET_LEASE_SECONDS', '1000')
  faults.after = [faulty_proxy.DROP]
  faults.matches = lambda method, path: method == 'PUT' and path.endswith('.lock')
  with store_lock.locked(PLACE, 'at work') as lock:
    assert json.loads(system.cat_file(f'{BUCKET}/folder/.lock'))['token'] == lock.content['token']
  assert not faults.after


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
