"""Folders that are written: local while a command works, with whole objects uploaded to the store as they are finished.

What tells that other objects are complete comes last (LAST), so that nobody sees a part of a result as a whole one.
Beside the local folder stands a list of what the store held after the last whole upload, and of what later ones tried
to change. If the store holds just that, the local folder is where the work stopped and may be ahead; otherwise it is
emptied, and the store's objects fetched.
"""

import contextlib
import dataclasses
import fcntl
import fnmatch
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable

from audionet_tf.core import digests, files
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache, store_lock, store_mirror

# Objects in the order in which they are uploaded; those of no pattern are between FIRST and LAST.
FIRST = ('settings.json',)
LAST = (
  *('*.data-?????-of-?????', '*.index', 'checkpoint'),  # of a checkpoint, which its index makes visible
  *('student.json', 'student.keras', 'manifest.backup.json', 'manifest.json', 'saved_model.pb'),
)
KEPT = 'kept'  # a file beside a local folder whose user was told where it is


@dataclasses.dataclass
class Working:
  """A local folder that stands for one in a store.

  Attributes:
    address: of the folder in the store.
    root: pathlib.Path of the local folder.
    lock: store_lock.Lock, or None.
    sent: dict of name to [size, mtime in ns] of the local file as it was uploaded or fetched.
    held: dict of name to object_store.Stored, what the store held after the last whole upload, as far as it is wanted.
    tried: dict of name to the sizes, bytes, that uploads since then may have given it in the store; None: removed.
    wanted: as for `written`.
  """

  address: str
  root: pathlib.Path
  lock: store_lock.Lock | None
  sent: dict = dataclasses.field(default_factory=dict)
  held: dict = dataclasses.field(default_factory=dict)
  tried: dict = dataclasses.field(default_factory=dict)
  wanted: Callable = bool

  @property
  def state_path(self):
    return self.root.parent / 'state.json'


_working = {}  # local folder, str -> Working


def nothing(name):
  """Of what is in the store nothing is fetched or listed: the folder is new for every process.

  Where it is locked, the folders right below it are made, so that the next version of an export finds its number.
  """
  return False


@contextlib.contextmanager
def written(path, busy=None, wanted=lambda name: True, check=lambda names: None):
  """Context with the local folder in place of one in a store; uploads it at the end, also if the block fails.

  A local path, or None, is yielded as it is.

  Args:
    path: of a folder, or its address.
    busy: what another process is doing there, for the message; None: no lock.
    wanted: function of a name that says whether to fetch what is there already; of the rest only folders are made.
    check: function that is called with the names of what is there before it is fetched, and may raise.

  Raises:
    UserError: another process holds the lock; the store cannot be read or written. What could not be uploaded is kept.
  """
  if path is None or not object_store.is_address(path):
    yield path
    return
  address = object_store.checked(path)
  with contextlib.ExitStack() as stack:
    lock = stack.enter_context(store_lock.locked(address, busy)) if busy else None
    home = store_cache.folder() / 'writing' / digests.of_text(address)[:32]
    home = own_home(stack, home, address, lock) if wanted is nothing else home
    working = Working(address, home / address.rpartition('/')[2], lock, wanted=wanted)
    if wanted is not nothing:
      prepare(working, check)
    sent = dict(working.sent)
    _working[str(working.root)] = working
    store_cache.name_at(working.root, address)
    try:
      yield working.root
      upload(working)
      shutil.rmtree(home)
    except BaseException:
      if wanted is nothing:
        with contextlib.suppress(OSError):
          (home / KEPT).touch()  # before the last try to upload, which may be interrupted
      if keep(working) and (wanted is nothing or (working.sent == sent and is_copy(working))):
        shutil.rmtree(home)
      raise
    finally:
      del _working[str(working.root)]


def own_home(stack, shared, address, lock):
  """pathlib.Path of a home for this process alone, with the local folder; named after `shared`, that of all others.

  It is locked until `stack` closes. Those that killed processes left are removed: nobody would look at them again.
  """
  object_store.check_bucket(address)  # before the work, not after it
  names = object_store.folders(address) if lock else []
  shared.parent.mkdir(exist_ok=True)
  for left in shared.parent.glob('*-*'):
    if not (left / KEPT).exists():
      store_cache.remove_unused(left)
  while True:
    home = pathlib.Path(tempfile.mkdtemp(prefix=f'{shared.name}-', dir=shared.parent))
    with contextlib.suppress(FileNotFoundError):  # another process took it for one that was left
      descriptor = os.open(home, os.O_RDONLY)
      stack.callback(os.close, descriptor)
      fcntl.flock(descriptor, fcntl.LOCK_SH)
      if files.is_open(home, descriptor):
        break
  for name in ('', *(name for name in names if not store_cache.is_hidden(f'{name}/'))):
    (home / address.rpartition('/')[2] / name).mkdir()
  return home


def prepare(working, check):
  """Makes the local folder what the store holds, unless it is that and perhaps more. `check`: as for `written`."""
  everything = store_cache.listed(working.address)
  check(everything)
  listed = {name: stored for name, stored in everything.items() if working.wanted(name)}
  before, working.held = read_state(working), listed
  if before and working.root.is_dir() and is_ours(before, flat(listed)):
    # What arrived without being noted as sent is sent again, or removed.
    working.sent = dict.fromkeys(name for name in before['sending'] if name in listed) | before['sent']
    return
  shutil.rmtree(working.root, ignore_errors=True)
  working.root.mkdir(parents=True)
  for name in everything:
    (working.root / name).parent.mkdir(parents=True, exist_ok=True)
  with object_store.bytes_bar(sum(each.size for each in listed.values()), f'fetching {working.address}') as bar:
    for name, stored in listed.items():
      path = working.root / name
      object_store.fetch(f'{working.address}/{name}', stored, path, bar.update)
      working.sent[name] = store_mirror.state_of(path)
  write_state(working)


def is_ours(before, listed):
  """Whether the store holds what this machine left there, perhaps in the middle of an upload.

  Args:
    before: content of the state file.
    listed: dict of name to [version, size] of the objects in the store.
  """

  def is_same(name):
    stored = listed.get(name)
    return stored == before['held'].get(name) or (stored and stored[1]) in before['sending'].get(name, [])

  return all(map(is_same, before['held'].keys() | listed.keys()))


def is_copy(working):
  """Whether a local folder holds nothing but what was sent or fetched, and empty files: no videos that are decoded."""
  found = (path for path in working.root.rglob('*') if path.is_file() and path.stat().st_size)
  return all(path.relative_to(working.root).as_posix() in working.sent for path in found)


def flat(held):
  """A dict of name to Stored as JSON has it."""
  return {name: [stored.version, stored.size] for name, stored in held.items()}


def read_state(working):
  """What stood in the state file; None if there is none, or it is damaged."""
  with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
    state = json.loads(working.state_path.read_text(encoding='utf-8'))
    kinds = {'sent': dict, 'held': dict, 'sending': dict}
    if all(isinstance(state[key], kind) for key, kind in kinds.items()):
      return state
  return None


def write_state(working):
  """Notes what the store holds, and what is about to change there, for a later process."""
  if working.wanted is nothing:
    return
  state = {'held': flat(working.held), 'sent': working.sent, 'sending': working.tried}
  files.write_json(working.state_path, state)


def note(working, name, size):
  """Notes the size that an upload is about to give an object, None to remove it; whether that is new."""
  sizes = working.tried.setdefault(name, [])
  if size in sizes:
    return False
  sizes.append(size)
  return True


def local_files(root):
  """dict of name to path of what belongs into the store, in the order of uploading: no locks, no partial files."""
  found = {}
  for parent, folders, names in os.walk(root):
    folders[:] = [name for name in folders if not store_cache.OWN.fullmatch(name)]  # media may lie in hidden ones
    found |= {
      (pathlib.Path(parent) / name).relative_to(root).as_posix(): pathlib.Path(parent) / name
      for name in names
      if not store_cache.is_hidden(name)
    }
  return {name: found[name] for name in sorted(found, key=lambda name: (rank(name), name))}


def rank(name):
  """When an object is uploaded, int."""
  base = name.rpartition('/')[2]
  if name in FIRST:
    return -1
  return 1 + next((i for i, pattern in enumerate(LAST) if fnmatch.fnmatchcase(base, pattern)), -1)


def upload(working):
  """Uploads what has changed, in order, then removes from the store what is gone here.

  Raises:
    UserError: the store cannot be written, or the lock is lost.
  """
  found = local_files(working.root)
  states = {}
  for name, path in found.items():
    with contextlib.suppress(FileNotFoundError):  # an old checkpoint, removed meanwhile
      states[name] = store_mirror.state_of(path)
  changed = [name for name, state in states.items() if working.sent.get(name) != state]
  gone = [name for name in working.sent if name not in states]
  if not changed and not gone and not working.tried:
    return
  for name in changed + gone:
    note(working, name, states[name][0] if name in states else None)
  write_state(working)
  with object_store.bytes_bar(sum(states[name][0] for name in changed), f'uploading {working.address}') as bar:
    for name in changed:
      if working.lock:
        working.lock.check()
      has_grown = note(working, name, store_mirror.state_of(found[name])[0])
      if has_grown:
        write_state(working)
      object_store.put(f'{working.address}/{name}', found[name])
      working.sent[name] = states[name]
      bar.update(states[name][0])
  for name in gone:
    if working.lock:
      working.lock.check()
    object_store.remove(f'{working.address}/{name}')
    del working.sent[name]
  if working.wanted is not nothing:
    listed = store_cache.listed(working.address)
    working.held = {name: stored for name, stored in listed.items() if working.wanted(name)}
  working.tried = {}
  write_state(working)


def keep(working):
  """Uploads what a command that fails or is interrupted has finished; whether it could. Says where it is if not."""
  try:
    upload(working)
    return True
  except UserError as error:
    print(f'warning: {error}; what is finished is kept in {working.root}', file=sys.stderr)
    return False


def publish(folder):
  """Uploads what is new below a local folder that stands for one in a store; does nothing for other folders.

  A failure is a line on stderr: the next call, or the end of the command, tries again.
  """
  working = _working.get(str(folder))
  if working is None:
    return
  try:
    upload(working)
  except UserError as error:
    print(f'warning: {error}; the next upload tries again', file=sys.stderr)


def publish_beside_records(folder):
  """Uploads a finished folder within a mirror of records, such as stored outputs of a teacher; else does nothing.

  Where that is not allowed, the folder stays on this machine, with a line on stderr.
  """
  found = store_mirror.mirror_of(folder)
  if found is None:
    return
  root, mirror = found
  try:
    for name, path in local_files(pathlib.Path(folder)).items():
      below = f'{pathlib.Path(folder).relative_to(root).as_posix()}/{name}'
      address = f'{mirror.address}/{below}'
      if below in mirror.listed and store_mirror.is_same(path, address, mirror.listed[below]):
        continue
      object_store.put(address, path)
      stored = object_store.stat(address)
      mirror.listed[below] = stored
      if name.endswith(store_mirror.ON_DEMAND):
        store_cache.adopt(path, address, stored)
  except UserError as error:
    print(f'warning: {error}; {pathlib.Path(folder).name} stays on this machine alone', file=sys.stderr)
