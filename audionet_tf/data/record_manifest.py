"""The manifest of a folder of records: how the windows were built, of which videos, and in which shards.

| key              | content                                                                                         |
|------------------|-------------------------------------------------------------------------------------------------|
| `schema_version` | SCHEMA_VERSION                                                                                  |
| `params`         | fields of RecordParams                                                                          |
| `sources`        | absolute paths of the builder's arguments                                                       |
| `shards_asked`   | number of shards that was asked for, or null                                                    |
| `windows`        | total number of windows, at least 1                                                             |
| `digest`         | BLAKE2b of all framed records in order                                                          |
| `videos`         | list, sorted by id: `id`, `digest` of the file, `windows`, `first_window`; numbered without gaps |
| `shards`         | list: `name`, `windows`, `bytes`                                                                |
| `checksum`       | of the values of all other keys; older manifests lack it                                        |

A second copy of the file stands beside it, for `tfrecords.verify --repair`.
"""

import dataclasses
import io
import json
import math
import pathlib

import numpy as np

from audionet_tf.core import files, sealed_json, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams

SCHEMA_VERSION = 1
MANIFEST_NAME, BACKUP_NAME = 'manifest.json', 'manifest.backup.json'
FRAME_BYTES = 16  # of a TFRecord, beside its payload
KEYS = {'schema_version': int, 'windows': int, 'digest': str, 'videos': list, 'shards': list}
VIDEO_KEYS = {'id': str, 'windows': int, 'first_window': int}
OTHER_KEYS = {'params', 'sources', 'shards_asked'}
SHARD_KEYS = {'name': str, 'windows': int, 'bytes': int}


def read(folder, name=MANIFEST_NAME):
  """Reads a manifest, without a look at the shards.

  Args:
    folder: of the records.
    name: of the file.

  Returns:
    dict, with `params` as RecordParams, without `checksum`.

  Raises:
    UserError: there is no manifest, it is not as it was written, its values contradict one another, or another schema.
  """
  folder = pathlib.Path(folder)
  path, advice = folder / name, advice_for(folder)
  if not path.is_file():
    raise UserError(f'{folder}: no records here ({name} is missing); build them with python -m tfrecords.build')
  manifest = sealed_json.read(path, 'a manifest of this program', advice)
  version = manifest.get('schema_version')
  if type(version) is int and version != SCHEMA_VERSION:
    raise UserError(
      f'{path}: schema version {version}, but this program reads {SCHEMA_VERSION}; build the records '
      'again, into another folder'
    )
  if manifest.get('windows') == 0:
    raise UserError(f'{folder}: the records are empty; build them again from videos with sound and pictures')
  try:
    return checked(manifest)
  except (ValueError, TypeError, KeyError, ArithmeticError) as error:
    raise UserError(f'{path}: not a manifest of this program ({text.brief(error)}); {advice}') from None


def advice_for(folder):
  """What to do about a damaged manifest or shard in a folder."""
  if (pathlib.Path(folder) / BACKUP_NAME).is_file():
    return f'python -m tfrecords.verify {folder} --repair mends it'
  return 'build the records again, into another folder'


def checked(manifest):
  """The manifest with `params` as RecordParams. ValueError, TypeError or KeyError unless its values fit together."""
  manifest = manifest | {'params': checked_params(manifest['params'])}
  if unknown := manifest.keys() - KEYS.keys() - OTHER_KEYS:  # a damaged name, perhaps of the checksum
    raise ValueError(f'{text.brief_value(min(unknown))} is no key of it')
  videos, shards = manifest['videos'], manifest['shards']
  rows = ((manifest, KEYS), *((video, VIDEO_KEYS) for video in videos), *((shard, SHARD_KEYS) for shard in shards))
  for row, kinds in rows:
    for key, kind in kinds.items():
      if type(row[key]) is not kind:  # a bool is an int
        raise TypeError(f'{key} is {text.brief_value(row[key])}')
  ids = [video['id'].encode().decode() for video in videos]  # ValueError for what is not UTF-8
  if ids != sorted(set(ids)):
    raise ValueError('ids of videos occur twice, or are not in order')
  if any(video['windows'] < 1 or video['first_window'] < 0 for video in videos):
    raise ValueError('a video without windows, or with negative numbers')
  for name, listed in (('videos', videos), ('shards', shards)):
    count = sum(row['windows'] for row in listed)
    if count != manifest['windows'] or any(row['windows'] < 0 for row in listed):
      raise ValueError(f'{manifest["windows"]} windows, but {name} with {count}')
  check_sizes(manifest['params'], videos, shards)
  return manifest


def check_sizes(params, videos, shards):
  """ValueError for numbers of windows that the shards or the times of records could not hold."""
  last = max(video['first_window'] + video['windows'] for video in videos)
  if params.start_seconds(last) * 1_000_000 >= 2**63:
    raise ValueError(f'window {last} starts later than a record can say')
  if len({shard['name'] for shard in shards}) != len(shards):
    raise ValueError('a shard occurs twice')
  for shard in shards:
    if pathlib.PurePath(shard['name']).name != shard['name'] or '\0' in shard['name']:
      raise ValueError(f'shard name {text.brief_value(shard["name"])} is outside the folder')
    least = shard['windows'] * (FRAME_BYTES + 2 * params.window_samples)
    if shard['bytes'] < least:
      raise ValueError(f'{shard["windows"]} windows of {params.window_seconds} s in {shard["bytes"]} bytes')


def checked_params(fields):
  """RecordParams of a dict. TypeError or UserError for a value of another type, or out of range."""
  params = RecordParams(**fields)
  for field in dataclasses.fields(params):
    value, default = getattr(params, field.name), field.default
    if value is None and default is None:
      continue
    kinds = (int, float) if default is None or type(default) is float else (type(default),)
    if type(value) not in kinds or (type(value) is float and not math.isfinite(value)):
      raise TypeError(f'{field.name} is {text.brief_value(value)}')
  return params


def written(manifest):
  """The content of a manifest file, bytes. `manifest`: as `read` returns it."""
  file = io.StringIO()
  content = manifest | {'params': dataclasses.asdict(manifest['params'])}
  json.dump(sealed_json.sealed(content), file, indent=1)  # ASCII, as names of folders may not be UTF-8
  return file.getvalue().encode()


def write(folder, manifest):
  """Writes the manifest and then its second copy. `manifest`: as `read` returns it."""
  _write(folder, written(manifest), (MANIFEST_NAME, BACKUP_NAME))


def renew(folder, manifest):
  """Writes the manifest and its second copy where they differ from `manifest`."""
  _write(folder, written(manifest), differing(folder, manifest))


def differing(folder, manifest):
  """The names of those of the two files that are missing or differ, if only in white space, from `manifest`."""
  paths, content = (pathlib.Path(folder) / name for name in (MANIFEST_NAME, BACKUP_NAME)), written(manifest)
  return [path.name for path in paths if not path.is_file() or path.read_bytes() != content]


def _write(folder, content, names):
  """Writes `content` to the files of these names."""
  for name in names:
    with files.atomic_write(pathlib.Path(folder) / name, 'wb') as file:
      file.write(content)


def first_rows(videos):
  """int64 [videos]: what to add to the number of a window to get its row in a table, video after video."""
  counts, first = np.array([(video['windows'], video['first_window']) for video in videos], np.int64).T
  return np.cumsum(counts) - counts - first
