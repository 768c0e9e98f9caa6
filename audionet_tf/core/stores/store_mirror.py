"""Folders of records in a store: a *mirror* is the local folder that stands for one.

Small files are in it; shards come into the cache when `present` asks for them. The rest of the program works on the
mirror's path, which `store_cache.addressed` turns back into the address in messages. Mirrors have no bound: what could
not be uploaded is in them alone.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import uuid

from audionet_tf.core import digests, files
from audionet_tf.core.stores import object_store, store_cache

FILLED = 'filled.json'  # beside a mirror
ON_DEMAND = '.tfrecord'  # suffix of what is fetched only when it is asked for


@dataclasses.dataclass
class Mirror:
  """A folder of a store: its `address` and what is `listed` there, dict of name to object_store.Stored."""

  address: str
  listed: dict


_mirrors = {}  # local folder, str -> Mirror


def mirrored(path):
  """The local folder that stands for a folder of records in a store; a local path as it is.

  Raises:
    UserError: nothing is there, or the store cannot be read.
  """
  if path is None or not object_store.is_address(path):
    return path
  address = object_store.checked(path)
  listed = store_cache.require_any(address, store_cache.listed(address))
  fixed = digests.of_text(f'{address} {listed.get("manifest.json")}')[:32]
  root = store_cache.folder() / 'mirrors' / fixed / address.rpartition('/')[2]
  fill(root, address, listed)
  store_cache.name_at(root, address)
  _mirrors[str(root)] = Mirror(address, listed)
  return root


def refresh(folder):
  """Looks again at what a store holds of a folder in a mirror: another process may have put it there. Else nothing."""
  if found := mirror_of(folder):
    root, mirror = found
    below = f'{os.path.relpath(folder, root)}/'
    listed = {below + name: each for name, each in store_cache.listed(mirror.address + '/' + below[:-1]).items()}
    fill(pathlib.Path(root), mirror.address, listed, below)
    mirror.listed = {name: each for name, each in mirror.listed.items() if not name.startswith(below)} | listed


def fill(root, address, listed, below=''):
  """Makes the small files of a mirror those that were listed. What this machine has put there or changed stays.

  Args:
    root: pathlib.Path of the mirror.
    address: that it stands for.
    listed: dict of name to object_store.Stored.
    below: what the names begin with that were listed.
  """
  small = {name: stored for name, stored in listed.items() if not name.endswith(ON_DEMAND)}
  store_cache.check_size(address, small)
  for name in listed:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
  for name, stored in small.items():
    target = root / name
    copy = store_cache.fetched_file(f'{address}/{name}', stored)
    if not target.is_file() or target.read_bytes() != copy.read_bytes():
      partial = target.with_name(f'.{os.getpid()}.{uuid.uuid4().hex}')
      shutil.copyfile(copy, partial)
      os.replace(partial, target)
  before = filled(root)
  here = {name for name in before if name.startswith(below)}
  for name in here - listed.keys():
    with contextlib.suppress(FileNotFoundError):
      if state_of(root / name) == before[name]:
        (root / name).unlink()
  now = {name: state for name, state in before.items() if name not in here}
  now |= {name: state_of(root / name) for name in small}
  if now != before:
    files.write_json(root.parent / FILLED, now)


def filled(root):
  """dict of name to `state_of` of the small files that `fill` left in a mirror."""
  with contextlib.suppress(OSError, ValueError):
    found = json.loads((root.parent / FILLED).read_text(encoding='utf-8'))
    return found if isinstance(found, dict) else {}
  return {}


def state_of(path):
  """[size, mtime in ns] of a file."""
  status = path.stat()
  return [status.st_size, status.st_mtime_ns]


def present(path):
  """The path where a file can be read: the same one, or in a mirror that of a copy, fetched if it is missing.

  Raises:
    UserError: the object cannot be fetched, or has changed since it was listed.
  """
  address, stored = found_in_mirror(path)
  return path if stored is None else type(path)(store_cache.fetched_file(address, stored))


def size(path):
  """Size of a file in bytes, in a mirror without fetching it; None if there is no file."""
  stored = found_in_mirror(path)[1]
  if stored is not None:
    return stored.size
  return os.path.getsize(path) if os.path.isfile(path) else None


def names(folder, pattern):
  """Sorted names of the files in a folder that match a pattern; in a mirror also those that are not fetched."""
  found = {path.name for path in pathlib.Path(folder).glob(pattern)}
  if mirrored_in := mirror_of(folder):
    root, mirror = mirrored_in
    below = pathlib.PurePath(os.path.relpath(folder, root))
    listed = map(pathlib.PurePath, mirror.listed)
    found |= {path.name for path in listed if path.parent == below and path.match(pattern)}
  return sorted(found)


def is_same(path, address, stored):
  """Whether a local file is what a store holds, which is not fetched where its size tells."""
  if path.stat().st_size != stored.size:
    return False
  return digests.of_file(path) == digests.of_file(store_cache.fetched_file(address, stored))


def is_remote(path):
  """Whether `present` would give another path."""
  return found_in_mirror(path)[1] is not None


def found_in_mirror(path):
  """(address, Stored) of a path in a mirror that is not there itself; (None, None) for all others."""
  if _mirrors:
    path = os.path.abspath(path)
    for root, mirror in _mirrors.items():
      name = path[len(root) + 1 :]
      if path.startswith(f'{root}{os.sep}') and name in mirror.listed and not os.path.exists(path):
        return f'{mirror.address}/{name}', mirror.listed[name]
  return None, None


def mirror_of(path):
  """(local root, Mirror) that a path is in; None for one that is in none."""
  path = os.path.abspath(path)
  found = ((root, mirror) for root, mirror in _mirrors.items() if path.startswith(f'{root}{os.sep}'))
  return next(found, None)
