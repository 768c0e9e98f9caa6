"""Manifests of many videos: a small JSON beside a Parquet table, with second copies, checked as those of few are."""

import contextlib
import json
import types

import built_records
import flips
import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data import parquet_pages, record_manifest, records, video_table
from audionet_tf.data.params import RecordParams
from tfrecords import verification


@pytest.fixture
def two_in_json(monkeypatch):
  monkeypatch.setattr(video_table, 'IN_JSON', 2)


def rows(count):
  return [{'id': f'{i:02d}.mkv', 'digest': f'd{i}', 'windows': 1 + i, 'first_window': i % 2} for i in range(count)]


def manifest(count):
  windows = sum(row['windows'] for row in rows(count))
  return {
    'schema_version': 1,
    'params': RecordParams(),
    'sources': ['/videos'],
    'shards_asked': None,
    'windows': windows,
    'digest': 'd',
    'videos': rows(count),
    'shards': [{'name': '0.tfrecord', 'windows': windows, 'bytes': windows * 2000}],
  }


@pytest.mark.usefixtures('two_in_json')
def test_a_table_is_read_as_the_list_that_was_written(tmp_path, monkeypatch):
  monkeypatch.setattr(video_table, 'BATCH_ROWS', 3)
  record_manifest.write(tmp_path, manifest(8))
  content = json.loads((tmp_path / 'manifest.json').read_text())
  assert 'videos' not in content and content['videos_table']['videos'] == 8
  for name in ('manifest.json', 'manifest.backup.json'):
    videos = record_manifest.read(tmp_path, name)['videos']
    assert list(videos) == [videos[i] for i in range(8)] == videos[:8] == rows(8) and videos[-1] == rows(8)[7]
    assert len(videos) == 8 and videos == rows(8)
    np.testing.assert_array_equal(record_manifest.first_rows(videos), record_manifest.first_rows(rows(8)))
  with pytest.raises(IndexError):
    videos[8]
  assert [record_manifest.position(videos, row['id']) for row in rows(8)] == list(range(8))
  for missing in ('', '00', '03.mkw', 'x'):
    with pytest.raises(KeyError):
      record_manifest.position(videos, missing)


@pytest.mark.usefixtures('two_in_json')
def test_few_videos_stay_json(tmp_path):
  record_manifest.write(tmp_path, manifest(2))
  assert json.loads((tmp_path / 'manifest.json').read_text())['videos'] == rows(2)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['manifest.backup.json', 'manifest.json']


@pytest.mark.usefixtures('two_in_json')
@pytest.mark.parametrize('which', ['manifest.json', 'manifest.backup.json', 'videos-', 'videos-backup'])
@pytest.mark.parametrize('damage', ['flip', 'cut', 'gone'])
def test_damage_of_any_file_is_found_and_repaired(tmp_path, which, damage):
  videos, folder = built_records.three(tmp_path / 'videos'), tmp_path / 'records'
  built_records.build(videos, folder)
  files = flips.contents(folder)
  tables = sorted(folder.glob('videos-*.parquet'))  # the second copy comes first
  path = {'videos-': tables[-1], 'videos-backup': tables[0]}.get(which, folder / which)
  assert len(tables) == 2 and verification.verify(folder) == []
  if damage == 'flip':
    flips.flip(path, 0, 200, 210)
  elif damage == 'cut':
    path.write_bytes(path.read_bytes()[:-1])
  else:
    path.unlink()
  if (which, damage) == ('manifest.backup.json', 'gone'):  # as of an older version
    assert verification.verify(folder) == []
    return
  faults = verification.verify(folder)
  assert len(faults) == 1 and str(path.name) in faults[0], faults
  if which in ('manifest.json', 'videos-') and (which, damage) != ('manifest.json', 'gone'):
    with pytest.raises(UserError, match=r'manifest.json: .*--repair'):
      records.read_manifest(folder)
  assert verification.repair(folder) == (faults, [])
  assert flips.contents(folder) == files


@pytest.mark.usefixtures('two_in_json')
def test_builds_go_on_from_one_form_to_the_other(tmp_path):
  videos, folder = built_records.three(tmp_path / 'videos'), tmp_path / 'records'
  built_records.build(videos, folder)
  assert built_records.build(videos, folder).built == 0
  (old,) = (path.name for path in folder.glob('videos-*.parquet') if 'backup' not in path.name)
  media_clips.write(videos / 'd.mkv', seconds=0.4)
  assert built_records.build(videos, folder).kept == 3
  assert not (folder / old).exists() and len(list(folder.glob('videos-*'))) == 2
  for name in ('b.mkv', 'd.mkv'):
    (videos / name).unlink()
  assert built_records.build(videos, folder).kept == 2
  assert not list(folder.glob('videos-*')) and verification.verify(folder) == []
  built_records.build(videos, tmp_path / 'fresh')
  assert flips.contents(folder) == flips.contents(tmp_path / 'fresh')


BAD = {
  'outside': {'name': '../videos-00000000.parquet'},
  'another name': {'name': 'x.parquet'},
  'other rows': {'videos': 7},
  'other size': {'bytes': 1},
  'text': {'videos': '8'},
}


@pytest.mark.usefixtures('two_in_json')
@pytest.mark.parametrize('name', BAD)
def test_tables_that_do_not_fit_are_refused(tmp_path, name):
  record_manifest.write(tmp_path, manifest(8))
  path = tmp_path / 'manifest.json'
  content = json.loads(path.read_text())
  del content['checksum']
  content['videos_table'] |= BAD[name]
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match='not a manifest of this program'):
    record_manifest.read(tmp_path)


def test_strange_parquet_is_refused(tmp_path):
  import pyarrow
  from pyarrow import parquet

  good = video_table.from_rows(rows(4)).table
  for change, message in (
    (good.drop_columns(['digest']), 'columns'),
    (good.set_column(2, 'windows', pyarrow.array([1.0] * 4)), 'columns'),
    (good.slice(1), '3 videos'),
    (good.set_column(0, 'id', pyarrow.array(['a', None, 'b', 'c'])), 'missing'),
  ):
    parquet.write_table(change, tmp_path / 'x.parquet', use_dictionary=False)
    with pytest.raises(ValueError, match=message):
      video_table.read(tmp_path / 'x.parquet', 4)
  for strange in ({}, {'use_dictionary': False, 'column_encoding': {'id': 'DELTA_BYTE_ARRAY'}}):
    parquet.write_table(good, tmp_path / 'x.parquet', **strange)  # a dictionary by default
    with pytest.raises(ValueError, match='encoded by .*, expected is PLAIN'):
      video_table.read(tmp_path / 'x.parquet', 4)
  (tmp_path / 'x.parquet').write_bytes(b'PAR1' * 10)
  with pytest.raises(ValueError):
    video_table.read(tmp_path / 'x.parquet', 4)


def varint(value, length=None):
  """Bytes of a positive number in Thrift's compact protocol, padded to a length."""
  value, data = 2 * value, b''
  while value >= 128 or len(data) + 1 < (length or 0):
    data += bytes([128 | value & 127])
    value >>= 7
  return data + bytes([value])


def test_tables_that_unpack_to_more_than_they_say_are_refused(tmp_path):
  from pyarrow import parquet

  path, bomb = tmp_path / 'x.parquet', 'x' * (32 << 20)
  video_table.write(path, video_table.from_rows([{**row, 'id': bomb + row['id']} for row in rows(4)]))
  size = parquet.ParquetFile(path).metadata.row_group(0).total_byte_size
  content = path.read_bytes()
  assert size > 128 << 20 and content.count(varint(size)) == 1 and len(content) < 1 << 20
  path.write_bytes(content.replace(varint(size), varint(1000, len(varint(size)))))
  assert parquet.ParquetFile(path).metadata.row_group(0).total_byte_size == 1000
  with pytest.raises(ValueError, match='unpack to'):
    video_table.read(path, 4)
  video_table.write_epoch(path, {'id': [bomb] * 2, 'kldiv': np.zeros(2)})
  with pytest.raises(ValueError, match='unpack to'):
    video_table.read_epoch(path, 'kldiv')


def test_missing_values_take_no_more_than_the_file(tmp_path):
  """A page of runs of missing values is as small as its count is large."""
  import pyarrow
  from pyarrow import parquet

  count = 1 << 21
  nothing = pyarrow.table({name: pyarrow.nulls(count, kind) for name, kind in (
    ('id', pyarrow.string()), ('digest', pyarrow.string()), ('windows', pyarrow.int64()),
    ('first_window', pyarrow.int64()))})  # fmt: skip
  parquet.write_table(nothing, tmp_path / 'x.parquet', use_dictionary=False)
  with pytest.raises(ValueError, match=f'{count} videos in a file of'):
    video_table.read(tmp_path / 'x.parquet', count)


HEAD = bytes([0x15, 0, 0x15, 20, 0x15, 10, 0x2C, 0x15, 8, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0])  # 10 bytes packed to 5
EMPTY = bytes([*HEAD[:3], 0, *HEAD[4:5], 0, *HEAD[6:]])


def test_heads_of_pages():
  assert parquet_pages.page(HEAD + b'rest') == (0, 10, 5, 0, len(HEAD))
  for number in range(len(HEAD)):
    with pytest.raises(ValueError):
      parquet_pages.page(HEAD[:number])
  long = bytes([0x15, 0, 0x15, *b'\x80\x80\x80\x80\x20', *HEAD[4:]])  # 2 ** 32
  again = bytes([*HEAD[:4], 0x05, 4, 2, *HEAD[4:]])  # field 2 twice
  far = bytes([*HEAD[:-1], 0x05, *b'\x84\x80\x08', 2, 0])  # field 65538, in 16 bits 2
  deep = bytes([*HEAD[:-1], *[0x1C] * 50, *[0] * 51])
  for strange in (long, again, far, deep, bytes([*HEAD[:-1], 0x19, 0x05, 0])):
    with pytest.raises(ValueError):
      parquet_pages.page(strange)


@pytest.mark.parametrize(('groups', 'pages', 'refusal'), [
  (1, HEAD + bytes(5), None),
  (1, EMPTY + HEAD + bytes(5), None),  # a column without values has one
  (1, EMPTY * 2, 'empty pages'),
  (1000, HEAD + bytes(5), 'more than the file'),  # all of them the same bytes
  (1000, EMPTY, 'more than the file'),
])  # fmt: skip
def test_work_for_pages_is_bounded_by_the_file(tmp_path, groups, pages, refusal):
  (tmp_path / 'x').write_bytes(pages)
  column = types.SimpleNamespace(
    data_page_offset=0, total_compressed_size=len(pages), dictionary_page_offset=None, path_in_schema='id'
  )
  group = types.SimpleNamespace(num_columns=1, column=lambda number: column)
  metadata = types.SimpleNamespace(num_row_groups=groups, row_group=lambda number: group)
  with pytest.raises(ValueError, match=refusal) if refusal else contextlib.nullcontext():
    parquet_pages.check(tmp_path / 'x', metadata, 1 << 40)


def test_damaged_pages_are_a_value_error(tmp_path):
  video_table.write(tmp_path / 'x.parquet', video_table.from_rows(rows(4)))
  assert len(video_table.read(tmp_path / 'x.parquet', 4)) == 4
  video_table.write_epoch(tmp_path / 'y.parquet', {'id': ['a', 'b'], 'kldiv': np.arange(2.0)})
  for name in ('x.parquet', 'y.parquet'):
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:4] + bytes(0x5A ^ byte for byte in content[4:20]) + content[20:])
  with pytest.raises(ValueError):
    video_table.read(tmp_path / 'x.parquet', 4)
  with pytest.raises(ValueError):
    video_table.read_epoch(tmp_path / 'y.parquet', 'kldiv')
  with pytest.raises(FileNotFoundError):
    video_table.read_epoch(tmp_path / 'z.parquet', 'kldiv')
