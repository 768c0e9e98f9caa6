"""Objects in a store, by addresses such as s3://bucket/folder: list, fetch, put, remove; whole objects only.

fsspec connects to s3 (the extra `s3`), gs (`gs`) and what else it knows. Credentials, region and endpoint come from
where each store's own tools read them, such as AWS_PROFILE and AWS_ENDPOINT_URL; an address never holds any.
"""

import contextlib
import dataclasses
import errno
import logging
import os
import pathlib
import re
import sys
import uuid

from audionet_tf.core import files
from audionet_tf.core.errors import UserError, missing_extra
from audionet_tf.core.stores import hub, store_retries

ADDRESS = re.compile(r'([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])(.*)', re.DOTALL)  # one slash: what pathlib makes of it
# Paths of their own kind, places without lists of files, and what stands before the path of a teacher.
NOT_STORES = ('clip', 'embedding', 'file', 'hf', 'http', 'https', 'local', 'sound')
PREFIXED = re.compile(r'((?:[^\W\d]\w*=)?(?:embedding:)?(?:clip:|sound(?:@\d+)?:)?)(.*)', re.DOTALL)
EXTRAS = {'s3': ('s3fs', 's3'), 's3a': ('s3fs', 's3'), 'gs': ('gcsfs', 'gs'), 'gcs': ('gcsfs', 'gs')}
STALL_SECONDS = 15.0  # without a byte, of a request
VERSION_KEYS = ('ETag', 'etag', 'md5Hash', 'generation', 'checksum', 'mtime', 'LastModified', 'modified', 'created')


@dataclasses.dataclass(frozen=True)
class Stored:
  """An object as it was listed.

  Attributes:
    version: str that changes with the content: the store's ETag, or what the store has in its place.
    size: bytes.
  """

  version: str
  size: int


class Changed(UserError):
  """An object is not the one that was listed."""


def is_address(path):
  """Whether a path means a place in a store."""
  match = ADDRESS.match(str(path))
  return bool(match) and match[1] not in NOT_STORES


def is_elsewhere(path):
  """Whether a path means a place in a store or on the Hub."""
  return is_address(path) or hub.is_address(path)


def named_path(value):
  """('NAME=', address) of 'NAME=address', ('embedding:clip:', address) of a teacher; ('', value) of anything else.

  An address is that of a store or of the Hub.
  """
  prefix, path = PREFIXED.fullmatch(value).groups()
  return (prefix, path) if is_elsewhere(path) else ('', value)


def checked(address):
  """The address with two slashes, as str, without one at its end.

  Raises:
    UserError: an unknown kind of store, credentials in the address, or a package that is not installed.
  """
  protocol, rest = ADDRESS.match(str(address)).groups()
  if '@' in rest.partition('/')[0]:
    raise UserError(
      f'{protocol}://...: credentials in an address would be stored and printed; {store_retries.HOW_TO_SIGN_IN["s3"]}'
    )
  if '::' in rest or '\0' in rest:
    raise UserError(f'{protocol}://{rest}: a chain of addresses; expected is one, such as s3://bucket/folder')
  try:
    import fsspec

    fsspec.get_filesystem_class(protocol)
  except ImportError:
    package, extra = EXTRAS.get(protocol, ('fsspec and the package of this store', 's3'))
    raise missing_extra(f'{protocol}://', package, extra) from None
  except ValueError:
    raise UserError(
      f'{protocol}://{rest}: no store of this kind is known; s3:// and gs:// are, and those of fsspec'
    ) from None
  return f'{protocol}://{rest.rstrip("/")}'


def connected(address):
  """(fsspec file system, path in it) of a checked address."""
  import fsspec

  protocol = protocol_of(address)
  logging.getLogger('gcsfs').setLevel(logging.CRITICAL)  # it logs tracebacks of what `attempt` tells in a line
  options = {'use_listings_cache': False}
  if EXTRAS.get(protocol, ())[:1] == ('s3fs',):
    stall = min(STALL_SECONDS, store_retries.patience_seconds() / 4)
    config = {'connect_timeout': stall, 'read_timeout': stall, 'retries': {'total_max_attempts': 1}}
    options |= {'config_kwargs': config}
  system = fsspec.filesystem(protocol, **options)
  system.retries = 1  # here, `attempt` does it
  return system, address.partition('://')[2] if protocol != 'memory' else '/' + address.partition('://')[2]


def protocol_of(address):
  """'s3' of s3://bucket/folder."""
  return address.partition(':')[0]


def attempt(address, function):
  """`function(file system, path)` of an address, as `store_retries.repeated` has it."""
  return store_retries.repeated(address, lambda: function(*connected(address)))


def stored_of(info):
  """The Stored of what fsspec says about a file."""
  version = next((info[key] for key in VERSION_KEYS if info.get(key)), '')
  version = str(version.timestamp() if hasattr(version, 'timestamp') else version)
  return Stored(version.strip('"'), int(info['size'] or 0))


def stat(address):
  """The Stored of an object; None if there is none, or it is a folder."""
  try:
    info = attempt(address, lambda system, path: system.info(path))
  except FileNotFoundError:
    return None
  return stored_of(info) if info['type'] == 'file' else None


def listed(address):
  """All objects below an address, dict of the name relative to it to Stored. UserError: its bucket is missing."""

  def find(system, path):
    found = system.find(path, detail=True)
    if not found and '/' in path.strip('/') and protocol_of(address) != 'memory' and not system.exists(bucket(path)):
      raise FileNotFoundError(path)
    return relative(found, path, system)

  try:
    return attempt(address, find)
  except FileNotFoundError:
    raise no_bucket(address) from None


def folders(address):
  """Sorted names of the folders right below an address."""
  try:
    found = attempt(address, lambda system, path: system.ls(path, detail=True))
  except FileNotFoundError:
    return []
  names = (info['name'].rstrip('/').rpartition('/')[2] for info in found if info['type'] == 'directory')
  return sorted(name for name in names if is_name(name))


def check_bucket(address):
  """UserError if the bucket of an address is missing, or cannot be read. Its objects are listed only in doubt."""

  def is_there(system, path):
    with contextlib.suppress(Exception):  # to ask for a bucket may be forbidden where to use it is not
      return protocol_of(address) == 'memory' or system.exists(bucket(path))
    return False

  if not attempt(address, is_there):
    listed(address)


def globbed(address):
  """The objects and folders that a glob matches, dict of their addresses to Stored, None for a folder."""
  found = attempt(address, lambda system, path: system.glob(path, detail=True))
  prefix = f'{protocol_of(address)}://'
  return {
    prefix + name.lstrip('/'): stored_of(info) if info['type'] == 'file' else None for name, info in found.items()
  }


def parent_of_pattern(address):
  """The part of a glob's address before its first wildcard, which may be the bucket."""
  protocol, _, path = address.partition('://')
  parts = path.split('/')
  wild = next(number for number, part in enumerate(parts) if set('*?[') & set(part))
  if wild == 0:
    raise UserError(f'{address}: the bucket must be named; wildcards are for what is in it')
  return f'{protocol}://{"/".join(parts[:wild])}'


def relative(found, path, system):
  """fsspec's dict of path to info as dict of name below `path` to Stored; what is no proper name is left out."""
  root = system._strip_protocol(path).rstrip('/') + '/'
  names = {name[len(root) :]: stored_of(info) for name, info in sorted(found.items()) if name.startswith(root)}
  return {name: stored for name, stored in names.items() if is_name(name)}


def is_name(name):
  """Whether the name of an object is a relative path that stays within its folder."""
  return bool(name) and '\0' not in name and not {'', '.', '..'} & set(name.split('/'))


def bucket(path):
  """The first part of a path in a store."""
  return path.lstrip('/').partition('/')[0]


def no_bucket(address):
  """UserError of a bucket that is missing."""
  return UserError(f'{address}: no such bucket; make it first, or check the address and AWS_ENDPOINT_URL')


def fetch(address, stored, target, progress=lambda count: None, alive=lambda: None):
  """Downloads an object; the file gets its name when it is complete.

  Args:
    address: of the object.
    stored: Stored, as it was listed.
    target: pathlib.Path of the file; its folder must exist.
    progress: function that is called with the number of bytes at the end.
    alive: function that is called while bytes come.

  Raises:
    Changed: the object is gone, or another one than was listed.
    UserError, DiskFullError: as `attempt`, or no space.
  """
  from fsspec.callbacks import Callback

  partial = target.with_name(f'.{os.getpid()}.{uuid.uuid4().hex}')

  def download(system, path):
    check_same(address, stored)
    system.get_file(path, str(partial), callback=Callback(hooks={'alive': lambda *_, **__: alive()}))
    if partial.stat().st_size != stored.size:
      raise OSError(errno.EIO, f'{partial.stat().st_size} bytes came, expected are {stored.size}')
    check_same(address, stored)

  try:
    with files.space_in(target.parent):
      attempt(address, download)
    os.replace(partial, target)
  except FileNotFoundError as error:
    if not target.parent.is_dir():
      raise
    raise Changed(f'{address}: is gone since it was listed; try again') from error
  finally:
    partial.unlink(missing_ok=True)
  progress(stored.size)


def check_same(address, stored):
  """Changed unless the object is the one that was listed."""
  now = stat(address)
  if now != stored:
    raise Changed(f'{address}: {"has changed" if now else "is gone"} since it was listed; try again')


def put(address, path):
  """Uploads a file as one object, which appears when it is complete. UserError as of `attempt`."""
  try:
    attempt(address, lambda system, there: system.put_file(str(path), there))
  except FileNotFoundError:
    if not pathlib.Path(path).is_file():
      raise
    raise no_bucket(address) from None


def put_bytes(address, content, new=False):
  """Writes a small object; `new`: only if there is none. False if there is one already."""
  options = {'mode': 'create'} if new else {}
  try:
    attempt(address, lambda system, path: system.pipe_file(path, content, **options))
  except FileExistsError:
    return False
  except FileNotFoundError:
    raise no_bucket(address) from None
  return True


def read_bytes(address):
  """The content of a small object; None if there is none."""
  try:
    return attempt(address, lambda system, path: system.cat_file(path))
  except FileNotFoundError:
    return None


def remove(address):
  """Removes an object, if it is there."""
  with contextlib.suppress(FileNotFoundError):
    attempt(address, lambda system, path: system.rm_file(path))


def bytes_bar(total, what):
  """A progress bar of bytes on stderr, for what takes more than two seconds."""
  import tqdm  # a hundredth of a second, which each command and each build's decoder would pay

  return tqdm.tqdm(total=total, desc=what, unit='B', unit_scale=True, delay=2, file=sys.stderr, leave=False)
