"""Exports a student: write, load again, compare with the model in memory, and only then publish the version."""

import os
import pathlib
import shutil

from audionet_tf.core import digests, files, saved_model_allowlist, sealed_json
from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, student_paths
from audionet_tf.saved_model import loader, signatures, verify, writer

CHECKSUMS_FILE = 'assets.extra/checksums.json'


def export(model, settings, folder, tflite=False, quantize=(), windows=(), report=None, onnx=False, add=()):
  """Writes the next free version below `folder`: `folder/1`, `folder/2`, ...

  The version is loaded again and compared with the model before it becomes visible.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
    folder: of the versions; created if missing.
    tflite: whether to add the files of `tflite`.
    quantize, windows: as for `tflite.write`.
    report: None, or a function of a str, a line about each file of `quantize`.
    onnx: whether to add the file of `onnx_file`.
    add: functions of the version's folder that add files to it.

  Returns:
    pathlib.Path of the version's folder.

  Raises:
    UserError: the student's outputs are not finite, or do not match the settings, or the folder's name is not UTF-8.
    RuntimeError: the export's outputs differ from the model's.
    DiskFullError: no space in `folder`.
  """
  check_settings(model, settings)
  folder = pathlib.Path(folder)
  files.require_utf8(folder)
  with files.space_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder):
      return export_locked(model, settings, folder, tflite, quantize, windows, report, onnx, add)


def export_locked(model, settings, folder, tflite, quantize, windows, report, onnx, add):
  """`export`, in a folder that no other export uses."""
  for left in folder.glob('.partial-*'):  # by a process that was killed: none other holds the lock
    remove(left)
  partial = folder / f'.partial-{os.getpid()}'
  try:
    writer.write(model, settings, partial)
    saved_model_allowlist.check_operations(partial)
    length = signatures.window_samples(settings)
    verify.compare(model, settings, loader.load(partial, names=False), length)
    if tflite:
      from audionet_tf.saved_model import tflite as lite

      for line in lite.write(model, settings, partial, quantize, windows):
        report(line)
    if onnx:
      from audionet_tf.saved_model import onnx_file

      onnx_file.write(model, settings, partial / onnx_file.FILE)
    for function in add:
      function(partial)
    sealed_json.write(partial / CHECKSUMS_FILE, checksums(partial))
    return claim_version(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def checksums(version):
  """dict of relative path to BLAKE2b of every file of a version, but that which lists them."""
  paths = sorted(path for path in version.rglob('*') if path.is_file() and path != version / CHECKSUMS_FILE)
  return {path.relative_to(version).as_posix(): digests.of_content(path) for path in paths}


def is_whole(version, model, settings):
  """Whether an export is as it was written. One without checksums, by an older version, is compared with its student.

  Args:
    version: pathlib.Path of the version's folder.
    model: keras.Model of the student.
    settings: its student_settings.StudentConfig.
  """
  try:
    if (version / CHECKSUMS_FILE).is_file():
      listed = sealed_json.read(version / CHECKSUMS_FILE, 'checksums of an export', 'export again')
      return bool(listed) and listed.items() <= checksums(version).items()
    verify.compare(model, settings, loader.load(version, names=False), signatures.window_samples(settings))
    return True
  except (UserError, RuntimeError):
    return False


def remove(path):
  """Removes a file or folder."""
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


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
    if settings.embeddings.get(head) == shapes[name][-1]:
      continue
    if head != name and head not in settings.classes:
      raise UserError(f'head {head!r}: no class names in the settings, {shapes[name][-1]} classes in the student')


def claim_version(partial, folder):
  """Renames `partial` to the next free number below `folder`; another program may be making folders there."""
  while True:
    version = folder / str(max(student_paths.versions(folder), default=0) + 1)
    try:
      return partial.rename(version)
    except OSError:
      if not version.is_dir():
        raise
