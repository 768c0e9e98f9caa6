"""Where a demo keeps its results, and how a person's videos are parted into heard and unheard."""

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
SUMMARY_NAME = 'summary.txt'  # written last: a folder that has it is finished
HELD_BACK = 5  # one video in so many stays unheard


@contextlib.contextmanager
def claimed(output, asked):
  """The folder to work in, held for this process: `output`, or output-2, output-3, ...

  A folder that an unfinished demo with the same settings left is gone on with; one that is finished, in use or not a
  demo's is left alone.

  Args:
    output: pathlib.Path.
    asked: JSON-able dict of the settings.
  """
  for number in itertools.count(1):
    folder = output if number == 1 else output.with_name(f'{output.name}-{number}')
    if folder.exists() and not unfinished(folder, asked):
      continue
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
      try:
        stack.enter_context(files.locked(folder, wait=False))
      except BlockingIOError:
        continue
      print(f'{"going on in" if (folder / SETTINGS_NAME).exists() else "results go to"} {folder}')
      write_text(folder / SETTINGS_NAME, json.dumps(asked, indent=1))
      yield folder
      return


def unfinished(folder, asked):
  """Whether a demo with these settings stopped in `folder`; an empty folder counts."""
  if not folder.is_dir() or (folder / SUMMARY_NAME).exists():
    return False
  try:
    return json.loads((folder / SETTINGS_NAME).read_text()) == asked
  except (OSError, ValueError):
    return all(path.name == files.LOCK_NAME for path in folder.iterdir())


def write_text(path, text):
  """Writes a text file that is never seen half-written."""
  with files.atomic_write(path) as file:
    file.write(text)


def check_videos(folder):
  """Raises UserError unless there is a folder with videos in it, by their names."""
  if not os.path.isdir(folder):
    raise UserError(f'{folder}: {"not a folder" if os.path.exists(folder) else "no such folder"}; give one with videos')
  try:
    videos.find([folder])
  except UserError:
    raise UserError(f'{folder}: no videos in it (.mp4, .mkv, .webm, .mov, ...); give a folder with videos') from None


def part(folder, probed, videos):
  """Links the videos that can be used into videos/heard and videos/unheard, by a hash of their names.

  Args:
    folder: of the person's videos.
    probed: records that were built of them: the videos in there have sound and pictures.
    videos: pathlib.Path to make the links in.
  """
  usable = [video['id'] for video in records.read_manifest(probed)['videos']]
  shuffled = sorted(usable, key=lambda name: hashlib.blake2b(name.encode()).digest())
  unheard = set(shuffled[: max(1, len(usable) // HELD_BACK)] if len(usable) > 1 else [])
  for name in usable:
    link = videos / ('unheard' if name in unheard else 'heard') / flat_name(name)
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
