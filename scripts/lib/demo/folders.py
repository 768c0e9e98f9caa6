"""The folders of a demo, and the split of own videos into training and held-out ones."""

import contextlib
import hashlib
import itertools
import json
import os
import pathlib

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import records
from tfrecords import videos

SETTINGS_NAME = 'demo.json'
SUMMARY_NAME = 'summary.txt'  # written last: a folder that holds it is finished
HELD_OUT = 5  # one video in this many is held out


@contextlib.contextmanager
def claimed(output, settings):
  """Context with a folder to work in, locked for this process: `output`, or output-2, output-3, ...

  The folder of an unfinished demo with the same settings is resumed; a folder that is finished, in use or not of a demo
  is left alone.

  Args:
    output: pathlib.Path.
    settings: dict of the settings, for JSON.

  Yields:
    pathlib.Path.
  """
  for number in itertools.count(1):
    folder = output if number == 1 else output.with_name(f'{output.name}-{number}')
    if folder.exists() and not unfinished(folder, settings):
      continue
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
      try:
        stack.enter_context(files.locked(folder, wait=False))
      except BlockingIOError:
        continue
      print(f'{"resuming in" if (folder / SETTINGS_NAME).exists() else "results go to"} {folder}')
      write_text(folder / SETTINGS_NAME, json.dumps(settings, indent=1))
      yield folder
      return


def unfinished(folder, settings):
  """Whether a demo with these settings was stopped in `folder`, or the folder is empty."""
  if not folder.is_dir() or (folder / SUMMARY_NAME).exists():
    return False
  try:
    return json.loads((folder / SETTINGS_NAME).read_text()) == settings
  except (OSError, ValueError):
    return all(path.name == files.LOCK_NAME for path in folder.iterdir())


def write_text(path, text):
  """Writes a text file atomically."""
  with files.atomic_write(path) as file:
    file.write(text)


def check_videos(folder):
  """Raises UserError unless `folder` holds files with the names of videos."""
  if not os.path.isdir(folder):
    raise UserError(f'{folder}: {"not a folder" if os.path.exists(folder) else "no such folder"}; give one with videos')
  try:
    videos.find([folder])
  except UserError:
    raise UserError(f'{folder}: no videos in it (.mp4, .mkv, .webm, .mov, ...); give a folder with videos') from None


def split(folder, probed, videos):
  """Links the usable videos into videos/train and videos/held_out, by a hash of their names.

  Args:
    folder: of the own videos.
    probed: folder of records built from them, which list the videos with sound and pictures.
    videos: pathlib.Path of the folder for the links.
  """
  usable = [video['id'] for video in records.read_manifest(probed)['videos']]
  shuffled = sorted(usable, key=lambda name: hashlib.blake2b(name.encode()).digest())
  held_out = set(shuffled[: max(1, len(usable) // HELD_OUT)] if len(usable) > 1 else [])
  for name in usable:
    link = videos / ('held_out' if name in held_out else 'train') / flat_name(name)
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
      link.symlink_to(pathlib.Path(folder, name).resolve())


def flat_name(name):
  """The path of a video below its folder as one file name; a digest keeps a/b.mp4 and a-b.mp4 apart."""
  if '/' not in name:
    return name
  path = pathlib.PurePosixPath(name)
  digest = hashlib.blake2b(name.encode(), digest_size=3).hexdigest()
  return f'{path.parent.as_posix().replace("/", "-")}-{path.name.removesuffix(path.suffix)}-{digest}{path.suffix}'
