"""Makes an export: written, loaded again, compared with the model in memory, and only then named."""

import os
import pathlib
import shutil

from audionet_tf.core import saved_model_allowlist
from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, student_paths
from audionet_tf.saved_model import loader, signatures, verify, writer
from audionet_tf.saved_model.writer import TFLITE_FILE


def export(model, settings, folder, tflite=False):
  """Writes the next free version below `folder`: `folder/1`, `folder/2`, ...

  The artifact is loaded again and compared with the model before it gets its name; until then nothing is visible.

  Args:
    model: a student.
    settings: its StudentSettings.
    folder: made when missing.
    tflite: whether to add `model.tflite`.

  Returns:
    pathlib.Path of the version folder.

  Raises:
    UserError: the student gives numbers that are not finite, or does not fit the settings.
    RuntimeError: the artifact does not answer as the model does.
  """
  check_settings(model, settings)
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  partial = folder / f'.partial-{os.getpid()}'
  shutil.rmtree(partial, ignore_errors=True)
  try:
    writer.write(model, settings, partial)
    saved_model_allowlist.refuse_foreign(partial)
    verify.compare(model, settings, loader.load(partial, names=False), signatures.window_samples(settings))
    if tflite:
      from audionet_tf.saved_model import tflite as saved_model_tflite

      saved_model_tflite.convert(partial, partial / TFLITE_FILE, model, settings, signatures.window_samples(settings))
    return claim_version(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_settings(model, settings):
  """Raises UserError unless the heads of the settings are those of the model, with as many classes."""
  shapes = {name: output.shape for name, output in model.output.items()}
  for head, names in settings.classes.items():
    shape = shapes.get(heads.LOGITS + head)
    if shape is None or shape[-1] != len(names):
      found = f'{shape[-1]} classes' if shape else 'no such head'
      raise UserError(f'head {head!r}: {len(names)} class names in the settings, {found} in the student')
  for name in shapes:
    head = name.removeprefix(heads.LOGITS)
    if head != name and head not in settings.classes:
      raise UserError(f'head {head!r}: no class names in the settings, {shapes[name][-1]} classes in the student')


def claim_version(partial, folder):
  """Renames `partial` to the next free number below `folder`; another export may be doing the same."""
  while True:
    version = folder / str(max(student_paths.versions(folder), default=0) + 1)
    try:
      return partial.rename(version)
    except OSError:
      if not version.is_dir():
        raise
