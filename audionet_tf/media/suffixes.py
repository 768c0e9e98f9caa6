"""Suffixes of sound and video files: what folders are searched for."""

import pathlib

# Sound and video alike: a file that turns out to have no sound, or no pictures, is reported rather than ignored.
SUFFIXES = frozenset(
  f'.{name}'
  for name in (
    *('3g2', '3gp', 'asf', 'avi', 'dv', 'flv', 'gif', 'm2ts', 'm4v', 'mkv', 'mov', 'mp4', 'mpeg', 'mpg', 'mts', 'mxf'),
    *('ogv', 'rm', 'ts', 'vob', 'webm', 'wmv'),
    *('aac', 'aif', 'aiff', 'flac', 'm4a', 'mp3', 'oga', 'ogg', 'opus', 'wav', 'wma'),
  )
)


def is_media(name):
  """Whether a file is one by its name: not hidden, one of SUFFIXES, optionally followed by .gz."""
  suffixes = [suffix.lower() for suffix in pathlib.PurePath(name).suffixes]
  suffix = suffixes[-2:-1] if suffixes[-1:] == ['.gz'] else suffixes[-1:]
  return not name.startswith('.') and bool(suffix) and SUFFIXES.issuperset(suffix)
