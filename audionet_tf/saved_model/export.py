"""Exports a student: write, load again, compare with the model in memory, and only then publish the version."""

import os
import pathlib
import shutil

from audionet_tf.core import saved_model_allowlist
from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, student_paths
from audionet_tf.saved_model import loader, signatures, verify, writer


def export(model, settings, folder, tflite=False):
  """Writes the next free version below `folder`: `folder/1`, `folder/2`, ...

  The version is loaded again and compared with the model before it becomes visible.

  Args:
    model: keras.Model of a student.
    settings: its student_file.StudentConfig.
    folder: of the versions; created if missing.
    tflite: whether to add `model.tflite`.

  Returns:
    pathlib.Path of the version's folder.

  Raises:
    UserError: the student's outputs are not finite, or do not match the settings.
    RuntimeError: the export's outputs differ from the model's.
  """
  check_settings(model, settings)
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  partial = folder / f'.partial-{os.getpid()}'
  shutil.rmtree(partial, ignore_errors=True)
  try:
    writer.write(model, settings, partial)
    saved_model_allowlist.check_operations(partial)
    length = signatures.window_samples(settings)
    verify.compare(model, settings, loader.load(partial, names=False), length)
    if tflite:
      from audionet_tf.saved_model.tflite import convert

      convert(partial, partial / writer.TFLITE_FILE, model, settings, length)
    return claim_version(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def check_settings(model, settings):
  """Raises UserError unless model and settings have the same heads with the same numbers of classes."""
  shapes = {name: output.shape for name, output in model.output.items()}
  for head, names in settings.classes.items():
    shape = shapes.get(heads.LOGITS + head)
    if shape is None or shape[-1] != len(names):
      actual = f'{shape[-1]} classes' if shape else 'no such head'
      raise UserError(f'head {head!r}: {len(names)} class names in the settings, {actual} in the student')
  for name in shapes:
    head = name.removeprefix(heads.LOGITS)
    if head != name and head not in settings.classes:
      raise UserError(f'head {head!r}: no class names in the settings, {shapes[name][-1]} classes in the student')


def claim_version(partial, folder):
  """Renames `partial` to the next free number below `folder`; another process may be exporting at the same time."""
  while True:
    version = folder / str(max(student_paths.versions(folder), default=0) + 1)
    try:
      return partial.rename(version)
    except OSError:
      if not version.is_dir():
        raise
