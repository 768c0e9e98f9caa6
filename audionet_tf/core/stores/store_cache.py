"""Local copies of objects: a cache of bounded size, shared by all processes, and mirrors of folders in a store.

AUDIONET_CACHE is the folder (~/.cache/audionet_tf), AUDIONET_CACHE_GB its bound (10). Whatever is used longest ago goes
first; what a process has just been given stays as long as it is among its last HELD ones, and what a command, or a call
that is `keeping`, was given in place of an address to its end.
"""

import collections
import contextlib
import contextvars
import fcntl
import os
import pathlib
import re
import shutil
import threading

from audionet_tf.core import digests, files
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, object_store, store_retries

DEFAULT_GB = 10.0
HELD = 32  # more files than a pipeline reads and reads ahead at a time
# Names of locks, partial files and folders; results may have others that begin with a dot, as media do.
OWN = re.compile(
  r'\.lock.*|\..+\.lock|\..+\.partial(\.[^.]*)?|\.partial-.*|.*\.(tfrecord\.partial|partial\.parquet)'
  r'|\.\d+\..*|\.videos\.parquet|\.parts|\..+\.earlier',
  re.DOTALL,
)

_kept = {}  # path -> (descriptor, size) of the entries that stay locked until the process ends
_within = contextvars.ContextVar('within', default=None)  # the same, of the entries that stay to the end of a call
_held = collections.OrderedDict()  # path -> descriptor of its locked entry
_places = {}  # local path, str -> address, for messages
_guard = threading.Lock()


def folder():
  """pathlib.Path of the cache, made if missing, for its owner alone."""
  path = os.environ.get('AUDIONET_CACHE')
  if not path:
    home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    path = pathlib.Path(home) / 'audionet_tf'
  path = pathlib.Path(os.path.abspath(path))
  path.mkdir(parents=True, exist_ok=True, mode=0o700)
  return path


def most_bytes():
  """The bound of the cache. UserError: AUDIONET_CACHE_GB is no positive number."""
  return store_retries.positive('AUDIONET_CACHE_GB', DEFAULT_GB) * 1e9


def name_at(path, address):
  """Notes that messages about a local path are about an address."""
  with _guard:
    _places[str(path)] = address


def addressed(message):
  """A message with addresses in place of the local paths that stand for them."""
  with _guard:
    places = sorted(_places.items(), key=lambda place: -len(place[0]))
  for path, address in places:
    message = message.replace(path, address)
  return message


def is_hidden(name):
  """Whether an object's name is that of a lock or a partial file of this program, or is below a hidden folder."""
  *folders, base = name.split('/')
  return any(folder.startswith('.') for folder in folders) or bool(OWN.fullmatch(base))


def listed(address):
  """The objects below an address, dict of name to object_store.Stored, without hidden ones.

  Raises:
    UserError: as object_store.listed, or a name is that of a file and of a folder, which a disk cannot hold.
  """
  found = {name: stored for name, stored in object_store.listed(address).items() if not is_hidden(name)}
  folders = {str(folder) for name in found for folder in pathlib.PurePosixPath(name).parents}
  if both := sorted(folders & found.keys()):
    raise UserError(f'{address}/{both[0]}: a file and a folder at once, which no disk can hold; rename one of them')
  return found


def check_size(address, listed):
  """UserError if objects together are larger than the cache."""
  size = sum(stored.size for stored in listed.values())
  if size > most_bytes():
    raise UserError(
      f'{address}: {size / 1e9:.1f} GB, the cache holds {most_bytes() / 1e9:g}; AUDIONET_CACHE_GB=N allows more'
    )


def fetched_file(address, stored):
  """pathlib.Path of the local copy of an object, fetched if it is missing. Errors are those of object_store.fetch."""
  name = address.rpartition('/')[2]

  def fill(home):
    object_store.fetch(address, stored, home / name)

  return entry(f'{address} {stored.version} {stored.size}', name, stored.size, fill, address)


def fetched_tree(address, listed):
  """pathlib.Path of a local folder with copies of objects. `listed`: dict of name below the address to Stored."""
  name = address.rpartition('/')[2]
  check_size(address, listed)

  def fill(home):
    partial = home / f'.{os.getpid()}.{threading.get_ident()}'
    try:
      with object_store.bytes_bar(sum(stored.size for stored in listed.values()), f'fetching {address}') as bar:
        for below, stored in listed.items():
          (partial / below).parent.mkdir(parents=True, exist_ok=True)
          object_store.fetch(f'{address}/{below}', stored, partial / below, bar.update)
      with contextlib.suppress(OSError):  # another process was faster
        os.rename(partial, home / name)
    finally:
      shutil.rmtree(partial, ignore_errors=True)

  identity = f'{address} {sorted((below, stored.version, stored.size) for below, stored in listed.items())}'
  return entry(identity, name, sum(stored.size for stored in listed.values()), fill, address)


@contextlib.contextmanager
def keeping():
  """Context, also a decorator, in which what `fetched` returns in this thread stays in the cache until the end of it.

  For calls from Python: a notebook's process may run for weeks.
  """
  within = {}
  token = _within.set(within)
  try:
    yield
  finally:
    _within.reset(token)
    for descriptor, _ in within.values():
      os.close(descriptor)


def keep(path, size, address, within):
  """Keeps a file or folder of the cache, with the given size; the path as str.

  Args:
    path: pathlib.Path that `entry` has just returned.
    size: in bytes.
    address: that it stands for.
    within: of what is kept as long: as this process runs, or that of `keeping`.

  Raises:
    UserError: all that is kept would be larger than the cache.
  """
  with _guard:
    if path not in _kept and path not in within:
      total = size + sum(each for _, each in (_kept | within).values())
      if total > most_bytes():
        raise UserError(
          f'{address}: {total / 1e9:.1f} GB with what else this command reads, the cache holds {most_bytes() / 1e9:g}; '
          'AUDIONET_CACHE_GB=N allows more'
        )
      within[path] = _held.pop(path), size
  return str(path)


def entry(identity, name, size, fill, address):
  """The path `name` in the entry of the cache for `identity`, which `fill(folder)` makes if it is missing.

  The entry is locked, so that no process removes it, until HELD others have been asked for.
  """
  home = folder() / 'objects' / digests.of_text(identity)[:32]
  target = home / name
  with _guard:
    if target in _kept and target.exists():
      return target
    if target in _held and target.exists():
      _held.move_to_end(target)
      os.utime(home)
      return target
  while True:
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if files.is_open(home, descriptor):
      break
    os.close(descriptor)  # it was removed between both calls
  try:
    if not target.exists():
      make_room(size)
      fill(home)
    os.utime(home)
  except BaseException:
    os.close(descriptor)
    raise
  name_at(target, address)
  with _guard:
    before = _held.pop(target, None)
    _held[target] = descriptor
    gone = [before] if before is not None else []
    gone += [_held.popitem(last=False)[1] for _ in range(len(_held) - HELD)]
  for old in gone:
    os.close(old)
  return target


def make_room(size):
  """Removes entries, the one used longest ago first, until `size` more bytes fit; entries in use stay."""
  homes = []
  for home in (folder() / 'objects').iterdir():
    with contextlib.suppress(OSError):  # removed meanwhile
      homes.append((home.stat().st_mtime_ns, tree_bytes(home), home))
  excess = sum(held for _, held, _ in homes) + size - most_bytes()
  for _, held, home in sorted(homes):
    if excess <= 0:
      return
    if held and remove_unused(home):
      excess -= held


def remove_unused(home):
  """Removes an entry unless a process holds it; whether it did."""
  try:
    descriptor = os.open(home, os.O_RDONLY)
  except FileNotFoundError:
    return False
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    shutil.rmtree(home, ignore_errors=True)
    return True
  except BlockingIOError:
    return False
  finally:
    os.close(descriptor)


def tree_bytes(path):
  """Size of all files below a folder."""
  return sum(file.stat().st_size for file in path.rglob('*') if file.is_file())


def adopt(path, address, stored):
  """Moves a file, which was uploaded, from a mirror into the cache."""
  home = folder() / 'objects' / digests.of_text(f'{address} {stored.version} {stored.size}')[:32]
  home.mkdir(parents=True, exist_ok=True)
  os.replace(path, home / address.rpartition('/')[2])


def require_any(address, found):
  """What was found at an address. UserError if it is nothing."""
  if not found:
    raise UserError(f'{address}: nothing there; check the address')
  return found


def kept(path):
  """As `fetched`, for a path that the command uses to its end: what is there stays in the cache until then.

  Raises:
    UserError: as `fetched`, or all that the command was given is larger than the cache.
  """
  return fetched(path, _kept)


def fetched(path, within=None):
  """The local copy of a file or a folder in a store or on the Hub; a local path as it is.

  Args:
    path: str, or None.
    within: as for `keep`; None: that of `keeping`, or the copy only stays as long as it is among the last HELD.

  Raises:
    UserError: nothing is there, it is larger than the cache, or the store cannot be read.
  """
  if path is not None and hub.is_address(path):
    local = hub.fetched(path)  # in the cache of the Hub's own library
    name_at(local, str(path))
    return str(local)
  if path is None or not object_store.is_address(path):
    return path
  address = object_store.checked(path)
  stored = object_store.stat(address)
  if stored is not None:
    local = fetched_file(address, stored)
  else:
    local = fetched_tree(address, require_any(address, listed(address)))
  within = _within.get() if within is None else within
  if within is None:
    return str(local)
  return keep(local, tree_bytes(local) if local.is_dir() else local.stat().st_size, address, within)
