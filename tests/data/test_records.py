"""Records as TensorFlow parses them, and the errors for damaged folders."""

import dataclasses
import json
import re

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import tfrecord_io

PARAMS = RecordParams(window_seconds=0.5, hop_seconds=0.25, images_per_window=2, sample_rate_hz=8000)


def test_tensorflow_parses_written_records(tmp_path):
  pcm = np.arange(-2000, 2000, dtype=np.int16)
  payload = records.window_example(PARAMS, 'dir/ü.mp4', 3, pcm, [b'first', b'second'])
  path = tmp_path / 'x.tfrecord'
  path.write_bytes(tfrecord_io.framed(payload) * 2)
  read = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]  # checks both CRCs
  assert read == [payload, payload]
  feature = tf.train.Example.FromString(payload).features.feature
  assert set(feature) == set(records.FEATURES)
  assert feature['video/id'].bytes_list.value[0].decode() == 'dir/ü.mp4'
  assert list(feature['window/start_us'].int64_list.value) == [750_000]
  assert list(feature['image/time_us'].int64_list.value) == [875_000, 1_125_000]
  assert list(feature['image/encoded'].bytes_list.value) == [b'first', b'second']
  np.testing.assert_array_equal(np.frombuffer(feature['audio/pcm'].bytes_list.value[0], '<i2'), pcm)


def test_parse_batch():
  pcm = np.array([-32768, 0, 16384, 32767] * 1000, np.int16)
  payload = records.window_example(PARAMS, 'v', 1, pcm, [b'a', b'b'])
  batch = records.parse_batch(tf.constant([payload] * 3), PARAMS, images=True)
  np.testing.assert_array_equal(batch['audio'], np.tile(pcm / 32768, [3, 1]))
  assert batch['image/encoded'].numpy().tolist() == [[b'a', b'b']] * 3
  assert batch['index'].numpy().tolist() == [1, 1, 1]
  assert batch['start_us'].numpy().tolist() == [250_000] * 3
  assert batch['video/id'].numpy().tolist() == [b'v'] * 3
  assert records.parse_batch(tf.constant([payload]), PARAMS).keys() == batch.keys() - {'image/encoded'}


def test_wrong_sizes_are_refused():
  with pytest.raises(ValueError, match='expected int16 \\(4000,\\)'):
    records.window_example(PARAMS, 'v', 0, np.zeros(3, np.int16), [b'a', b'b'])
  with pytest.raises(ValueError, match='1 images, expected 2'):
    records.window_example(PARAMS, 'v', 0, np.zeros(4000, np.int16), [b'a'])
  with pytest.raises(ValueError, match='pcm is float32'):
    records.window_example(PARAMS, 'v', 0, np.zeros(4000, np.float32), [b'a', b'b'])


def changed(**values):
  return dataclasses.replace(PARAMS, **values)


def features_of(params=PARAMS, video='v', index=3, **options):
  """The parsed features of a window of silence."""
  pcm, images = np.zeros(params.window_samples, np.int16), [b'picture'] * params.images_per_window
  payload = records.window_example(params, video, index, pcm, images, **options)
  return tf.train.Example.FromString(payload).features.feature


def test_pictures_may_have_other_times_and_windows_no_pictures():
  assert list(features_of(image_seconds=[0.5, 0.625])['image/time_us'].int64_list.value) == [500_000, 625_000]
  alone = features_of(changed(images_per_window=0))
  assert set(alone) == {name for name in records.FEATURES if not name.startswith('image/')}


@pytest.mark.parametrize(
  ('features', 'message'),
  [
    (lambda: features_of(), None),
    (lambda: features_of(video='w'), r"holds window \[3\] of \['w'\] in place of window 3 of v"),
    (lambda: features_of(index=4), r"holds window \[4\] of \['v'\] in place of window 3 of v"),
    (
      lambda: features_of(changed(hop_seconds=0.5)),
      r'window/start_us is \[1500000\], expected 750000',
    ),
    (
      lambda: features_of(changed(sample_rate_hz=16000)),
      r'audio/sample_rate_hz is \[16000\], expected 8000',
    ),
    (lambda: features_of(changed(window_seconds=0.25)), 'its sound has not 4000 samples'),
    (lambda: features_of(changed(images_per_window=3)), 'has 3 pictures at 3 times, expected 2'),
    (lambda: with_values('image/time_us', 1), 'has 2 pictures at 1 times, expected 2'),
    (lambda: with_values('schema_version', 0), r'schema_version is \[\], expected 1'),
    (lambda: with_values('video/id', 1, b'\xff'), "of \\['\ufffd'\\] in place of"),
  ],
)
def test_what_is_wrong_with_a_record_is_named(features, message):
  found = records.difference(features(), PARAMS, 'v', 3)
  assert found is None if message is None else re.fullmatch(f'.*{message}.*', found)


def with_values(name, count, value=None):
  """As `features_of`, with the first `count` values of a feature, or one other value."""
  features = features_of()
  values = (features[name].bytes_list if features[name].bytes_list.value else features[name].int64_list).value
  values[:] = values[:count] if value is None else [value]
  return features


def test_a_record_is_read_where_it_stands(tmp_path):
  path = tmp_path / 'x.tfrecord'
  framed = [tfrecord_io.framed(tfrecord_io.serialize({'a': [number]})) for number in (5, 6)]
  path.write_bytes(b''.join([*framed, tfrecord_io.framed(b'\xff')]))
  start, length = len(framed[0]), len(framed[1])
  assert list(records.example_at(path, start, length)['a'].int64_list.value) == [6]
  with pytest.raises(ValueError, match=f'record at byte {start + length} holds no Example'):
    records.example_at(path, start + length, 17)
  content = bytearray(path.read_bytes())
  content[start + 13] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f'record at byte {start} has a wrong checksum'):
    records.example_at(path, start, length)
  assert list(records.example_at(path, 0, start)['a'].int64_list.value) == [5]


def test_shards_must_be_there_and_whole(tmp_path):
  (tmp_path / 'a').write_bytes(b'12345')
  shard = {'name': 'a', 'bytes': 5}
  assert records.check_shards(tmp_path, [shard], 'do this') is None
  assert records.shard_paths(tmp_path, {'shards': [shard, {'name': 'b'}]}) == [str(tmp_path / 'a'), str(tmp_path / 'b')]
  for wrong, message in (
    ({'name': 'a', 'bytes': 4}, 'a: missing or truncated; do this'),
    ({'name': 'b', 'bytes': 5}, 'b: missing or truncated; do this'),
    ({'name': '../a', 'bytes': 5}, 'is outside the folder'),
  ):
    with pytest.raises(UserError, match=message):
      records.check_shards(tmp_path / '.', [shard, wrong], 'do this')


def edit_manifest(folder, change):
  """Applies `change` to the manifest in a folder."""
  path = folder / records.MANIFEST_NAME
  manifest = json.loads(path.read_text())
  change(manifest)
  path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda m: m.update(schema_version=99), 'schema version 99'),
    (lambda m: m.update(windows=0), 'records are empty'),
    (lambda m: m.pop('params'), 'not a manifest'),
    (lambda m: m['shards'][0].update(bytes=1), '2 windows of 0.04 s in 1 bytes'),
    (lambda m: m['shards'][0].update(bytes=m['shards'][0]['bytes'] + 1), 'missing or truncated'),
    (lambda m: m['shards'][0].update(name='../../etc/passwd'), 'is outside the folder'),
    (lambda m: m['shards'][0].update(name=7), 'not a manifest'),
    (lambda m: m['shards'].append(m['shards'][0]['name']), 'not a manifest'),
    (lambda m: m.update(windows='4'), 'not a manifest'),
    (lambda m: m.update(videos={}), 'not a manifest'),
    (lambda m: m.pop('digest'), "not a manifest.*'digest'"),
    (lambda m: m.pop('videos'), "not a manifest.*'videos'"),
    (lambda m: m['videos'][0].pop('id'), "not a manifest.*'id'"),
    (lambda m: m['videos'][1].pop('windows'), "not a manifest.*'windows'"),
    (lambda m: m['videos'][1].pop('first_window'), "not a manifest.*'first_window'"),
  ],
)
def test_damaged_folders_are_named(tmp_path, change, message):
  synthetic_records.write_records(tmp_path, {'a': 2, 'b': 2})
  assert records.read_manifest(tmp_path)['windows'] == 4
  edit_manifest(tmp_path, change)
  with pytest.raises(UserError, match=message):
    records.read_manifest(tmp_path)


def test_folders_without_records_are_named(tmp_path):
  with pytest.raises(UserError, match='no records here'):
    records.read_manifest(tmp_path)
