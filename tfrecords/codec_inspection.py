"""Compares stored codec variants with their manifest and with the records: checksums, sizes, order, digests."""

import hashlib

import numpy as np
from google.protobuf import message

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import codec_variants
from audionet_tf.data.record_manifest import MANIFEST_NAME
from audionet_tf.data.shards import tfrecord_io
from tfrecords import hashed_order


def inspect(folder, manifest, progress=lambda count: None):
  """Reads all variants in a folder. Variants of other records are compared with their own manifest only.

  Args:
    folder: pathlib.Path of the stored variants.
    manifest: of the records beside them, from `record_manifest.read`.
    progress: function that is called with the number of windows read since the last call.

  Returns:
    list of (pathlib.Path of the damaged file, fault of one line). A folder that a training has not finished has files
    without a manifest.
  """
  path, stored, faults = folder / MANIFEST_NAME, None, []
  if path.is_file():
    try:
      stored = codec_variants.parse_manifest(folder)
    except UserError as error:
      faults.append((path, str(error)))
  of_these = stored is not None and stored['records_digest'] == manifest['digest']
  if stored is not None and codec_variants.key(stored['records_digest'], stored['codecs']) != folder.name:
    faults.append((path, f'{path}: not that of this folder'))
  elif of_these and [row['windows'] for row in stored['shards']] != [row['windows'] for row in manifest['shards']]:
    faults.append((path, f'{path}: its windows are not those of the records'))
  expected = hashed_order.Windows(manifest['videos']) if of_these and not faults else None
  rows = stored['shards'] if stored else [{'name': name} for name in store_mirror.names(folder, 'codecs-*')]
  for row in rows:
    windows = row.get('windows', 0)
    places = expected.take(windows) if expected else None
    problem = _problem(folder / row['name'], row, stored, places)
    if problem:
      faults.append((folder / row['name'], f'{folder / row["name"]}: {problem}'))
    progress(windows)
  return faults


def _problem(path, row, stored, places):
  """What is wrong with a file of variants, or None.

  Args:
    path: of the file.
    row: of the manifest: dict of `windows` and `digest`; without a manifest they are not known.
    stored: the manifest, or None.
    places: int64 [windows, 2], positions of videos and numbers of windows that it should hold in this order, or None.
  """
  if store_mirror.size(path) is None:
    return 'missing'
  lengths, digest, last = [], hashlib.blake2b(digest_size=16), b''
  for offset, framed, fault in tfrecord_io.checked_records(path):
    if fault:
      return f'record at byte {offset}: {fault}'
    lengths.append(len(framed))
    digest.update(framed)
    last = framed
  try:
    found = codec_variants.order_of(last)
  except (ValueError, message.DecodeError):
    return 'its last record does not list its windows'
  if stored is None:
    return None
  count = row['windows'] * len(stored['codecs'])
  if lengths[:-1] != [codec_variants.record_bytes(stored['window_samples'])] * count:
    return f'has not {len(stored["codecs"])} variants of {row["windows"]} windows'
  if places is not None and not np.array_equal(found, places):
    return 'its windows are not those of the records, in their order'
  return None if digest.hexdigest() == row['digest'] else 'has another digest than in its manifest'
