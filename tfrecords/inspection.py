"""Compares the shards of a folder with its manifest: every checksum, the place of every record, the digest of all.

It needs the manifest's contract (`data/record_manifest.py`) and the order of windows, and reads each shard once.
"""

import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
from google.protobuf import message

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import record_manifest, records
from audionet_tf.data.record_manifest import MANIFEST_NAME
from audionet_tf.data.shards import tfrecord_io
from tfrecords import hashed_order, shards


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What is in the shards.

  Attributes:
    faults: list of str, one line each; empty if the shards are those of the manifest.
    listed: the manifest's videos.
    broken: bool [videos], whether a record is not as it was built.
    sizes: int64 [videos], bytes of the records.
  """

  faults: list
  listed: Sequence
  broken: np.ndarray
  sizes: np.ndarray

  def whole(self):
    """dict of id to shards.Stored, of the videos all of whose records are as they were built."""
    rows = zip(self.listed, self.broken, self.sizes.tolist(), strict=True)
    return {
      video['id']: shards.Stored(video['id'], video.get('digest'), video['first_window'], video['windows'], size)
      for video, is_broken, size in rows
      if not is_broken
    }


def inspect(folder, manifest, progress=lambda count: None):
  """Reads all shards of a folder.

  Args:
    folder: of the records.
    manifest: from `record_manifest.read`.
    progress: function that is called with the number of windows read since the last call.

  Returns:
    Inspection.

  Raises:
    UserError: the manifest lists more bytes than the disk could hold.
  """
  size, most = sum(shard['bytes'] for shard in manifest['shards']), shutil.disk_usage(folder).total
  if size > most and store_mirror.mirror_of(pathlib.Path(folder) / MANIFEST_NAME) is None:
    raise UserError(
      f'{folder}/{MANIFEST_NAME}: not a manifest of this program (shards of {size} bytes on a disk of {most}); '
      f'{record_manifest.advice_for(folder)}'
    )
  videos, expected = manifest['videos'], hashed_order.Windows(manifest['videos'])
  sizes = np.zeros(len(videos), np.int64)
  broken, faults, digest = np.zeros(len(videos), bool), [], hashlib.blake2b(digest_size=16)
  for shard in manifest['shards']:
    path, places, position, misplaced = (
      str(pathlib.Path(folder) / shard['name']),
      expected.take(shard['windows']),
      0,
      [],
    )
    try:
      for offset, framed, fault in tfrecord_io.checked_records(path):
        if position == len(places):
          faults.append(f'{path}: more than the {shard["windows"]} records of the manifest, from byte {offset} on')
          break
        video, index = places[position].tolist()
        difference = None if fault else _difference(framed, manifest['params'], videos[video]['id'], index)
        broken[video] |= bool(fault or difference)
        if fault:
          window = f'window {index} of {text.printable(videos[video]["id"])}'
          faults.append(f'{path}: record at byte {offset} ({window}): {fault}')
        elif difference:
          misplaced.append(f'at byte {offset} {difference}')
        sizes[video] += len(framed)
        digest.update(framed)
        position += 1
        progress(1)
    except FileNotFoundError:
      pass
    if misplaced:  # the manifest may be what is wrong, so that its numbers cannot be trusted for any video
      broken[:] = True
      faults.append(f'{path}: {len(misplaced)} records are not those of the manifest; the first, {misplaced[0]}')
    if position < len(places):
      faults.append(_cut(path, len(places), len(places) - position))
      broken[places[position:, 0]] = True
      progress(len(places) - position)
  if not faults and digest.hexdigest() != manifest['digest']:
    faults.append(f'{folder}: the records have another digest than in the manifest; which of them changed is not known')
    broken[:] = True
  return Inspection(faults, videos, broken, sizes)


def _difference(framed, params, video_id, index):
  """What of a framed record is not as it should be, or None."""
  try:
    example = tfrecord_io.example_class().FromString(framed[12:-4])
  except message.DecodeError:
    return 'holds no Example'
  return records.difference(example.features.feature, params, video_id, index)


def _cut(path, windows, lost):
  """The fault of a shard that is missing or lacks records at its end."""
  if store_mirror.size(path) is None:
    return f'{path}: missing'
  return f'{path}: the last {lost} of its {windows} records are missing or cannot be found'
