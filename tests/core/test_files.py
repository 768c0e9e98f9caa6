"""Atomic writes and locks."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import subprocess
import sys

import pytest

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_cache


@pytest.mark.parametrize(('mode', 'content', 'read'), [('w', 'é\r\n\n', 'é\r\n\n'.encode()), ('wb', b'\xff', b'\xff')])
def test_a_file_is_renamed_last(tmp_path, monkeypatch, mode, content, read):
  path = tmp_path / 'x.tar.json'
  path.write_bytes(b'old')
  order = []
  for name in ('fsync', 'replace'):
    real = getattr(os, name)
    monkeypatch.setattr(os, name, lambda *args, name=name, real=real: order.append(name) or real(*args))
  with files.atomic_write(path, mode) as file:
    file.write(content)
    assert path.read_bytes() == b'old' and os.path.basename(file.name) == '.x.tar.partial.json'
  assert path.read_bytes() == read and os.listdir(tmp_path) == ['x.tar.json']
  assert order == ['fsync', 'replace']


def test_a_failure_keeps_the_old_file(tmp_path):
  path = tmp_path / 'x'
  path.write_text('old')
  with pytest.raises(KeyboardInterrupt), files.atomic_write(path, partial=tmp_path / 'y') as file:
    file.write('new')
    assert (tmp_path / 'y').exists()
    raise KeyboardInterrupt
  assert path.read_text() == 'old' and os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize('name', ['x.json', 'x' * 251 + '.csv', 'x.' + 'y' * 253, 'é' * 124 + '.keras'])
def test_a_name_that_a_disk_can_hold_can_be_written(tmp_path, name):
  with files.atomic_write(tmp_path / name) as file, files.atomic_write(tmp_path / name) as other:
    assert all(store_cache.is_hidden(os.path.basename(each.name)) for each in (file, other))
    assert name.startswith('x.y') or pathlib.Path(file.name).suffix == pathlib.Path(name).suffix  # libraries look at it
    file.write('1')
  assert (tmp_path / name).read_text() == '1' and os.listdir(tmp_path) == [name]


def test_of_two_who_write_one_file_at_once_the_later_one_wins(tmp_path):
  path = tmp_path / 'x.json'
  with files.atomic_write(path) as file:
    file.write('of the first')
    with files.atomic_write(path) as other:
      other.write('2')
    assert path.read_text() == '2'
    with pytest.raises(ValueError, match='bad'), files.atomic_write(path) as other:
      raise ValueError('bad')
  assert path.read_text() == 'of the first' and os.listdir(tmp_path) == ['x.json']


@pytest.mark.parametrize('moment', ['replace', 'remove', 'fsync'])
def test_another_may_begin_at_any_moment(tmp_path, monkeypatch, moment):
  path, real = tmp_path / 'x.json', getattr(os, moment)

  def meanwhile(*args):
    monkeypatch.setattr(os, moment, real)
    with files.atomic_write(path) as other:
      other.write('2')
      real(*args)

  monkeypatch.setattr(os, moment, meanwhile)
  with contextlib.suppress(KeyError), files.atomic_write(path) as file:
    file.write('the first one')
    if moment == 'remove':
      raise KeyError
  assert path.read_text() == ('the first one' if moment == 'fsync' else '2') and os.listdir(tmp_path) == ['x.json']


def test_a_child_that_was_forked_meanwhile_holds_no_lock_on(tmp_path):
  path = tmp_path / 'x.json'
  with files.atomic_write(path) as file:
    of_a_child = os.dup(file.fileno())  # shares the lock, and outlives the block
  with open(path) as other:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
  os.close(of_a_child)


def test_a_partial_file_of_another_user_stays_theirs(tmp_path, monkeypatch):
  path, real = tmp_path / 'x.json', os.open
  theirs = files.partial_path(path)
  theirs.write_text('theirs')

  def refuse(name, *args, **options):
    if name == theirs:
      raise PermissionError(errno.EACCES, 'Permission denied', name)
    return real(name, *args, **options)

  monkeypatch.setattr(os, 'open', refuse)
  with files.atomic_write(path) as file:
    file.write('1')
  with pytest.raises(ValueError, match='bad'), files.atomic_write(path) as file:
    raise ValueError('bad')
  assert path.read_text() == '1' and theirs.read_text() == 'theirs' and set(tmp_path.iterdir()) == {path, theirs}


def test_a_disk_without_locks_can_be_written(tmp_path, monkeypatch):
  def refuse(*args):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(files.fcntl, 'flock', refuse)
  with files.atomic_write(tmp_path / 'x') as file:
    file.write('1')
  assert os.listdir(tmp_path) == ['x']


def test_what_a_killed_process_left_is_replaced(tmp_path):
  path = tmp_path / 'x.json'
  files.partial_path(path).write_text('longer than what comes')
  with files.atomic_write(path) as file:
    file.write('1')
  assert path.read_text() == '1' and os.listdir(tmp_path) == ['x.json']


def test_a_library_may_write_to_the_temporary_name(tmp_path):
  with files.atomic_write(tmp_path / 'x.bin', 'wb') as file, open(file.name, 'wb') as other:
    other.write(b'library')
  assert (tmp_path / 'x.bin').read_bytes() == b'library'


def test_json_creates_its_folder(tmp_path):
  path = tmp_path / 'new' / 'x.json'
  files.write_json(path, {'name': 'é'}, ensure_ascii=False)
  assert json.loads(path.read_bytes()) == {'name': 'é'} and 'é' in path.read_text('utf-8')
  with pytest.raises(TypeError):
    files.write_json(path, object())
  assert json.loads(path.read_bytes()) == {'name': 'é'} and os.listdir(path.parent) == ['x.json']


HOLD = """
import pathlib, sys
from audionet_tf.core import files
with files.locked(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  sys.stdin.read()
"""


@pytest.mark.parametrize('options', [{}, {'ensure_ascii': False}])
def test_names_that_are_not_utf8_come_back_from_json(tmp_path, options):
  name = os.fsdecode(b'caf\xe9.mp4')
  files.write_json(tmp_path / 'a.json', {'file': name, 'other': 'café'}, **options)
  content = json.loads((tmp_path / 'a.json').read_bytes().decode('utf-8'))
  assert os.fsencode(content['file']) == b'caf\xe9.mp4' and content['other'] == 'café'


def test_a_folder_is_locked_by_one_process(tmp_path):
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
  other = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], text=True, **pipes)
  assert other.stdout.readline() == 'held\n'
  with pytest.raises(BlockingIOError), files.locked(tmp_path, wait=False):
    pass
  other.kill()  # the system releases the lock
  with files.locked(tmp_path):
    pass
  other.communicate()


@pytest.mark.parametrize('partial', [None, 'part'])
def test_a_file_that_cannot_be_made_is_called_by_its_name(tmp_path, partial):
  path = tmp_path / 'none' / 'x.json'
  partial = partial and tmp_path / 'none' / partial
  with pytest.raises(FileNotFoundError) as caught, files.atomic_write(path, partial=partial):
    pass
  assert caught.value.filename == str(path)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
  folder = tmp_path / 'a/site'
  for content in ('one', 'two'):
    with files.replaced_folder(folder, 'marker') as partial:
      (partial / 'marker').write_text(content)
      assert not folder.exists() or (folder / 'marker').read_text() == 'one'
    assert [path.name for path in folder.parent.iterdir()] == ['site']
    assert [path.name for path in folder.iterdir()] == ['marker'] and (folder / 'marker').read_text() == content
    if content == 'one':
      (folder / 'of one').touch()
  with pytest.raises(ValueError, match='bad'), files.replaced_folder(folder, 'marker'):
    raise ValueError('bad')
  assert [path.name for path in folder.parent.iterdir()] == ['site'] and (folder / 'marker').read_text() == 'two'


def test_a_folder_survives_a_kill_between_renames_and_a_failure_after_it(tmp_path):
  folder, earlier = tmp_path / 'site', tmp_path / '.site.earlier'
  earlier.mkdir()
  (earlier / 'marker').write_text('one')
  (tmp_path / '.site.partial').mkdir()
  with pytest.raises(ValueError, match='bad'), files.replaced_folder(folder, 'marker'):
    raise ValueError('bad')
  assert [path.name for path in tmp_path.iterdir()] == ['site'] and (folder / 'marker').read_text() == 'one'


def test_a_folder_is_made_by_one_process_at_a_time(tmp_path):
  folder, left = tmp_path / 'site', tmp_path / '.site.partial/of a killed process'
  left.mkdir(parents=True)
  with files.replaced_folder(folder, 'marker') as partial:
    assert not list(partial.iterdir())
    (partial / 'marker').write_text('one')
    with pytest.raises(UserError, match='site: another command is writing it'), files.replaced_folder(folder, 'marker'):
      pass
    with files.replaced_folder(tmp_path / 'other', 'marker') as other:
      (other / 'marker').touch()
  assert sorted(path.name for path in tmp_path.iterdir()) == ['other', 'site']
  assert [path.name for path in folder.iterdir()] == ['marker']
  with files.replaced_folder(folder, 'marker') as partial:
    (partial / 'marker').write_text('two')
  assert (folder / 'marker').read_text() == 'two'


def test_a_folder_leaves_the_work_of_the_next_process_alone(tmp_path, monkeypatch):
  folder, begun, rename = tmp_path / 'site', tmp_path / '.site.partial/begun', pathlib.Path.rename

  def rename_and_begin(path, target):
    rename(path, target)
    if path == begun.parent:
      begun.parent.mkdir()
      begun.touch()

  monkeypatch.setattr(pathlib.Path, 'rename', rename_and_begin)
  for content in ('one', 'two'):
    with files.replaced_folder(folder, 'marker') as partial:
      (partial / 'marker').write_text(content)
    assert begun.exists() and (folder / 'marker').read_text() == content


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
  (tmp_path / 'mine').mkdir()
  files.check_replaceable(tmp_path / 'new', 'marker')
  files.check_replaceable(tmp_path / 'mine', 'marker')
  (tmp_path / 'mine/file').touch()
  (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
  for name in ('mine', 'mine/file', 'link'):
    with pytest.raises(UserError, match=f'{name}: holds something else'):
      files.check_replaceable(tmp_path / name, 'marker')
