"""Codec variants: the sound of every window as each codec of `media/codecs.py` brings it, stored beside the records.

`RECORDS/codecs/<key>/` holds one TFRecord file for every shard of the records, with the same windows in the same order.
The key is a digest of the records and of the table of codecs. All records of a file but the last have the same length,
so that training reads the one that it draws, where it is, and no other.

| record of a file of n windows | payload                                                                              |
|-------------------------------|--------------------------------------------------------------------------------------|
| w c + i, for n windows and c  | sound of window w through codec i: int16, little-endian, as many samples as in the   |
| codecs in the table's order   | record                                                                               |
| the last                      | an Example: `video`, n positions in the manifest's list of videos; `index`, n window |
|                               | numbers                                                                              |
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np
from google.protobuf import message

from audionet_tf.core import digests, sealed_json, text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import record_manifest, records
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.media import codecs

FORMAT_VERSION = 1
FOLDER = 'codecs'
KEYS = {'format_version': int, 'records_digest': str, 'window_samples': int, 'windows': int, 'codecs': list}
SHARD_KEYS = record_manifest.SHARD_KEYS | {'digest': str}


@dataclasses.dataclass(frozen=True)
class Variants:
  """The stored variants of records.

  Attributes:
    count: number of variants of each window.
    paths: list of the files, str.
    digest: of all files.
    read: (positions of videos int64 [n], numbers of windows int64 [n], numbers of variants int32 [n]) -> int16
      [n, samples], NumPy. ValueError if a checksum is wrong.
  """

  count: int
  paths: list
  digest: str
  read: Callable


def key(records_digest, table=None):
  """Name of the folder: 16 hex digits of a digest of all that decides what is stored.

  Args:
    records_digest: of the records.
    table: as in a manifest; None for today's.
  """
  table = codec_table() if table is None else table
  return digests.of_text(json.dumps([FORMAT_VERSION, records_digest, table], sort_keys=True))[:16]


def codec_table():
  """The table of codecs as a manifest lists it: list of dicts, in the order in which variants are stored."""
  return [{'name': name, **dataclasses.asdict(codec)} for name, codec in codecs.CODECS.items()]


def record_bytes(window_samples):
  """Length of a framed record with the sound of a window."""
  return 2 * window_samples + record_manifest.FRAME_BYTES


def opened(folder, manifest):
  """The Variants of a finished folder. `manifest`: of the records."""
  stored = read_manifest(folder)
  paths, count, samples = records.shard_paths(folder, stored), len(stored['codecs']), stored['window_samples']
  rows, length = record_manifest.first_rows(manifest['videos']), record_bytes(samples)
  shard_of, row_of = np.zeros([2, manifest['windows']], np.int64)
  for number, (path, shard) in enumerate(zip(paths, stored['shards'], strict=True)):
    video, index = read_order(path, shard['windows'], count, samples).T
    shard_of[rows[video] + index], row_of[rows[video] + index] = number, np.arange(len(video))

  def read(video, index, variant):
    places = rows[video] + index
    sound = np.empty([len(places), samples], np.int16)
    for i, (shard, row, number) in enumerate(zip(shard_of[places], row_of[places], variant, strict=True)):
      with open(store_mirror.present(paths[shard]), 'rb', buffering=0) as file:
        file.seek((int(row) * count + int(number)) * length)
        framed = file.read(length)
      if tfrecord_io.framed(framed[12:-4]) != framed:
        raise ValueError(f'{paths[shard]}: window {row}, variant {number}: wrong checksum')
      sound[i] = np.frombuffer(framed[12:-4], '<i2')
    return sound

  return Variants(count, paths, digests.of_text(' '.join(shard['digest'] for shard in stored['shards'])), read)


def read_order(path, windows, count, samples):
  """The windows of a file, from its last record: int64 [windows, 2], positions of videos and window numbers.

  Raises:
    UserError: the file is not whole.
  """
  try:
    with open(store_mirror.present(path), 'rb') as file:
      file.seek(windows * count * record_bytes(samples))
      framed = file.read()
    if tfrecord_io.framed(framed[12:-4]) != framed:
      raise ValueError('its last record has a wrong checksum')
    order = order_of(framed)
    if len(order) != windows:
      raise ValueError(f'it lists {len(order)} windows, expected {windows}')
  except (OSError, ValueError, message.DecodeError) as error:
    raise UserError(f'{path}: damaged ({text.brief(error)}); {advice_for(pathlib.Path(path).parent)}') from None
  return order


def order_of(framed):
  """The windows that a last record lists, int64 [windows, 2]. ValueError or DecodeError if it is something else."""
  features = tfrecord_io.example_class().FromString(framed[12:-4]).features.feature
  rows = zip(features['video'].int64_list.value, features['index'].int64_list.value, strict=True)
  return np.array(list(rows), np.int64).reshape(-1, 2)


def advice_for(folder):
  """What to do about damaged variants in a folder."""
  if store_mirror.mirror_of(folder):  # verify repairs on this machine only
    return f'delete {folder} and train again'
  return f'python -m tfrecords.verify {pathlib.Path(folder).parents[1]} --repair takes them away, then train again'


def read_manifest(folder):
  """Reads the manifest of a folder of variants, and checks that its files are there.

  Returns:
    dict: `format_version`; `records_digest`; `window_samples`; `windows`; `codecs`, as `codec_table`; `shards`, list of
    dicts `name`, `windows`, `bytes`, `digest` (BLAKE2b).

  Raises:
    UserError: no manifest, another format, or a file that is missing or truncated.
  """
  manifest = parse_manifest(folder)
  records.check_shards(folder, manifest['shards'], advice_for(folder))
  return manifest


def parse_manifest(folder):
  """As `read_manifest`, without a look at the files."""
  path, kind = pathlib.Path(folder) / records.MANIFEST_NAME, 'a manifest of codec variants'
  if not path.is_file():
    raise UserError(f'{folder}: no finished codec variants here ({records.MANIFEST_NAME} is missing); train again')
  manifest = sealed_json.read(path, kind, advice_for(folder))
  try:
    record_manifest.check_types(manifest, KEYS)
    for shard in manifest['shards']:
      record_manifest.check_types(shard, SHARD_KEYS)
      record_manifest.check_name(shard['name'])
    if manifest['format_version'] != FORMAT_VERSION:
      raise ValueError(f'format {manifest["format_version"]}, but this program reads {FORMAT_VERSION}')
    if sum(shard['windows'] for shard in manifest['shards']) != manifest['windows']:
      raise ValueError(f'{manifest["windows"]} windows, but shards with others')
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f'{path}: not {kind} ({text.brief(error)}); {advice_for(folder)}') from None
  return manifest


def is_whole(folder, manifest):
  """Whether manifest and files of variants are in the folder: of these records, through today's codecs.

  Args:
    folder: pathlib.Path of the variants.
    manifest: that of the records.
  """
  try:
    stored = read_manifest(folder)
  except UserError:
    return False
  windows = [[row['windows'] for row in rows['shards']] for rows in (stored, manifest)]
  same = stored['records_digest'] == manifest['digest'] and stored['codecs'] == codec_table()
  return same and windows[0] == windows[1] and stored['window_samples'] == manifest['params'].window_samples
