"""One student from several that are trained."""

from __future__ import annotations

import os
from collections.abc import Sequence

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, store_folder

Path = str | os.PathLike


def join(models: Sequence[Path], output: Path, resume: bool = False) -> Path:
  """Joins trained students into one that predicts the mean of what they predict, as `audionet_tf.join` does.

      audionet_tf.join(['runs/log_mel', 'runs/soundnet'], 'runs/joined')

  Args:
    models: two or more runs, students (.keras) or their addresses, with the same classes, sample rate and windows.
    output: folder of the joined student, or its address: made if missing, and then like a run.
    resume: keep a joined student that `output` holds already if it is the same, and replace it if not.

  Returns:
    `output`, for `load`.

  Raises:
    UserError: students are missing or do not go together, or `output` holds a student and `resume` is false.
  """
  from audionet_tf.saved_model import joined_run

  if hub.is_address(output):
    raise UserError(
      f'{output}: join in a folder first; audionet_tf.export --model=FOLDER --output=hf://... publishes it'
    )
  files.require_utf8(output)
  busy = 'another command is writing there; wait for it, or choose another folder'
  with store_folder.written(os.fspath(output), busy, is_own) as folder:
    joined_run.write(models, folder, resume)
  return output


def is_own(name: str) -> bool:
  """Whether the joined student needs an object of its folder: what its members left is as large as all they did."""
  return not name.startswith('members/')
