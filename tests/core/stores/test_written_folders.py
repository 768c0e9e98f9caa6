"""Folders that are written to a real S3 server: what is uploaded, in which order, and what is found again."""

import contextlib

import pytest
from s3_server import BUCKET, PLACE, files_in

from audionet_tf.core.stores import object_store, store_cache, store_flags, store_folder


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


def test_an_output_may_be_a_bucket_with_a_dot_in_its_name(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  with contextlib.ExitStack() as stack:
    (store_flags.output(stack, 'memory://my.bucket') / 'x').write_bytes(b'1')
  with contextlib.ExitStack() as stack:
    store_flags.output(stack, 'memory://my.bucket/y.csv').write_bytes(b'2')
  assert [object_store.read_bytes(f'memory://my.bucket/{name}') for name in ('x', 'y.csv')] == [b'1', b'2']


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
