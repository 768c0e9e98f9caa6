"""Which videos are meant, what each is called, and what it holds."""

import dataclasses
import glob
import os
import pathlib

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.media import integrity

# Looked for in folders. Sound files are among them so that one without a picture is named rather than passed over.
SUFFIXES = frozenset(
  f'.{name}'
  for name in (
    *('3g2', '3gp', 'asf', 'avi', 'dv', 'flv', 'gif', 'm2ts', 'm4v', 'mkv', 'mov', 'mp4', 'mpeg', 'mpg', 'mts', 'mxf'),
    *('ogv', 'rm', 'ts', 'vob', 'webm', 'wmv'),
    *('aac', 'aif', 'aiff', 'flac', 'm4a', 'mp3', 'oga', 'ogg', 'opus', 'wav', 'wma'),
  )
)


@dataclasses.dataclass(frozen=True)
class Video:
  """A file, and the id that its windows carry: its path below the folder given, with '/'."""

  id: str
  path: str


def find(arguments):
  """The videos that `--videos` arguments name, sorted by id; the same real file counts once.

  Args:
    arguments: list of files, globs ('**' spans folders) and folders. Folders are searched for SUFFIXES, also before
      .gz, hidden names aside; a glob names what it matches.

  Raises:
    UserError: an argument names nothing, or two different files would have the same id.
  """
  by_id, real_paths = {}, set()
  for argument in arguments:
    found = list(_expand(argument))
    if not found:
      raise UserError(f'--videos={argument}: no such video; give a file, a glob or a folder with videos in it')
    for video in found:
      real = os.path.realpath(video.path)
      if real in real_paths:
        continue
      real_paths.add(real)
      if video.id in by_id:
        raise UserError(
          f'{by_id[video.id].path} and {video.path} would both be called {video.id!r}; give the folder above them'
        )
      by_id[video.id] = video
  return [by_id[key] for key in sorted(by_id)]


def _expand(argument):
  if os.path.isdir(argument):
    yield from _below(argument, argument)
  elif os.path.lexists(argument):
    yield Video(_checked(os.path.basename(argument)), argument)
  else:
    root = _fixed_prefix(argument)
    for path in sorted(glob.glob(argument, recursive=True)):
      if os.path.isdir(path):
        if '**' not in argument:  # there the files inside are matched themselves
          yield from _below(path, root)
      else:
        yield Video(_id(path, root), path)


def _below(folder, root):
  """Videos in `folder` and the folders in it, hidden ones and links to folders aside; ids count from `root`."""
  for parent, folders, names in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    for name in sorted(names):
      suffixes = [suffix.lower() for suffix in pathlib.PurePath(name).suffixes]
      wanted = suffixes[-2:-1] if suffixes[-1:] == ['.gz'] else suffixes[-1:]
      if not name.startswith('.') and SUFFIXES.issuperset(wanted) and wanted:
        path = os.path.join(parent, name)
        yield Video(_id(path, root), path)


def _fixed_prefix(pattern):
  """The folders of a glob before its first wild card."""
  parts = pathlib.PurePath(pattern).parts
  wild = next((i for i, part in enumerate(parts) if glob.has_magic(part)), 0)
  return os.path.join(*parts[:wild]) if wild else '.'


def _id(path, root):
  return _checked(pathlib.PurePath(os.path.relpath(path, root)).as_posix())


def _checked(name):
  try:
    name.encode()
  except UnicodeEncodeError:
    raise UserError(f'{name!r}: not a UTF-8 name; rename the file') from None
  return name


def digest(path):
  """Hex digest of what a file holds. MediaError where it is no regular file or cannot be read."""
  integrity.check_regular(path)
  with integrity.readable(path) as file:
    return digests.blake2b(file)
