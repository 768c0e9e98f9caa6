"""Objects of a real S3 server, behind a proxy that fails when it is told to."""

import builtins
import os
import re

import pytest
import s3_server
from faulty_proxy import CUT, DROP, STALL
from s3_server import BUCKET, PLACE, files_in

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache, store_retries


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
