"""Folders that are written to a store in memory: what is kept when uploads fail, and what is not asked of the store."""

import contextlib
import shutil

import pytest

import audionet_tf
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_flags, store_folder


@pytest.fixture
def refused(monkeypatch, tmp_path):
  """Set of names; the store refuses to take what is in it."""
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / 'cache'))
  names, put = set(), object_store.put

  def refuse(address, path):
    if address.rpartition('/')[2] in names:
      raise UserError(f'{address}: access denied')
    put(address, path)

  monkeypatch.setattr(object_store, 'put', refuse)
  return names


def files_in(folder):
  return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob('*') if path.is_file()}


def write(folder, **content):
  for name, text in content.items():
    (folder / name).write_text(text)


def copied(place):
  """What is in the store, a dict of name to text."""
  return {name: object_store.read_bytes(f'{place}/{name}').decode() for name in object_store.listed(place)}


def test_work_is_kept_whose_upload_stopped_midway(refused, capsys):
  place = 'memory://midway'
  refused.add('b')
  with pytest.raises(UserError, match='b: access denied'), store_folder.written(place) as folder:
    write(folder, a='1', b='2', c='3')
  assert 'what is finished is kept in' in capsys.readouterr().err and copied(place) == {'a': '1'}
  with pytest.raises(UserError, match='b: access denied'), store_folder.written(place) as folder:
    assert files_in(folder) == {'a': '1', 'b': '2', 'c': '3'}
    write(folder, d='4')
  refused.clear()
  with store_folder.written(place) as folder:
    assert files_in(folder) == {'a': '1', 'b': '2', 'c': '3', 'd': '4'}
    (folder / 'a').unlink()
  assert copied(place) == {'b': '2', 'c': '3', 'd': '4'}


def test_work_is_kept_whose_files_have_grown_since_they_were_sent(refused, monkeypatch):
  place = 'memory://grown'
  with pytest.raises(KeyboardInterrupt), store_folder.written(place) as folder:
    write(folder, a='1', b='2')
    store_folder.publish(folder)
    refused.add('b')
    write(folder, a='1 and 2', b='2 and 3')
    store_folder.publish(folder)
    write(folder, a='1 and 2 and 3')
    monkeypatch.setattr(store_folder, 'keep', lambda working: False)  # as of a process that is killed
    raise KeyboardInterrupt
  assert copied(place) == {'a': '1 and 2', 'b': '2'}
  with pytest.raises(KeyboardInterrupt), store_folder.written(place) as folder:
    assert files_in(folder) == {'a': '1 and 2 and 3', 'b': '2 and 3'}
    raise KeyboardInterrupt
  object_store.put_bytes(f'{place}/a', b'of another machine')
  with store_folder.written(place) as folder:
    assert files_in(folder) == {'a': 'of another machine', 'b': '2'}


def test_work_is_kept_that_grew_while_it_was_sent(refused, monkeypatch):
  place, put = 'memory://growing', object_store.put
  refused.add('c')

  def grow(address, path):
    if address.endswith('/a'):
      (path.parent / 'b').write_text('longer than before')
    put(address, path)

  monkeypatch.setattr(object_store, 'put', grow)
  with pytest.raises(UserError, match='c: access denied'), store_folder.written(place) as folder:
    write(folder, a='1', b='2', c='3')
  with pytest.raises(UserError, match='c: access denied'), store_folder.written(place) as folder:
    assert files_in(folder) == {'a': '1', 'b': 'longer than before', 'c': '3'}


def test_what_another_removed_is_not_ours(refused):
  place = 'memory://removed'
  refused.add('b')
  with pytest.raises(UserError, match='b: access denied'), store_folder.written(place) as folder:
    write(folder, a='1')
    store_folder.publish(folder)
    write(folder, a='2', b='2')
    store_folder.publish(folder)
  object_store.remove(f'{place}/a')
  with store_folder.written(place) as folder:
    assert files_in(folder) == {}


@pytest.fixture
def unlisted(refused, monkeypatch):
  """Fails a test that lists what may be millions of objects."""

  def refuse(address):
    raise AssertionError(f'{address} was listed')

  monkeypatch.setattr(object_store, 'listed', refuse)


def test_an_output_of_one_file_lists_nothing(unlisted):
  with contextlib.ExitStack() as stack:
    store_flags.output(stack, 'memory://full-bucket/x.json').write_text('{}')
  assert object_store.read_bytes('memory://full-bucket/x.json') == b'{}'


def test_an_export_sees_the_versions_that_are_there_and_nothing_below(unlisted):
  for name in ('1/saved_model.pb', '2/variables/v', 'notes.txt', '.parts/x'):
    object_store.put_bytes(f'memory://versions/export/{name}', b'1')
  with store_folder.written('memory://versions/export', 'busy', store_folder.nothing) as folder:
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')) == ['1', '2']
  with store_folder.written('memory://versions/new', 'busy', store_folder.nothing) as folder:
    assert not list(folder.iterdir())
    (folder / '1').mkdir()
    (folder / '1/saved_model.pb').write_text('new')
  assert object_store.read_bytes('memory://versions/new/1/saved_model.pb') == b'new'


def test_results_outlast_the_training_of_the_run_that_they_are_put_into(refused):
  place = 'memory://nested/run'
  with store_folder.written(place, wanted=store_folder.nothing) as results:
    with store_folder.written(place, 'busy') as run:
      write(run, a='1')
    write(results, b='2')
  assert copied(place) == {'a': '1', 'b': '2'}


def test_what_killed_commands_left_goes_and_what_is_kept_or_used_stays(refused, tmp_path, capsys):
  place, homes, nothing = 'memory://homes/run', tmp_path / 'cache/writing', store_folder.nothing
  refused.add('b')
  with pytest.raises(UserError, match='b: access denied'), store_folder.written(place, wanted=nothing) as kept:
    write(kept, b='2')
  assert f'what is finished is kept in {kept}' in capsys.readouterr().err
  with pytest.raises(UserError, match='b: access denied'), store_folder.written('memory://homes/resumed') as resumed:
    write(resumed, b='2')
  killed = kept.parent.with_name(f'{kept.parent.name}-of-a-killed-process')
  shutil.copytree(kept.parent, killed)
  (killed / store_folder.KEPT).unlink()
  with store_folder.written('memory://homes/other', wanted=nothing) as first:
    assert kept.is_dir() and resumed.is_dir() and not killed.exists()
    with store_folder.written(place, wanted=nothing) as second:
      assert first.is_dir() and second.is_dir()
      write(first, a='1')
  assert {path.parent for path in (kept, resumed)} == set(homes.iterdir())


def test_work_whose_last_upload_is_interrupted_is_kept(refused, monkeypatch):
  keep = store_folder.keep

  def interrupt(*_):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt), store_folder.written('memory://cut/a', wanted=store_folder.nothing) as folder:
    write(folder, b='2')
    monkeypatch.setattr(store_folder, 'keep', interrupt)
    raise ValueError('the command failed')
  monkeypatch.setattr(store_folder, 'keep', keep)
  with store_folder.written('memory://cut/a', wanted=store_folder.nothing):
    assert files_in(folder) == {'b': '2'}  # a home without the mark is removed here


def test_what_was_refused_before_it_changed_anything_leaves_no_copy(refused, tmp_path):
  place = 'memory://unchanged'
  object_store.put_bytes(f'{place}/a', b'1')
  with pytest.raises(UserError, match='no teacher'), store_folder.written(place, 'busy') as folder:
    (folder / '.lock').touch()
    raise UserError('no teacher')
  assert not list((tmp_path / 'cache/writing').iterdir())
  with pytest.raises(UserError, match='interrupted'), store_folder.written(place, 'busy') as folder:
    (folder / '.parts').mkdir()
    (folder / '.parts/video.tfrecord').write_text('decoded')
    raise UserError('interrupted')
  with store_folder.written(place, 'busy') as folder:
    assert files_in(folder) == {'a': '1', '.parts/video.tfrecord': 'decoded'}


def test_a_run_that_is_there_is_refused_before_it_is_fetched(refused, monkeypatch, tmp_path):
  for name in ('settings.json', 'checkpoints/ckpt-1.index'):
    object_store.put_bytes(f'memory://there/run/{name}', b'{}')
  monkeypatch.setattr(object_store, 'fetch', lambda address, *_: pytest.fail(f'{address} was fetched'))
  with pytest.raises(UserError, match='^memory://there/run: holds a run already; go on with --resume'):
    audionet_tf.train(tmp_path / 'none', 'memory://there/run')
  assert not list(tmp_path.glob('cache/writing/*')) and object_store.stat('memory://there/run/.lock') is None
