"""The checkpoints of a run on disk: which of them can be read, whatever their list says."""

import json
import re
import sys

import tensorflow as tf

from audionet_tf.core import files

EPOCHS_DONE = 'epochs_done/.ATTRIBUTES/VARIABLE_VALUE'
INDEX_NAME = re.compile(r'ckpt-(\d{1,18})\.index')
FILE_NAME = re.compile(r'ckpt-(\d{1,18})\.(index|data-\d{5}-of-\d{5})')


def prefixes(folder):
  """Paths of the checkpoints in a folder, without suffix, the newest first; list of pathlib.Path."""
  found = (INDEX_NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
  return [folder / f'ckpt-{number}' for number in sorted((int(match[1]) for match in found if match), reverse=True)]


def list_anew(folder):
  """Writes TensorFlow's list of checkpoints, which may be damaged, from the files that are there."""
  names = [json.dumps(path.name) for path in reversed(prefixes(folder))]
  if names:
    with files.atomic_write(folder / 'checkpoint') as file:
      file.write(f'model_checkpoint_path: {names[-1]}\n')
      file.writelines(f'all_model_checkpoint_paths: {name}\n' for name in names)


def remove_older(folder, found, kept):
  """Removes what is older than the newest `kept` whole checkpoints: a run may have been killed before it could.

  Args:
    folder: pathlib.Path of the checkpoints.
    found: from `read`.
    kept: number of checkpoints.
  """
  whole = [path for path, epochs in found if epochs is not None]
  if len(whole) < kept:
    return
  oldest = int(whole[kept - 1].name.removeprefix('ckpt-'))
  matches = (FILE_NAME.fullmatch(path.name) for path in folder.iterdir())
  for name in [match[0] for match in matches if match and int(match[1]) < oldest]:
    (folder / name).unlink()
  list_anew(folder)


def read(folder):
  """Reads all checkpoints of a folder, a pathlib.Path: list of (path without suffix, epochs), the newest first.

  The number of epochs is None for a damaged one.
  """
  return [(path, whole_epochs(path)) for path in prefixes(folder)]


def usable(found, most_epochs):
  """Chooses the checkpoints to resume from, and reports on stderr each newer one that is passed over.

  Args:
    found: from `read`.
    most_epochs: number of epochs that the run's metrics hold.

  Returns:
    list of (path without suffix, number of epochs), the one with most epochs first.
  """
  good = []
  for path, epochs in found:
    if epochs is not None and epochs <= most_epochs:
      good.append((path, epochs))
    elif not good:
      reason = 'cannot be read' if epochs is None else f'is of epoch {epochs}, the metrics of {most_epochs}'
      print(f'{path}: {reason}; the one before it is used', file=sys.stderr)
  return sorted(good, key=lambda pair: -pair[1])


def whole_epochs(path):
  """Reads a whole checkpoint, which compares its checksums: its number of epochs, or None if it is damaged."""
  try:
    reader = tf.train.load_checkpoint(str(path))
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
    return int(reader.get_tensor(EPOCHS_DONE))
  except Exception:  # the reader raises whatever its parts raise, IndexError and RuntimeError among them
    return None
