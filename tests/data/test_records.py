"""Records as TensorFlow parses them, and the errors for damaged folders."""

import json

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import records, tfrecord_io
from audionet_tf.data.params import RecordParams

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


def test_offsets_find_every_record(tmp_path):
  payloads = [b'x' * n for n in (0, 5, 1000)]
  path = tmp_path / 'x.tfrecord'
  path.write_bytes(b''.join(tfrecord_io.framed(p) for p in payloads))
  data = path.read_bytes()
  slices = [data[start : start + size][12:-4] for start, size in tfrecord_io.record_offsets(path)]
  assert slices == payloads
  path.write_bytes(data[:-1])
  with pytest.raises(UserError, match='ends inside a record'):
    tfrecord_io.record_offsets(path)


def test_wrong_sizes_are_refused():
  with pytest.raises(ValueError, match='expected int16 \\(4000,\\)'):
    records.window_example(PARAMS, 'v', 0, np.zeros(3, np.int16), [b'a', b'b'])
  with pytest.raises(ValueError, match='1 images, expected 2'):
    records.window_example(PARAMS, 'v', 0, np.zeros(4000, np.int16), [b'a'])


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
