"""Order, completeness and content of the batches."""

import dataclasses
import itertools

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.data import augmentation, input_pipeline, records, soft_labels
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import tfrecord_io

VIDEOS = {'a.mp4': 5, 'b.mp4': 13, 'c.mp4': 7}  # 25 windows: three batches of 8 and one of 1


@pytest.fixture
def source(tmp_path):
  pcm = synthetic_records.write_records(tmp_path, VIDEOS)
  manifest = records.read_manifest(tmp_path)
  return input_pipeline.record_source(tmp_path, manifest), pcm


def windows_of(batches, count):
  """The (video, index) pairs of the first `count` batches, a list per batch."""
  pairs = []
  for batch in itertools.islice(batches, count):
    keep = batch['mask'].numpy() > 0
    pairs.append(list(zip(batch['video_id'].numpy()[keep], batch['index'].numpy()[keep], strict=True)))
  return pairs


def test_each_pass_holds_every_window_once_in_a_new_order(source):
  source, pcm = source
  passes = windows_of(input_pipeline.training_batches(source, 8, seed=0), 12)
  assert [len(batch) for batch in passes] == [8, 8, 8, 1] * 3
  orders = [sum(passes[i : i + 4], []) for i in (0, 4, 8)]
  assert all(sorted(order) == sorted(orders[0]) for order in orders)
  assert len(set(orders[0])) == len(pcm) == 25
  assert orders[0] != orders[1] != orders[2] != orders[0]


def test_order_is_a_function_of_seed_and_pass(source):
  source, _ = source
  whole = windows_of(input_pipeline.training_batches(source, 8, seed=7), 12)
  tf.random.set_seed(123)  # the global seed must not matter
  assert windows_of(input_pipeline.training_batches(source, 8, seed=7, first_pass=2), 4) == whole[8:]
  assert windows_of(input_pipeline.training_batches(source, 8, seed=8), 4) != whole[:4]


def test_a_small_shuffle_buffer_loses_no_window(source):
  source = dataclasses.replace(source[0], shuffle_windows=6)
  batches = windows_of(input_pipeline.training_batches(source, 8, seed=0), 4)
  assert [len(batch) for batch in batches] == [8, 8, 8, 1]
  assert len(set(sum(batches, []))) == 25


def test_replicas_get_equal_shares_by_masked_padding(source):
  source, _ = source
  batches = list(itertools.islice(input_pipeline.training_batches(source, 8, seed=0, share=input_pipeline.Share(3)), 4))
  sizes = [(len(batch['audio']), float(tf.reduce_sum(batch['mask']))) for batch in batches]
  assert sizes == [(9, 8), (9, 8), (9, 8), (3, 1)]
  for batch, (size, real) in zip(batches, sizes, strict=True):
    # Not silence, which would change the statistics of batch normalization.
    np.testing.assert_array_equal(batch['audio'][int(real) :], batch['audio'][:1].numpy().repeat(size - int(real), 0))


def test_two_replicas_get_even_batches(source):
  for make in (input_pipeline.training_batches, input_pipeline.sequential_batches):
    options = {'seed': 0} if make is input_pipeline.training_batches else {}
    batches = list(itertools.islice(make(source[0], 8, share=input_pipeline.Share(2), **options), 4))
    assert [(len(batch['index']), sum(batch['mask'].numpy())) for batch in batches] == [(8, 8)] * 3 + [(2, 1)]


def test_augmentation_gets_decoded_batches_and_the_seed_of_their_pass(source):
  def augment(batch, seed_of_pass):
    return batch | {'audio': -batch['audio'], 'seed': tf.repeat(seed_of_pass[None], len(batch['index']), 0)}

  plain = input_pipeline.training_batches(source[0], 8, seed=7, first_pass=2)
  augmented = input_pipeline.training_batches(source[0], 8, seed=7, first_pass=2, augment=augment)
  for number, (before, after) in enumerate(itertools.islice(zip(plain, augmented, strict=True), 8)):
    np.testing.assert_array_equal(after['audio'], -before['audio'])
    assert after['seed'].numpy().tolist() == [[7, 2 + number // 4]] * len(before['index'])
    assert after.keys() - before.keys() == {'seed'}


def test_encoded_pictures_come_in_the_order_of_the_files(tmp_path):
  synthetic_records.write_records(
    tmp_path, VIDEOS, RecordParams(image_size=32, image_format='png', images_per_window=2)
  )
  manifest = records.read_manifest(tmp_path)
  found = [row for batch in input_pipeline.encoded_pictures(tmp_path, manifest, 10) for row in batch.numpy().tolist()]
  expected = []
  for path in records.shard_paths(tmp_path, manifest):
    for payload in tf.data.TFRecordDataset(path).as_numpy_iterator():
      expected.append(list(tf.train.Example.FromString(payload).features.feature['image/encoded'].bytes_list.value))
  assert found == expected and len(found) == 25 and len(found[0]) == 2


@pytest.mark.parametrize('augment', [{}, {'gain': 6.0}, {'mix': 1.0}])
@pytest.mark.parametrize('workers', [2, 4])
def test_workers_share_the_batches_of_one(source, augment, workers):
  source, _ = source
  augment = augmentation.augmenter(augment)

  def batches(share):
    return list(itertools.islice(input_pipeline.training_batches(source, 10, 0, share=share, augment=augment), 4))

  parts = [batches(input_pipeline.Share(4, worker, workers)) for worker in range(workers)]
  for whole, shares in zip(batches(input_pipeline.Share(4)), zip(*parts, strict=True), strict=True):
    assert len({len(share['mask']) for share in shares}) == 1
    for name, values in whole.items():
      parts_of_all = np.concatenate([share[name] for share in shares])
      np.testing.assert_allclose(parts_of_all, values, rtol=1e-6)  # a power is rounded by the place in a batch


def test_training_can_start_inside_a_pass(source):
  source, _ = source
  whole = windows_of(input_pipeline.training_batches(source, 8, seed=7), 12)
  assert windows_of(input_pipeline.training_batches(source, 8, seed=7, first_pass=1, first_step=3), 5) == whole[7:]


def test_batches_hold_sound_and_pictures(source):
  source, pcm = source
  names = sorted(VIDEOS)
  count = 0
  for batch in input_pipeline.sequential_batches(source, 8):
    for i in range(len(batch['index'])):
      key = names[int(batch['video_id'][i])], int(batch['index'][i])
      np.testing.assert_array_equal(batch['audio'][i], pcm[key] / 32768)
      image = batch['image'][i].numpy()
      assert image.shape == (1, 32, 32, 3)
      np.testing.assert_array_equal(image[0, 20], image[0, 5] // 2)  # as synthetic.picture paints it
      count += 1
  assert count == 25


def test_stored_labels_are_parsed(tmp_path):
  rng = np.random.default_rng(0)
  probabilities = rng.dirichlet(np.ones(6), (5, 2)).astype('<f2')
  pcm = rng.integers(-30000, 30000, (5, 640)).astype('<i2')
  payload = b''
  for rows in (slice(0, 3), slice(3, 5)):  # a block of three windows and one of two
    block = {
      'audio/pcm': [pcm[rows].tobytes()],
      'video': list(range(5))[rows],
      'index': [9, 8, 7, 6, 5][rows],
      'teacher/t': [probabilities[rows].tobytes()],
    }
    payload += tfrecord_io.framed(tfrecord_io.serialize(block))
  (tmp_path / 'labels').write_bytes(payload)
  params = RecordParams(images_per_window=2)
  teachers = {'t': {'classes': list('abcdef'), 'description': {}}}
  manifest = {'params': params, 'teachers': teachers, 'shards': [{'name': 'labels'}]}
  (batch,) = input_pipeline.sequential_batches(soft_labels.label_source(tmp_path, manifest), 8)
  np.testing.assert_array_equal(batch['audio'], pcm / 32768)
  expected = probabilities.astype(np.float32)
  np.testing.assert_allclose(batch['teacher/t'], expected / expected.sum(-1, keepdims=True), rtol=1e-6)
  assert batch['video_id'].numpy().tolist() == [0, 1, 2, 3, 4]
  assert batch['index'].numpy().tolist() == [9, 8, 7, 6, 5]
  assert batch['mask'].numpy().tolist() == [1] * 5


def test_long_windows_get_a_small_shuffle_buffer():
  assert input_pipeline.shuffle_windows(RecordParams()) == 10_000
  soundnet = RecordParams(window_seconds=20, hop_seconds=20, sample_rate_hz=22050, images_per_window=4)
  assert input_pipeline.shuffle_windows(soundnet) == 2**28 // (2 * 20 * 22050 + 4 * 24_000) == 274
  assert input_pipeline.shuffle_windows(RecordParams(window_seconds=600, hop_seconds=600)) == 64  # a block at least
