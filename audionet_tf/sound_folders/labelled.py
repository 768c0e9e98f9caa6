"""Labelled sounds in a folder, in either of two forms.

| form             | the folder holds                                                                            |
|------------------|---------------------------------------------------------------------------------------------|
| a folder a class | `dog/1.wav`, `dog/yard/2.mp3`, `cat/1.wav`: the first folder names the class                |
| a table          | `metadata.csv` with `file_name`, relative to it, and `label`: Hugging Face's audiofolder     |

Either form may stand below a folder `train`, and again below any of `validation`, `valid`, `val`, `dev`, `test` and
`eval` beside it: then these folders say what is trained on and what is held out.
"""

import collections
import dataclasses
import os
import pathlib
import sys

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import csv_files
from audionet_tf.media import suffixes

TABLE = 'metadata.csv'
TRAIN, HELD_OUT = 'train', 'held_out'
PARTS = {TRAIN: TRAIN, **dict.fromkeys(('validation', 'valid', 'val', 'dev', 'test', 'eval'), HELD_OUT)}


@dataclasses.dataclass(frozen=True)
class Sound:
  """A labelled file.

  Attributes:
    path: pathlib.Path of the file.
    name: its path below the folder, with '/'.
    label: its class.
    part: TRAIN or HELD_OUT, where the folder says so; else ''.
  """

  path: pathlib.Path
  name: str
  label: str
  part: str = ''


def read(folder):
  """Finds the labelled sounds of a folder; names on stderr what is skipped.

  Args:
    folder: path.

  Returns:
    list of Sound, sorted by name.

  Raises:
    UserError: no such folder, no sound, fewer than two classes, a class with a single sound, or a damaged table.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise UserError(f'{folder}: no such folder; expected is one with a folder of sounds per class, or with {TABLE}')
  names = {path.name for path in folders_in(folder)}
  if names == {TRAIN} and folders_in(folder / TRAIN) and not (folder / TABLE).is_file():
    return read(folder / TRAIN)
  is_parted = TRAIN in names and len(names) > 1 and names <= PARTS.keys()
  roots = folders_in(folder) if is_parted and not (folder / TABLE).is_file() else [folder]
  sounds = [sound for root in roots for sound in (of_table if (root / TABLE).is_file() else of_folders)(root, folder)]
  if is_parted:
    sounds = [dataclasses.replace(sound, part=PARTS.get(sound.name.partition('/')[0], TRAIN)) for sound in sounds]
  check(folder, sounds)
  return sorted(sounds, key=lambda sound: sound.name)


def folders_in(folder):
  """The folders in a folder, links to folders among them, without hidden ones: sorted list of pathlib.Path."""
  return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def of_folders(root, folder):
  """The Sounds below the folders of `root`, which name their classes. Names are relative to `folder`."""
  loose = [path.name for path in sorted(root.iterdir()) if files.is_no_folder(path) and suffixes.is_media(path.name)]
  tell_skipped(loose, f'not in the folder of a class, but in {root} itself')
  sounds, empty, odd = [], [], []
  for place in folders_in(root):
    found = [path for path in files_below(place) if suffixes.is_media(path.name)]
    names = {path: path.relative_to(folder).as_posix() for path in found}
    odd += [name for name in names.values() if not fits_table(name)]
    label = text.one_line(place.name)
    sounds += [Sound(path, name, label) for path, name in names.items() if fits_table(name)]
    empty += [] if found else [place.name]
  tell_skipped(odd, 'names that are not UTF-8, or of several lines; rename them')
  tell_skipped(empty, 'folders without a sound file')
  return sounds


def fits_table(name):
  """Whether a file's name is one line of text: the system gives other bytes than UTF-8 as lone surrogates."""
  try:
    name.encode()
  except UnicodeEncodeError:
    return False
  return len(name.splitlines()) == 1


def files_below(folder):
  """Yields the files below a folder, without hidden folders and without links to folders inside."""
  for parent, folders, names in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    yield from (pathlib.Path(parent) / name for name in sorted(names))


def of_table(root, folder):
  """The Sounds of `root`/metadata.csv. UserError if a row leads out of `root`, or a file has two labels."""
  rows = csv_files.read_table(root / TABLE, (('file_name',), ('label',)))
  labels, missing, others = {}, [], []
  for row in rows:
    name, label = row['file_name'], text.one_line(row['label'])
    path = pathlib.PurePosixPath(name)
    if not name or path.is_absolute() or '..' in path.parts:
      raise UserError(f'{root / TABLE}: file_name is {text.brief_value(name)}; expected is a path below {root}')
    if not row['label']:
      raise UserError(f'{root / TABLE}: no label for {text.printable(name)}; give every file one, or leave it out')
    if labels.setdefault(path, label) != label:
      raise UserError(
        f'{root / TABLE}: {text.printable(name)} is {labels[path]!r} and {label!r}; expected is one label'
      )
    if not files.is_no_folder(root / path):
      missing.append(name)
    elif not suffixes.is_media(path.name):
      others.append(name)
  tell_skipped(missing, f'in {TABLE}, but not in its folder')
  tell_skipped(others, 'not sound files by their suffix')
  skipped = {pathlib.PurePosixPath(name) for name in (*missing, *others)}
  return [
    Sound(root / path, (root / path).relative_to(folder).as_posix(), label)
    for path, label in labels.items()
    if path not in skipped
  ]


def tell_skipped(names, reason):
  """Names on stderr what is skipped."""
  if names:
    print(f'skipped, {reason}: {text.first_of(names)}', file=sys.stderr)


def check(folder, sounds):
  """UserError unless there are two classes, each with two sounds, and where parts are given, one in each."""
  counts = collections.Counter(sound.label for sound in sounds)
  if not counts:
    raise UserError(f'{folder}: no class; expected is a folder of sounds per class, or {TABLE} (file_name, label)')
  if len(counts) == 1:
    raise UserError(f'{folder}: one class alone, {min(counts)!r}; a student tells at least two apart')
  single = sorted(label for label, count in counts.items() if count < 2)
  if single:
    raise UserError(
      f'{folder}: a single sound of {text.first_of(single)}; expected are two or more, one to train on, one held out'
    )
  if any(sound.part for sound in sounds):
    untrained = sorted(counts.keys() - {sound.label for sound in sounds if sound.part == TRAIN})
    if untrained:
      raise UserError(f'{folder}: no sound of {text.first_of(untrained)} is in {TRAIN}; add some, or remove the class')
    if all(sound.part == TRAIN for sound in sounds):
      raise UserError(f'{folder}: no sound is held out: the folders beside {TRAIN} are empty; fill or remove them')


def check_readable(folder, sounds, unreadable):
  """`check`, once some sounds proved unreadable.

  Args:
    folder: of the sounds.
    sounds: list of Sound, those that can be read.
    unreadable: dict of the names of the others to reasons.

  Raises:
    UserError: as `check`; or no sound is left.
  """
  name, reason = min(unreadable.items())
  if not sounds:
    raise UserError(f'{folder}: none of {len(unreadable)} sounds can be read; {text.printable(name)}: {reason}')
  try:
    check(folder, sounds)
  except UserError as error:
    raise UserError(f'{error} ({len(unreadable)} cannot be read: {text.first_of(sorted(unreadable))})') from None
