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

With more than `video_table.IN_JSON` videos the file has, in place of `videos`, `videos_table`: `name`, `videos`,
`bytes` and `digest` (BLAKE2b) of a Parquet file with the same rows.

A second copy of these files stands beside them, for `tfrecords.verify --repair`.
"""

import bisect
import dataclasses
import io
import json
import math
import os
import pathlib
import re
import shutil

import numpy as np

from audionet_tf.core import digests, files, sealed_json, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import video_table
from audionet_tf.data.params import RecordParams

SCHEMA_VERSION = 1
MANIFEST_NAME, BACKUP_NAME = 'manifest.json', 'manifest.backup.json'
FRAME_BYTES = 16  # of a TFRecord, beside its payload
KEYS = {'schema_version': int, 'windows': int, 'digest': str, 'videos': list, 'shards': list}
VIDEO_KEYS = {'id': str, 'windows': int, 'first_window': int}
OTHER_KEYS = {'params', 'sources', 'shards_asked', 'videos_table'}
SHARD_KEYS = {'name': str, 'windows': int, 'bytes': int}
TABLE_KEYS = {'name': str, 'videos': int, 'bytes': int, 'digest': str}
PARTIAL_NAMES = {files.partial_path(pathlib.Path(name)).name for name in (MANIFEST_NAME, BACKUP_NAME)}
PARTIAL_NAMES |= {'.videos.parquet'}
TABLE_NAME = re.compile(r'videos-[0-9a-f]{8}(\.backup)?\.parquet')


def read(folder, name=MANIFEST_NAME):
  """Reads a manifest, without a look at the shards.

  Args:
    folder: of the records.
    name: of the file.

  Returns:
    dict, with `params` as RecordParams and `videos` as a sequence of dicts, without `checksum`.

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
    if 'videos_table' in manifest:
      manifest['videos'] = read_table(folder, manifest['videos_table'], name == BACKUP_NAME)
    return checked(manifest)
  except (ValueError, TypeError, KeyError, ArithmeticError) as error:
    raise UserError(f'{path}: not a manifest of this program ({text.brief(error)}); {advice}') from None


def read_table(folder, listed, backup):
  """The VideoTable that a manifest names, or its second copy. ValueError, TypeError or KeyError if it is damaged."""
  check_types(listed, TABLE_KEYS)
  if not TABLE_NAME.fullmatch(listed['name']):
    raise ValueError(f'table name {text.brief_value(listed["name"])}')
  path = table_path(folder, listed['name'], backup)
  if not path.is_file() or path.stat().st_size != listed['bytes'] or digests.of_content(path) != listed['digest']:
    raise ValueError(f'{path.name} is missing, or not as it was written')
  return video_table.read(path, listed['videos'])


def table_path(folder, name, backup=False):
  """Path of the table of videos, or of its second copy."""
  return folder / (name.replace('.parquet', '.backup.parquet') if backup else name)


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
  sources = manifest.get('sources', [])
  if type(sources) is not list or not all(type(source) is str for source in sources):
    raise TypeError(f'sources is {text.brief_value(sources)}')
  check_types(manifest, KEYS if 'videos_table' not in manifest else KEYS | {'videos': video_table.VideoTable})
  for shard in shards:
    check_types(shard, SHARD_KEYS)
  before = None
  for video in videos:
    check_types(video, VIDEO_KEYS)
    video_id = video['id'].encode().decode()  # ValueError for what is not UTF-8
    if before is not None and before >= video_id:
      raise ValueError('ids of videos occur twice, or are not in order')
    if video['windows'] < 1 or video['first_window'] < 0:
      raise ValueError('a video without windows, or with negative numbers')
    before = video_id
  for name, listed in (('videos', videos), ('shards', shards)):
    count = sum(row['windows'] for row in listed)
    if count != manifest['windows'] or any(row['windows'] < 0 for row in listed):
      raise ValueError(f'{manifest["windows"]} windows, but {name} with {count}')
  check_sizes(manifest['params'], videos, shards)
  return manifest


def check_types(row, kinds):
  """KeyError or TypeError unless a dict has the keys, with values of these types."""
  for key, kind in kinds.items():
    if type(row[key]) is not kind:  # a bool is an int
      raise TypeError(f'{key} is {text.brief_value(row[key])}')


def check_sizes(params, videos, shards):
  """ValueError for numbers of windows that the shards or the times of records could not hold."""
  last = max(video['first_window'] + video['windows'] for video in videos)
  if params.start_seconds(last) * 1_000_000 >= 2**63:
    raise ValueError(f'window {last} starts later than a record can say')
  if len({shard['name'] for shard in shards}) != len(shards):
    raise ValueError('a shard occurs twice')
  for shard in shards:
    check_name(shard['name'])
    least = shard['windows'] * (FRAME_BYTES + 2 * params.window_samples)
    if shard['bytes'] < least:
      raise ValueError(f'{shard["windows"]} windows of {params.window_seconds} s in {shard["bytes"]} bytes')


def check_name(name):
  """ValueError unless the name of a shard is that of a file in the folder: manifests are untrusted input."""
  os.fsencode(name)  # UnicodeEncodeError, a ValueError, for what no file can be called
  if name in ('', '.', '..') or pathlib.PurePath(name).name != name or '\0' in name:
    raise UserError(f'shard name {text.brief_value(name)} is outside the folder')


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
  if 'videos_table' in manifest:
    del content['videos']
  json.dump(sealed_json.sealed(content), file, indent=1)  # ASCII, as names of folders may not be UTF-8
  return file.getvalue().encode()


def write(folder, manifest):
  """Writes the manifest and then its second copy.

  Args:
    folder: of the records.
    manifest: as `read` returns it; its `videos` may be any sequence.

  Returns:
    The manifest, as `read` returns it.
  """
  folder = pathlib.Path(folder)
  if len(manifest['videos']) > video_table.IN_JSON:
    manifest = with_table(folder, manifest)
  _write(folder, manifest, [name for name, _ in copies(folder, manifest)])
  return manifest


def with_table(folder, manifest):
  """The manifest with its videos in a file, which gets its name by its content."""
  table, new = video_table.from_rows(manifest['videos']), folder / '.videos.parquet'
  video_table.write(new, table)
  digest, size = digests.of_content(new), new.stat().st_size
  listed = {'name': f'videos-{digest[:8]}.parquet', 'videos': len(table), 'bytes': size, 'digest': digest}
  table.path = table_path(folder, listed['name'])
  new.replace(table.path)
  return manifest | {'videos': table, 'videos_table': listed}


def copies(folder, manifest):
  """(name, pathlib.Path of a table to copy or None for the manifest's text) of all files, in the order of writing."""
  listed, rows = manifest.get('videos_table'), []
  for name, backup in ((MANIFEST_NAME, False), (BACKUP_NAME, True)):
    if listed:
      rows.append((table_path(folder, listed['name'], backup).name, manifest['videos'].path))
    rows.append((name, None))
  return rows


def renew(folder, manifest):
  """Writes the manifest and its second copy where they differ from `manifest`."""
  _write(pathlib.Path(folder), manifest, differing(folder, manifest))


def differing(folder, manifest):
  """The names of those of the files that are missing or differ, if only in white space, from `manifest`."""
  folder, content, names = pathlib.Path(folder), written(manifest), []
  for name, table in copies(folder, manifest):
    path = folder / name
    if table:
      same = path.is_file() and digests.of_content(path) == manifest['videos_table']['digest']
    else:
      same = path.is_file() and path.read_bytes() == content
    names += [] if same else [name]
  return names


def _write(folder, manifest, names):
  """Writes the files of these names."""
  content = written(manifest)
  for name, table in copies(folder, manifest):
    if name in names and table != folder / name:
      with files.atomic_write(folder / name, 'wb') as file:
        if table:
          with open(table, 'rb') as source:
            shutil.copyfileobj(source, file)
        else:
          file.write(content)


def remove_unlisted(folder, manifest):
  """Removes what a killed process left of the files of a manifest, and tables that it does not name."""
  folder, listed = pathlib.Path(folder), {name for name, _ in copies(folder, manifest)}
  for path in folder.iterdir():
    unlisted = TABLE_NAME.fullmatch(path.name) and path.name not in listed
    if unlisted or path.name in PARTIAL_NAMES or path.name.endswith('.partial.parquet'):
      path.unlink()


def first_rows(videos):
  """int64 [videos]: what to add to the number of a window to get its row in a table, video after video."""
  counts, first = np.array([(video['windows'], video['first_window']) for video in videos], np.int64).T
  return np.cumsum(counts) - counts - first


def position(videos, video_id):
  """Position of a video in a manifest's list, which is sorted by id. KeyError if it is not there."""
  row = bisect.bisect_left(videos, video_id, key=lambda video: video['id'])
  if row == len(videos) or videos[row]['id'] != video_id:
    raise KeyError(video_id)
  return row
