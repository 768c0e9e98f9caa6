"""One student from several that are trained."""

from __future__ import annotations

import os
from collections.abc import Sequence

from audionet_tf.core.stores import store_folder

Path = str | os.PathLike


def join(models: Sequence[Path], output: Path, resume: bool = False) -> Path:
  """Joins trained students into one that predicts the mean of what they predict, as `audionet_tf.join` does.

      audionet_tf.join(['runs/best', 'runs/soundnet'], 'runs/joined')

  Args:
    models: two or more runs, students (.keras) or their addresses, with the same classes, sample rate and windows.
    output: folder of the joined student, or its address: made if missing, and then as a run.
    resume: keep a joined student that `output` holds already if it is the same, and replace it if not.

  Returns:
    `output`, for `load`.

  Raises:
    UserError: students are missing or do not go together, or `output` holds a student and `resume` is false.
  """
  from audionet_tf.saved_model import joined_run

  busy = 'another training is running there; wait for it, or choose another folder'
  own = lambda name: not name.startswith('members/')  # noqa: E731
  with store_folder.written(os.fspath(output), busy, own) as folder:
    joined_run.write(list(models), folder, resume)
  return output
