"""Mirrors of records in a store: what is in them, and what goes from them into the store."""

import pathlib
import subprocess

import pytest
from s3_server import BUCKET, PLACE, files_in

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache, store_folder, store_mirror
from audionet_tf.data import codec_variants, soft_labels

DOCUMENTATION = pathlib.Path(__file__).resolve().parents[3] / 'docs/stores.md'


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


def test_a_cache_may_be_named_by_way_of_its_neighbour(monkeypatch, tmp_path):
  monkeypatch.setenv('AUDIONET_CACHE', f'{tmp_path}/other/../cache')
  for name in ('manifest.json', 'a.tfrecord'):
    object_store.put_bytes(f'memory://neighbour/{name}', b'{}')
  assert store_mirror.size(store_mirror.mirrored('memory://neighbour') / 'a.tfrecord') == 2


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


def test_mirrors_are_cleared_as_documented(monkeypatch, tmp_path, capsys):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  place, put = 'memory://cleared', object_store.put
  object_store.put_bytes(f'{place}/manifest.json', b'{}')
  object_store.put_bytes(f'{place}/a.tfrecord', b'a')
  root = store_mirror.mirrored(place)

  def refuse(address, path):
    raise UserError(f'{address}: access denied')

  for key, uploads in (('here', refuse), ('there', put)):
    (root / 'labels' / key).mkdir(parents=True)
    for name in ('l.tfrecord', 'manifest.json'):
      (root / 'labels' / key / name).write_bytes(key.encode())
    monkeypatch.setattr(object_store, 'put', uploads)
    store_folder.publish_beside_records(root / 'labels' / key)
  assert 'here stays on this machine alone' in capsys.readouterr().err
  find, remove = (line for line in DOCUMENTATION.read_text().splitlines() if '/audionet_tf/mirrors' in line)

  def shell(line):
    return subprocess.check_output(line.replace('~/.cache/audionet_tf', str(tmp_path)), shell=True, text=True)

  assert shell(find).split() == [str(root / 'labels/here/l.tfrecord')]
  shell(remove)
  root = store_mirror.mirrored(place)
  assert files_in(root) == {'manifest.json': b'{}', 'labels/there/manifest.json': b'there'}
  assert store_mirror.present(root / 'labels/there/l.tfrecord').read_bytes() == b'there'
