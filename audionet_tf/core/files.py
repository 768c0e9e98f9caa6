"""Atomic writes, full disks, and folders that one process locks."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import uuid

from audionet_tf.core import digests
from audionet_tf.core.errors import DiskFullError, UserError

LOCK_NAME = '.lock'
FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_NAME = 200  # bytes; disks hold 255, and partial files have longer names


@contextlib.contextmanager
def atomic_write(path, mode='w', partial=None):
  """Writes a file that replaces `path` at the end of the block, once it is on the disk; removes it if the block fails.

  Args:
    path: of the final file.
    mode: 'w' for UTF-8 without conversion of line ends, or 'wb'. A file name that is not UTF-8 is written as in JSON,
      'caf\\udce9', whose readers in Python get the name back.
    partial: path of the file until the end of the block; None for a hidden one next to `path` with the same suffix,
      which is locked. A library that opens the file itself, by its `name`, needs `partial_path(path)`, without a lock:
      on network disks a lock keeps all other descriptors out.

  Yields:
    The open file.
  """
  path = pathlib.Path(path)
  text = {} if 'b' in mode else {'encoding': 'utf-8', 'errors': 'backslashreplace', 'newline': ''}
  with space_in(path.parent):
    try:
      file = open(partial, mode, **text) if partial else _open_partial(path, mode, text)  # noqa: SIM115
    except OSError as error:
      error.filename = os.fspath(path)  # the one that a user asked for
      raise
    with file:  # to the end: the lock is needed until there is no partial file any more
      try:
        yield file
        sync(file)
        os.replace(file.name, path)
        with contextlib.suppress(OSError):  # a child that was forked meanwhile would hold the lock on
          fcntl.flock(file, fcntl.LOCK_UN)
      except BaseException:
        with contextlib.suppress(OSError):  # a disk that is read-only says something else
          os.remove(file.name)
        raise


def _open_partial(path, mode, text):
  """Opens the file that is to become `path`.

  All processes use one name, so that the next one replaces what a killed one left. While another process or thread is
  at it, whose lock tells, or where it is another user's, the file has a name of its own, which stays if this process is
  killed.
  """
  partial, own = partial_path(path), partial_path(path, f'{uuid.uuid4().hex}.')
  try:
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
  except PermissionError:
    return open(own, mode, **text)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    is_ours = is_open(partial, descriptor)  # else it got its final name meanwhile
  except BlockingIOError:
    is_ours = False
  except OSError:  # this disk knows no locks
    is_ours = True
  if not is_ours:
    os.close(descriptor)
    return open(own, mode, **text)
  os.ftruncate(descriptor, 0)
  return open(partial, mode, opener=lambda *_: descriptor, **text)


def partial_path(path, mark=''):
  """Where `atomic_write` writes a file by default; killed processes leave it there. `mark`: of a second one."""
  stem, suffix = path.stem, path.suffix
  if len(name := os.fsencode(path.name)) > LONGEST_NAME:
    stem, suffix = digests.blake2b(name), suffix if len(os.fsencode(suffix)) < LONGEST_NAME else ''
  return path.with_name(f'.{stem}.{mark}partial{suffix}')


@contextlib.contextmanager
def space_in(folder):
  """Context in which DiskFullError, which names the folder, replaces whatever tells of a full disk."""
  try:
    yield
  except DiskFullError:  # of another folder
    raise
  except Exception as error:
    if not is_full(error):
      raise
    raise DiskFullError(folder) from error


def is_full(error):
  """Whether an exception tells of a full disk: by its number, or by its text, as those of TensorFlow and HDF5 do."""
  while error is not None:
    number = getattr(error, 'errno', None)
    if number in FULL or any(os.strerror(full) in str(error) for full in FULL):
      return True
    error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
  return False


def write_json(path, content, **options):
  """Writes `content` as JSON atomically, and creates the file's folder. `options`: of json.dump."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with atomic_write(path) as file:
    json.dump(content, file, **{'indent': 1} | options)


def read_bytes(path, most_bytes, what):
  """Reads a file of limited size.

  Args:
    path: of the file.
    most_bytes: largest size allowed.
    what: description of the expected file, for the message.

  Returns:
    bytes.

  Raises:
    UserError: the file is missing or too large.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected {what}')
  size = path.stat().st_size
  if size > most_bytes:
    raise UserError(f'{path}: {size} bytes, allowed are up to {most_bytes}')
  return path.read_bytes()


def is_no_folder(path):
  """Whether there is something at a path that is no folder: whoever reads a pipe among files says that it is one."""
  return os.path.exists(path) and not os.path.isdir(path)


def require_utf8(path):
  """UserError unless a path is UTF-8, which TensorFlow needs for what it reads or writes itself."""
  try:
    os.fspath(path).encode()
  except UnicodeEncodeError:
    raise UserError(f'{path}: the name is not valid UTF-8, as TensorFlow needs it; choose another') from None


def check_replaceable(folder, marker):
  """UserError unless `folder` is missing, empty, or what `replaced_folder` wrote: it holds the file `marker`."""
  folder = pathlib.Path(folder)
  is_ours = folder.is_dir() and not folder.is_symlink() and (not any(folder.iterdir()) or (folder / marker).is_file())
  if os.path.lexists(folder) and not is_ours:
    raise UserError(f'{folder}: holds something else; choose a new folder')


@contextlib.contextmanager
def replaced_folder(folder, marker):
  """Makes a folder that takes the place of `folder` at the end of the block; removes it if the block fails.

  Args:
    folder: pathlib.Path of the final folder; as `check_replaceable` allows.
    marker: name of a file that the block writes.

  Yields:
    pathlib.Path of the folder to fill, which is empty.

  Raises:
    UserError: `folder` holds something else, or another process makes it at the moment.
  """
  folder = folder.absolute()
  check_replaceable(folder, marker)
  partial, earlier = (folder.with_name(f'.{folder.name}.{suffix}') for suffix in ('partial', 'earlier'))
  folder.parent.mkdir(parents=True, exist_ok=True)
  with _alone_in(partial, folder):
    if earlier.exists() and not os.path.lexists(folder):  # a process was killed between the two renames below
      earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)
    try:
      with space_in(folder.parent):
        yield partial
      if folder.exists():
        folder.rename(earlier)
      partial.rename(folder)
    except BaseException:
      shutil.rmtree(partial, ignore_errors=True)
      raise
    finally:
      if earlier.exists() and not folder.exists():
        earlier.rename(folder)
      shutil.rmtree(earlier, ignore_errors=True)


@contextlib.contextmanager
def _alone_in(partial, folder):
  """Holds the new or emptied folder `partial`, which becomes `folder`, against other processes.

  The folder itself is locked: a file beside it would stay, one in it would be published.
  """
  while True:
    with space_in(folder.parent):
      try:
        partial.mkdir(exist_ok=True)
      except OSError as error:
        error.filename = os.fspath(folder)  # the one that a user asked for
        raise
    try:
      descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:  # it got its final name between these calls
      continue
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      os.close(descriptor)
      raise UserError(f'{folder}: another command is writing it; wait for it, or choose another folder') from None
    if is_open(partial, descriptor):
      break
    os.close(descriptor)  # as above
  try:
    for left in partial.iterdir():  # by a process that was killed
      shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    yield
  finally:
    os.close(descriptor)


def is_open(path, descriptor):
  """Whether a descriptor is still that of the folder at a path."""
  try:
    return os.path.samestat(os.stat(path), os.fstat(descriptor))
  except FileNotFoundError:
    return False


def sync(file):
  """Flushes an open file to the disk: after a power cut, a renamed file could otherwise exist without its content."""
  file.flush()
  os.fsync(file.fileno())


@contextlib.contextmanager
def locked(folder, wait=True, name=LOCK_NAME, shared=False):
  """Locks a folder for this process. The system releases the lock when the process ends, however it ends.

  Args:
    folder: pathlib.Path of an existing folder; the lock is a file in it.
    wait: whether to wait for another process to release the lock.
    name: of the file.
    shared: whether others may hold the lock too, if theirs is shared.

  Yields:
    The open file of the lock.

  Raises:
    BlockingIOError: another process holds the lock, and `wait` is False.
  """
  with contextlib.ExitStack() as stack:
    with space_in(folder):
      file = stack.enter_context(open(folder / name, 'a'))
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    yield file
