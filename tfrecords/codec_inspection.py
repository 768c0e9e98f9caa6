"""Compares stored codec variants with their manifest and with the records: checksums, sizes, order, digests."""

import hashlib

import numpy as np
from google.protobuf import message

from audionet_tf.data import codec_variants
from audionet_tf.data.shards import tfrecord_io
from tfrecords import stored_inspection


def inspect(folder, manifest, progress=lambda count: None):
  """Reads all variants in a folder, as `stored_inspection.inspect`."""
  return stored_inspection.inspect(KIND, folder, manifest, progress)


def _strange(folder, stored, manifest, of_these):
  """What in a manifest of variants does not fit its folder, or the records if it is of these."""
  if codec_variants.key(stored['records_digest'], stored['codecs']) != folder.name:
    yield 'not that of this folder'
  elif of_these and [row['windows'] for row in stored['shards']] != [row['windows'] for row in manifest['shards']]:
    yield 'its windows are not those of the records'


def _problem(path, row, stored, places):
  """What is wrong with a file of variants, or None.

  Args:
    path: of the file.
    row: of the manifest: dict of `windows` and `digest`; without a manifest they are not known.
    stored, places: as for `stored_inspection.Kind`.
  """
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
  count, size = row['windows'] * len(stored['codecs']), codec_variants.record_bytes(stored['window_samples'])
  if len(lengths) != count + 1 or set(lengths[:-1]) - {size}:
    return f'has not {len(stored["codecs"])} variants of {row["windows"]} windows'
  if places is not None and not np.array_equal(found, places):
    return 'its windows are not those of the records, in their order'
  return None if digest.hexdigest() == row['digest'] else 'has another digest than in its manifest'


KIND = stored_inspection.Kind('codecs-*', codec_variants.parse_manifest, _strange, _problem)
