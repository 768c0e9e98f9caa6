"""The checkpoints of a run on disk: which of them can be read, whatever their list says."""

import json
import re
import sys

import tensorflow as tf

from audionet_tf.core import files

EPOCHS_DONE, STEPS_DONE = (f'{name}/.ATTRIBUTES/VARIABLE_VALUE' for name in ('epochs_done', 'steps_done'))
INDEX_NAME = re.compile(r'ckpt-(\d{1,18})\.index')
FILE_NAME = re.compile(r'ckpt-(\d{1,18})\.(index|data-\d{5}-of-\d{5})')


def prefixes(folder):
  """Paths of the checkpoints in a folder, without suffix, the newest first; list of pathlib.Path."""
  found = (INDEX_NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
  return [folder / f'ckpt-{number}' for number in sorted((int(match[1]) for match in found if match), reverse=True)]


def list_anew(folder):
  """Writes TensorFlow's list of checkpoints, which may be damaged, from the files that are there."""
  paths = prefixes(folder)[::-1]
  names = [json.dumps(path.name) for path in paths]
  if names:
    with files.atomic_write(folder / 'checkpoint') as file:
      file.write(f'model_checkpoint_path: {names[-1]}\n')
      file.writelines(f'all_model_checkpoint_paths: {name}\n' for name in names)
      # Without times the manager would never delete them.
      times = [path.with_name(f'{path.name}.index').stat().st_mtime for path in paths]
      file.writelines(f'all_model_checkpoint_timestamps: {time}\n' for time in times)


def remove_older(folder, found, kept):
  """Removes what is older than the newest `kept` whole checkpoints: a run may have been killed before it could.

  Args:
    folder: pathlib.Path of the checkpoints.
    found: from `read`.
    kept: number of checkpoints.
  """
  whole = [path for path, done in found if done]
  if len(whole) < kept:
    return
  oldest = number(whole[kept - 1])
  matches = (FILE_NAME.fullmatch(path.name) for path in folder.iterdir())
  for name in [match[0] for match in matches if match and int(match[1]) < oldest]:
    (folder / name).unlink()
  list_anew(folder)


def read(folder):
  """Reads all checkpoints of a folder, a pathlib.Path: list of (path without suffix, done), the newest first.

  `done` is (completed epochs, completed steps of the next epoch, None in checkpoints of versions that had none inside
  an epoch); it is None for a damaged checkpoint.
  """
  return [(path, done(path)) for path in prefixes(folder)]


def number(path):
  """The number in the name of a checkpoint."""
  return int(path.name.rpartition('-')[2])


def usable(found, most_epochs):
  """Chooses the checkpoints to resume from, and reports on stderr each newer one that is passed over.

  Args:
    found: from `read`.
    most_epochs: number of epochs that the run's metrics hold.

  Returns:
    list of (path without suffix, (epochs, steps)), the one that is farthest first.
  """
  good = []
  for path, done in found:
    if done and done[0] <= most_epochs:
      good.append((path, done))
    elif not good:
      reason = 'cannot be read' if done is None else f'is of epoch {done[0]}, the metrics of {most_epochs}'
      print(f'{path}: {reason}; the one before it is used', file=sys.stderr)
  return sorted(good, key=lambda pair: (-pair[1][0], -(pair[1][1] or 0)))


def done(path):
  """Reads a whole checkpoint, which compares its checksums: `done` as in `read`, or None if it is damaged."""
  try:
    reader = tf.train.load_checkpoint(str(path))
    names = reader.get_variable_to_shape_map()
    for name in names:
      reader.get_tensor(name)
    steps = int(reader.get_tensor(STEPS_DONE)) if STEPS_DONE in names else None
    return int(reader.get_tensor(EPOCHS_DONE)), steps
  except Exception:  # the reader raises whatever its parts raise, IndexError and RuntimeError among them
    return None
