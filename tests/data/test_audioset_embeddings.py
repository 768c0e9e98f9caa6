"""AudioSet's embeddings: writing, reading, and batches for training."""

import dataclasses
import json
import os

import keras
import media_clips
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings, input_pipeline
from audionet_tf.models import student_file, student_settings
from audionet_tf.models.networks import vggish
from audionet_tf.representations import extraction, files, maps
from audionet_tf.saved_model import layer_outputs

RNG = np.random.default_rng(0)
TINY = {'convolutions': (('conv1', 2), ('pool1', None), ('pool2', None)), 'dense': (('fc2', 128),)}


def write_audioset(path, examples):
  """Writes a file in AudioSet's format. `examples`: list of (id, labels, u8 [T, 128])."""
  with tf.io.TFRecordWriter(str(path)) as writer:
    for video, labels, rows in examples:
      feature = {
        'video_id': tf.train.Feature(bytes_list=tf.train.BytesList(value=[video.encode()])),
        'start_time_seconds': tf.train.Feature(float_list=tf.train.FloatList(value=[30.0])),
        'end_time_seconds': tf.train.Feature(float_list=tf.train.FloatList(value=[40.0])),
        'labels': tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
      }
      steps = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.tobytes()])) for row in rows]
      lists = {'audio_embedding': tf.train.FeatureList(feature=steps)}
      example = tf.train.SequenceExample(
        context=tf.train.Features(feature=feature), feature_lists=tf.train.FeatureLists(feature_list=lists)
      )
      writer.write(example.SerializeToString())
  return path


def rows(steps, seed=0):
  return np.random.default_rng(seed).integers(0, 256, [steps, 128]).astype(np.uint8)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  """(folder, paths of two sounds, dict of format to their feature files)."""
  folder = tmp_path_factory.mktemp('features')
  keras.utils.set_random_seed(0)
  model = vggish.vggish({}, quantised=True, **TINY)
  student_file.save(folder / 's.keras', model, student_settings.StudentConfig('vggish_pca', 16000, 'mean', 0.975, {}))
  sounds = [RNG.uniform(-1, 1, [1, round(seconds * 16000)]).astype(np.float32) for seconds in (3.5, 40)]
  paths = [
    media_clips.write(folder / f'{i}.wav', times=[], sounds=[sound], rate_hz=16000) for i, sound in enumerate(sounds)
  ]
  loaded = layer_outputs.load(folder / 's.keras', ['pca'])
  outputs = {kind: extraction.extract(loaded, paths, folder, kind)['outputs'] for kind in ('npz', 'tfrecord')}
  return folder, paths, outputs


@pytest.mark.parametrize('kind', files.FORMATS)
def test_a_name_that_is_not_utf8_is_written_and_found_again(written, tmp_path, kind):
  folder, (sound, _), outputs = written
  path = tmp_path / os.fsdecode(b'caf\xe9.wav')
  path.write_bytes(sound.read_bytes())
  model = layer_outputs.load(folder / 's.keras', ['pca'])
  for _ in range(2):  # to write it, and to keep it
    done = extraction.extract(model, [path], tmp_path, kind)
    assert done['unreadable'] == done['renewed'] == []
    _, found = files.read(done['outputs'][path], ['pca'])
    _, expected = files.read(outputs['npz'][sound], ['pca'])
    np.testing.assert_array_equal(found['pca'][0], expected['pca'][0])


def test_tensorflow_parses_written_features(written):
  _, paths, outputs = written
  for path, steps in zip(paths, (3, 41), strict=True):
    (raw,) = list(tf.data.TFRecordDataset(str(outputs['tfrecord'][path])))
    context, lists = tf.io.parse_single_sequence_example(
      raw,
      {name: tf.io.FixedLenFeature([], tf.float32) for name in ('start_time_seconds', 'end_time_seconds')},
      {'audio_embedding': tf.io.FixedLenSequenceFeature([], tf.string)},
    )
    embedding = tf.io.decode_raw(lists['audio_embedding'], tf.uint8).numpy()
    _, expected = files.read(outputs['npz'][path], ['pca'])
    assert embedding.shape == (steps, 128)
    np.testing.assert_array_equal(embedding, expected['pca'][0])
    assert float(context['start_time_seconds']) == 0
    assert float(context['end_time_seconds']) == pytest.approx(0.96 * steps)


def test_features_round_trip_in_both_formats(written):
  folder, paths, outputs = written
  for path in paths:
    (about, features), (other, expected) = (files.read(outputs[kind][path], ['pca']) for kind in outputs)
    for actual, desired in zip(features['pca'], expected['pca'], strict=True):
      np.testing.assert_allclose(actual, desired, atol=1e-4)
    assert about == other
    np.testing.assert_allclose(maps.read_mean(outputs['tfrecord'][path], 'pca'), expected['pca'][0].mean(0), rtol=1e-5)
  again = extraction.extract(layer_outputs.load(folder / 's.keras', ['pca']), paths, folder, 'tfrecord')
  assert again['outputs'] == outputs['tfrecord']


def test_audiosets_files_are_read(tmp_path):
  path = write_audioset(tmp_path / 'a.tfrecord', [('x', [3, 5], rows(10)), ('y', [], rows(4, 1))])
  first, second = audioset_embeddings.read(path)
  assert (first.video_id, first.labels, first.start_seconds, first.end_seconds) == ('x', (3, 5), 30, 40)
  np.testing.assert_array_equal(first.embedding, rows(10))
  np.testing.assert_allclose(second.center_seconds(), 30 + 15_599 / 2 / 16_000 + 0.96 * np.arange(4))
  with pytest.raises(UserError, match='holds 2 AudioSet clips; expected the features of one file'):
    files.read(path, ['pca'])


def test_clips_round_trip():
  clip = audioset_embeddings.Clip('ü', 1.5, 4.5, (2, 7), rows(3), json.dumps({'a': 1}))
  again = audioset_embeddings.parsed(audioset_embeddings.serialized(clip))
  np.testing.assert_array_equal(again.embedding, clip.embedding)
  assert dataclasses.replace(again, embedding=None) == dataclasses.replace(clip, embedding=None)


def test_damaged_files_are_named(tmp_path):
  path = write_audioset(tmp_path / 'a.tfrecord', [('x', [0], rows(10))])
  content = bytearray(path.read_bytes())
  content[200] ^= 1
  for broken, expected in (
    (bytes(content), 'record at byte 0 is not an AudioSet embedding .wrong checksum'),
    (path.read_bytes()[:-9], 'ends inside a record'),
  ):
    path.write_bytes(broken)
    with pytest.raises(UserError, match=expected):
      list(audioset_embeddings.read(path))
  uneven = tf.train.SequenceExample()
  uneven.context.feature['video_id'].bytes_list.value.append(b'x')
  for row in (b'ab', b'abc'):
    uneven.feature_lists.feature_list['audio_embedding'].feature.add().bytes_list.value.append(row)
  for payload in (uneven.SerializeToString(), b'\xff\xff', b''):
    with pytest.raises(ValueError):
      audioset_embeddings.parsed(payload)


def test_batches(tmp_path):
  examples = [('x', [0, 2], rows(10)), ('y', [1], rows(4, 1)), ('z', [2, 2], rows(12, 2))]
  paths = [write_audioset(tmp_path / 'a.tfrecord', examples[:2]), write_audioset(tmp_path / 'b.tfrecord', examples[2:])]
  manifest = audioset_embeddings.read_manifest(paths, 3)
  assert manifest['windows'] == 3
  source = audioset_embeddings.source(paths, manifest, 'labels', 3)
  (batch,) = list(input_pipeline.sequential_batches(source, 8))
  np.testing.assert_array_equal(batch['video_id'], [0, 1, 2])
  np.testing.assert_allclose(batch['teacher/labels'][:, 0], [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
  for number, (_, _, values) in enumerate(examples):
    expected = values[np.arange(10) % len(values)].astype(np.float64) / 128 - 1
    np.testing.assert_allclose(batch['audio'][number], expected.ravel(), atol=1e-6)


@pytest.mark.parametrize(
  ('example', 'expected'),
  [
    (('x', [3], rows(2)), r'x has labels \[3\], expected 0 to 2'),
    (('x', [], rows(2)), r'x has labels \[\]'),
    (('x', [0], rows(2)[:, :64]), 'x has 64 values per step, expected 128'),
  ],
)
def test_invalid_embeddings_are_named(tmp_path, example, expected):
  path = write_audioset(tmp_path / 'a.tfrecord', [example])
  with pytest.raises(UserError, match=expected):
    audioset_embeddings.read_manifest([path], 3)
