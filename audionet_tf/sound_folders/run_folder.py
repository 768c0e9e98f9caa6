"""The folder of a run on labelled sounds: what it may be, and which parts of an earlier one are replaced."""

import json
import os
import pathlib

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.sound_folders import labelled
from audionet_tf.training import run_checks

TABLE, LEFT_OUT = 'sounds.csv', 'left_out.json'
COLUMNS = ['path', 'category', 'fold', 'recording']
LINKS, REPORT = 'sounds', 'report'
REPORT_MARK = 'written_by_audionet_tf.txt'  # in the report's folder, which is replaced only with this file in it
STAGES = ('head', 'tuned')  # runs of their own, of a run with a student to start from


def check(folder, run_dir, resume):
  """Raises UserError before anything is written, where the folder of the run might hold something of the user's.

  Args:
    folder: of the sounds.
    run_dir: pathlib.Path of the run.
    resume: whether an existing run is resumed.

  Raises:
    UserError: one folder is, or contains, the other; `run_dir` is in use, holds a run that is not to be resumed, or
      something that is no run; or something else stands where links or report belong.
  """
  for place in (run_dir, *(run_dir / stage for stage in STAGES)):
    run_checks.check_run_folder(place, resume)
  sounds, run = pathlib.Path(folder).resolve(), run_dir.resolve()
  if sounds == run or sounds in run.parents or run in sounds.parents:
    raise UserError(f'{run_dir}: overlaps with the sounds in {folder}; choose a --run_dir outside, which holds none')
  if run_dir.is_dir() and any(path.name != files.LOCK_NAME for path in run_dir.iterdir()) and not is_run(run_dir):
    raise UserError(f'{run_dir}: holds something that is no run; choose a new --run_dir')
  for part in (labelled.TRAIN, labelled.HELD_OUT):
    check_links(run_dir / LINKS / part)
  files.check_replaceable(run_dir / REPORT, REPORT_MARK)


def is_run(run_dir):
  """Whether a folder holds the table of sounds, or the settings, of a run."""
  try:
    with open(run_dir / TABLE, encoding='utf-8') as file:
      if file.readline(1000).strip() == ','.join(COLUMNS):
        return True
  except (OSError, UnicodeDecodeError):
    pass
  try:
    content = files.read_bytes(run_dir / run_checks.SETTINGS_NAME, 16 << 20, 'settings of a run')
    return {'student', 'teachers'} <= json.loads(content).keys()
  except (UserError, OSError, ValueError, AttributeError, RecursionError):
    return False


def check_links(folder):
  """UserError if a folder of links is a link itself, or holds anything but links."""
  if folder.parent.is_symlink() or folder.is_symlink():
    raise UserError(f'{folder}: a link; expected is a folder that the run made; choose a new --run_dir')
  for parent, _, names in os.walk(folder):
    for path in (pathlib.Path(parent) / name for name in names):
      if not path.is_symlink():
        raise UserError(f'{path}: not a link that the run made; move it away, or choose a new --run_dir')


def link(folder, sounds):
  """Makes a folder of links to sounds, by their names, in place of an earlier one; returns the folder.

  Raises:
    UserError: as `check_links`.
  """
  check_links(folder)
  for parent, folders, names in os.walk(folder, topdown=False):
    for path in (pathlib.Path(parent) / name for name in (*names, *folders)):
      path.unlink() if path.is_symlink() else path.rmdir()
  for sound in sounds:
    place = folder / sound.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(sound.path.absolute())
  return folder
