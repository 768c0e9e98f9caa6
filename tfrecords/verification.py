"""Verifies a folder of records: its manifest, its shards, teachers' answers and codec variants; and repairs them.

A fault is a str of one line. Records are repaired from their videos. Stored answers need their teacher: what is damaged
of them, or of codec variants, is taken away, and the next training that uses it makes it again.
"""

import pathlib
import sys

import numpy as np
from tqdm import tqdm

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import codec_variants, record_manifest, soft_labels
from audionet_tf.data.record_manifest import BACKUP_NAME, MANIFEST_NAME
from tfrecords import builder, codec_inspection, inspection, label_inspection

STORED = (  # with the records: folder, inspection, what is in it
  (soft_labels.FOLDER, label_inspection.inspect, 'answers'),
  (codec_variants.FOLDER, codec_inspection.inspect, 'codec variants'),
)


def verify(folder):
  """Compares every checksum, count and digest, and the order of records and what is stored with them. Writes nothing.

  Args:
    folder: of the records.

  Returns:
    list of faults; empty if all is as it was written.

  Raises:
    UserError: there are no records.
  """
  folder = pathlib.Path(folder)
  faults, manifest = check_manifest(folder)
  return faults if manifest is None else faults + check_shards(folder, manifest).faults + check_stored(folder, manifest)


def repair(folder, workers=1, timeout_seconds=120, memory_bytes=4 << 30, from_store=False):
  """Verifies a folder and builds what is broken again from the videos that the manifest names.

  Args:
    folder: of the records.
    workers, timeout_seconds, memory_bytes: as for `builder.build`.
    from_store: as for `builder.rebuild`.

  Returns:
    (list of faults found, list of faults left).

  Raises:
    UserError: there are no records, or a build is running in the folder.
  """
  folder = pathlib.Path(folder)
  check_folder(folder)
  with builder.locked(folder):
    faults, manifest = check_manifest(folder)
    if manifest is None:
      return faults, [f'{fault}; build the records again, into another folder' for fault in faults]
    if faults:
      record_manifest.renew(folder, manifest)
    shards = check_shards(folder, manifest)
    reasons = {}
    if shards.faults:
      how = (workers, timeout_seconds, memory_bytes, from_store)
      reasons = builder.rebuild(folder, manifest, shards.whole(), *how)
    manifest = record_manifest.read(folder)
    if not reasons:
      builder.remove_leftovers(folder, manifest)
    found = faults + shards.faults + check_stored(folder, manifest, repaired=True)
    if not found:
      return [], []
    left = [text.printable(f'{folder}: {name} cannot be built again: {why}') for name, why in sorted(reasons.items())]
    return found, verify(folder) + left


def check_folder(folder):
  """UserError unless a folder has a manifest, or the second copy of one."""
  if not any((folder / name).is_file() for name in (MANIFEST_NAME, BACKUP_NAME)):
    raise UserError(
      f'{folder}: no records here ({MANIFEST_NAME} is missing); build them with python -m tfrecords.build'
    )


def check_manifest(folder):
  """(list of faults, the manifest): from the second copy if the first is damaged, None if both are."""
  check_folder(folder)
  problems = {}
  for name in (MANIFEST_NAME, BACKUP_NAME):
    try:
      manifest = record_manifest.read(folder, name)
    except UserError as error:
      problems[name] = str(error).replace(f'; {record_manifest.advice_for(folder)}', '')
      continue
    if name == MANIFEST_NAME and not (folder / BACKUP_NAME).is_file():
      return [], manifest  # of an older version, or copied alone
    differing = record_manifest.differing(folder, manifest)
    return [problems.get(name, f'{folder / name}: not as it was written') for name in differing], manifest
  return list(problems.values()), None


def check_shards(folder, manifest):
  """The inspection.Inspection of the shards, with a progress bar."""
  try:
    with bar(manifest['windows'], 'records') as progress:
      return inspection.inspect(folder, manifest, progress.update)
  except UserError as error:
    return inspection.Inspection([str(error)], [], np.zeros(0, bool), np.zeros(0, np.int64))


def check_stored(folder, manifest, repaired=False):
  """Faults of all that is stored with the records, list. `repaired`: whether to take away what is damaged."""
  faults = []
  for name, inspect, what in STORED:
    root = folder / name
    for stored in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []:
      with bar(manifest['windows'], f'{what} {stored.name}') as progress:
        found = inspect(stored, manifest, progress.update)
      faults += [fault for _, fault in found]
      if repaired and found:
        label_inspection.take_away(stored, {path for path, _ in found})
  return faults


def bar(total, description):
  """A progress bar of windows on stderr."""
  return tqdm(total=total, desc=description, unit=' windows', delay=2, file=sys.stderr, leave=False)
