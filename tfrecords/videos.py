"""Finds the videos that --videos names, with their ids and digests."""

import dataclasses
import glob
import os
import pathlib

from audionet_tf.core import digests
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.core.stores import object_store
from audionet_tf.media import suffixes
from audionet_tf.media.containers import integrity


@dataclasses.dataclass(frozen=True)
class Video:
  """A video file.

  Attributes:
    id: its path relative to the folder given, with '/'; its windows carry it.
    path: of the file, or its address in a store.
    stored: object_store.Stored of a video in a store, as it was listed.
  """

  id: str
  path: str
  stored: object_store.Stored | None = None


def find(arguments):
  """Finds videos. A file that is reached in several ways counts once.

  Args:
    arguments: list of files, globs ('**' matches any number of folders) and folders, or addresses of these. Folders
      are searched recursively for files that `suffixes.is_media` takes, except hidden ones; globs select all that they
      match.

  Returns:
    list of Video, sorted by id.

  Raises:
    UserError: an argument matches nothing, or two files would have the same id.
  """
  by_id, real_paths = {}, set()
  for argument in arguments:
    matches = list(_expand(argument))
    if not matches:
      raise UserError(f'{argument}: no such video; give a file, a glob or a folder with videos in it')
    for video in matches:
      real = os.path.realpath(video.path)
      if real in real_paths:
        continue
      real_paths.add(real)
      if video.id in by_id:
        raise UserError(
          f'{by_id[video.id].path} and {video.path} would both have the id {video.id!r}; give a common parent folder'
        )
      by_id[video.id] = video
  return [by_id[key] for key in sorted(by_id)]


def _expand(argument):
  """Yields the Videos of one argument."""
  if object_store.is_address(argument):
    yield from _stored(object_store.checked(argument))
  elif os.path.isdir(argument):
    yield from _below(argument, argument)
  elif os.path.lexists(argument):
    yield Video(os.path.basename(argument), argument)
  else:
    root = _fixed_prefix(argument)
    for path in sorted(glob.glob(argument, recursive=True)):
      if os.path.isdir(path):
        if '**' not in argument:  # which also matches the files inside
          yield from _below(path, root)
      else:
        yield Video(_id(path, root), path)


def _below(folder, root):
  """Yields the Videos below a folder, except in hidden and linked folders; ids are relative to `root`."""
  for parent, folders, names in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    for name in sorted(names):
      if suffixes.is_media(name):
        path = os.path.join(parent, name)
        yield Video(_id(path, root), path)


def _stored(address):
  """Yields the Videos of one address, listed and not fetched."""
  if glob.has_magic(address):
    root = object_store.parent_of_pattern(address)
    if stored := object_store.stat(address):  # as of local paths: a file of this very name
      yield Video(address.rpartition('/')[2], address, stored)
      return
    for path, stored in sorted(object_store.globbed(address).items()):
      if '/.' in path[len(root) :] and '/.' not in address:
        continue  # as wildcards of local paths match nothing hidden
      if stored is None and '**' not in address:
        yield from _stored_below(path, root)
      elif stored is not None:
        yield Video(path[len(root) + 1 :], path, stored)
  elif stored := object_store.stat(address):
    yield Video(address.rpartition('/')[2], address, stored)
  else:
    yield from _stored_below(address, address)


def _stored_below(address, root):
  """Yields the Videos below an address, except in hidden folders; ids are relative to `root`."""
  for name, stored in object_store.listed(address).items():
    *folders, base = name.split('/')
    if suffixes.is_media(base) and not any(folder.startswith('.') for folder in folders):
      path = f'{address}/{name}'
      yield Video(path[len(root) + 1 :], path, stored)


def _fixed_prefix(pattern):
  """The folders of a glob before its first wildcard."""
  parts = pathlib.PurePath(pattern).parts
  wild = next((i for i, part in enumerate(parts) if glob.has_magic(part)), 0)
  return os.path.join(*parts[:wild]) if wild else '.'


def _id(path, root):
  """The path relative to `root`, with '/'."""
  return pathlib.PurePath(os.path.relpath(path, root)).as_posix()


def check_name(video):
  """MediaError if a Video has a name that records cannot hold."""
  try:
    video.id.encode()
  except UnicodeEncodeError:
    raise MediaError(video.path, 'the name is not valid UTF-8; rename the file') from None


def digest(video):
  """Hexadecimal digest of the content of a Video; in a store of its version there, so that it need not be fetched.

  An empty file has one: its content is known, and no longer what it was.

  Raises:
    MediaError: it is not a regular file, cannot be read, or has a name that records cannot hold.
  """
  check_name(video)
  path = video.path
  if video.stored:
    return digests.blake2b(f'{video.stored.version} {video.stored.size}'.encode())
  integrity.check_regular(path, may_be_empty=True)
  with integrity.readable(path) as file:
    return digests.blake2b(file)
