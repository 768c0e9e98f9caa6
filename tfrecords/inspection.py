"""Compares the shards of a folder with its manifest: every checksum, the place of every record, the digest of all.

It needs the manifest's contract (`data/record_manifest.py`) and the order of windows, and reads each shard once.
"""

import dataclasses
import hashlib
import pathlib
import shutil

import numpy as np
from google.protobuf import message

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import record_manifest, records, tfrecord_io
from audionet_tf.data.record_manifest import MANIFEST_NAME
from tfrecords import shards


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What is in the shards.

  Attributes:
    windows: dict of video id to shards.Windows, of the videos all of whose records are as they were built.
    faults: list of str, one line each; empty if the shards are those of the manifest.
  """

  windows: dict
  faults: list


class Expected:
  """The windows that the shards should hold, by their position in the order of the shards."""

  def __init__(self, videos):
    counts = [video['windows'] for video in videos]
    self.videos, self.ends = videos, np.cumsum(counts)
    self.order = shards.hashed_order([(v['id'], v['first_window'], v['windows']) for v in videos])
    self.firsts = np.array([video['first_window'] for video in videos]) - (self.ends - counts)

  def at(self, position):
    """(number of the video, number of the window) at a position."""
    counted = self.order[position]
    video = int(np.searchsorted(self.ends, counted, 'right'))
    return video, int(counted + self.firsts[video])


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
  if size > most:
    raise UserError(
      f'{folder}/{MANIFEST_NAME}: not a manifest of this program (shards of {size} bytes on a disk of {most}); '
      f'{record_manifest.advice_for(folder)}'
    )
  videos, expected = manifest['videos'], Expected(manifest['videos'])
  offsets, lengths = np.zeros([2, manifest['windows']], np.int64)
  broken, faults, digest, position = np.zeros(len(videos), bool), [], hashlib.blake2b(digest_size=16), 0
  paths = [str(pathlib.Path(folder) / shard['name']) for shard in manifest['shards']]
  for path, shard in zip(paths, manifest['shards'], strict=True):
    end, misplaced = position + shard['windows'], []
    try:
      for offset, framed, fault in tfrecord_io.checked_records(path):
        if position == end:
          faults.append(f'{path}: more than the {shard["windows"]} records of the manifest, from byte {offset} on')
          break
        video, index = expected.at(position)
        difference = None if fault else _difference(framed, manifest['params'], videos[video]['id'], index)
        broken[video] |= bool(fault or difference)
        if fault:
          window = f'window {index} of {text.printable(videos[video]["id"])}'
          faults.append(f'{path}: record at byte {offset} ({window}): {fault}')
        elif difference:
          misplaced.append(f'at byte {offset} {difference}')
        offsets[position], lengths[position] = offset, len(framed)
        digest.update(framed)
        position += 1
        progress(1)
    except FileNotFoundError:
      pass
    if misplaced:  # the manifest may be what is wrong, so that its numbers cannot be trusted for any video
      broken[:] = True
      faults.append(f'{path}: {len(misplaced)} records are not those of the manifest; the first, {misplaced[0]}')
    if position < end:
      faults.append(_cut(path, shard['windows'], end - position))
      broken[[expected.at(lost)[0] for lost in range(position, end)]] = True
      progress(end - position)
      position = end
  if not faults and digest.hexdigest() != manifest['digest']:
    faults.append(f'{folder}: the records have another digest than in the manifest; which of them changed is not known')
    broken[:] = True
  return Inspection(_windows(videos, broken, expected, paths, manifest, offsets, lengths), faults)


def _difference(framed, params, video_id, index):
  """What of a framed record is not as it should be, or None."""
  try:
    example = tfrecord_io.example_class().FromString(framed[12:-4])
  except message.DecodeError:
    return 'holds no Example'
  return records.difference(example.features.feature, params, video_id, index)


def _cut(path, windows, lost):
  """The fault of a shard that is missing or lacks records at its end."""
  if not pathlib.Path(path).exists():
    return f'{path}: missing'
  return f'{path}: the last {lost} of its {windows} records are missing or cannot be found'


def _windows(videos, broken, expected, paths, manifest, offsets, lengths):
  """dict of id to shards.Windows of the videos that are not broken."""
  place = np.empty(len(expected.order), np.int64)
  place[expected.order] = np.arange(len(expected.order))  # of each window, counted video by video, in the shards
  shard_of = np.repeat(np.arange(len(paths)), [shard['windows'] for shard in manifest['shards']])
  found = {}
  for video, end, is_broken in zip(videos, expected.ends, broken, strict=True):
    if not is_broken:
      places = place[end - video['windows'] : end]
      files = [paths[shard] for shard in shard_of[places]]
      found[video['id']] = shards.Windows(
        video['id'], video['digest'], video['first_window'], files, offsets[places], lengths[places]
      )
  return found
