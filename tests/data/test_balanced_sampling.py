"""Balanced batches: how often windows are drawn, what a batch holds, and that a resumed run draws the same."""

import collections
import dataclasses
import pathlib

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import augmentation, balanced_sampling, input_pipeline, records, soft_labels
from audionet_tf.data.params import RecordParams
from audionet_tf.models import student_file
from audionet_tf.teachers import frozen_teacher, labelling
from audionet_tf.training import config, trainer

VIDEOS = {'common.wav': 12, 'rare.wav': 2, 'both.wav': 1, 'silent.wav': 3}
TABLE = 'file,labels\ncommon.wav,a\nrare.wav,b\nboth.wav,a;b\nsilent.wav,\n'


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
  """(folder, manifest, pcm of the windows, balanced_sampling.Windows)."""
  folder = tmp_path_factory.mktemp('balanced')
  pcm = synthetic_records.write_records(folder / 'records', VIDEOS, RecordParams(images_per_window=0))
  (folder / 'labels.csv').write_text(TABLE)
  manifest = records.read_manifest(folder / 'records')
  teacher = frozen_teacher.load(folder / 'labels.csv', name='t')
  labels = labelling.ensure(folder / 'records', manifest, [teacher])
  source = soft_labels.label_source(labels, soft_labels.read_manifest(labels))
  return folder, manifest, pcm, balanced_sampling.of_records(folder / 'records', manifest, source, 't')


def take(batches, count):
  """The first batches of a dataset, list of dicts of arrays."""
  return list(batches.take(count).as_numpy_iterator())


def test_classes_are_drawn_equally_often_and_every_window_is_used():
  members = [np.arange(10), np.array([10, 11]), np.array([12])]
  draw = balanced_sampling.order(members, 0)
  drawn = [draw(position) for position in range(3 * 20)]
  for start in range(0, 60, 3):
    assert sorted(np.searchsorted([10, 12], number, 'right') for number in drawn[start : start + 3]) == [0, 1, 2]
  counts = collections.Counter(drawn)
  assert [counts[number] for number in range(13)] == [2] * 10 + [10] * 2 + [20]
  common = [number for number in drawn if number < 10]
  assert sorted(common[:10]) == list(range(10)) and common[:10] != common[10:] and common[:10] != sorted(common[:10])
  again = balanced_sampling.order(members, 0)
  assert [again(position) for position in range(59, -1, -1)] == drawn[::-1]  # depends on the position alone
  assert [balanced_sampling.order(members, 1)(position) for position in range(60)] != drawn


def test_batches_hold_sound_and_labels_of_the_drawn_windows(labelled):
  _, manifest, pcm, windows = labelled
  ids = [video['id'] for video in manifest['videos']]
  expected = {'common.wav': [1, 0], 'rare.wav': [0, 1], 'both.wav': [1, 1], 'silent.wav': [0, 0]}
  assert [len(members) for members in windows.of_classes()] == [13, 3, 3]
  counts = collections.Counter()
  for batch in take(balanced_sampling.training_batches(windows, 't', 6, 0), 4):
    for row, (video, index) in enumerate(zip(batch['video_id'], batch['index'], strict=True)):
      np.testing.assert_array_equal(batch['audio'][row] * 32768, pcm[ids[video], index])
      assert batch['teacher/t'][row].tolist() == [expected[ids[video]]]
      counts[ids[video]] += 1
  assert counts['silent.wav'] == 8 and counts['rare.wav'] >= 3  # 24 draws of three classes


def test_training_can_start_with_a_later_pass(labelled):
  windows = labelled[-1]
  steps = -(-18 // 4)
  whole = take(balanced_sampling.training_batches(windows, 't', 4, 3), 2 * steps)
  later = take(balanced_sampling.training_batches(windows, 't', 4, 3, first_pass=1), steps)
  for one, other in zip(whole[steps:], later, strict=True):
    np.testing.assert_array_equal(one['audio'], other['audio'])
  inside = take(balanced_sampling.training_batches(windows, 't', 4, 3, first_step=2), 1)[0]
  np.testing.assert_array_equal(inside['audio'], whole[2]['audio'])


@pytest.mark.parametrize('augment', [{}, {'mix': 1.0}])
def test_workers_share_the_batches_of_one(labelled, augment):
  augment = augmentation.augmenter(augment)

  def batch(*share):
    batches = balanced_sampling.training_batches(labelled[-1], 't', 3, 3, 0, input_pipeline.Share(*share), augment)
    return take(batches, 1)[0]

  whole, parts = batch(2), [batch(2, 0, 2), batch(2, 1, 2)]
  assert whole['mask'].tolist() == [1, 1, 1, 0]
  for name, values in whole.items():
    np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


@pytest.mark.long
def test_a_resumed_run_ends_with_the_same_weights(labelled):
  folder = labelled[0]

  def run(name, epochs, resume=False):
    teacher = config.TeacherConfig(str(folder / 'labels.csv'))
    options = config.TrainingConfig(
      teachers=(teacher,), loss='focal', balance=True, epochs=epochs, batch_size=4, augment={'gain': 3.0}
    )
    trainer.train(folder / 'records', folder / name, options, resume, checkpoint_every=1)
    return student_file.load(folder / name / 'student.keras')[0].get_weights()

  whole = run('whole', 2)
  run('parts', 1)
  settings = folder / 'parts/settings.json'
  settings.write_text(settings.read_text().replace('"epochs": 1', '"epochs": 2'))
  for one, other in zip(whole, run('parts', 2, True), strict=True):
    np.testing.assert_array_equal(one, other)


def test_invalid_uses_are_refused(labelled, tmp_path):
  folder, manifest, _, windows = labelled
  with pytest.raises(UserError, match='balance needs one teacher'):
    config.TrainingConfig(balance=True, per_frame=True)
  probabilities = tf.data.Dataset.from_tensors(
    {'teacher/t': np.float32([[[0.4, 0.6]]]), 'video_id': np.int64([0]), 'index': np.int64([0])}
  )
  source = input_pipeline.Source(['x'], lambda path: probabilities, lambda block: block, 1)
  with pytest.raises(UserError, match='predicts probabilities, not labels'):
    balanced_sampling.of_records(folder / 'records', manifest, source, 't')
  content = bytearray(pathlib.Path(windows.paths[0]).read_bytes())
  content[windows.offset[0] + 200] ^= 1
  damaged = tmp_path / 'x.tfrecord'
  damaged.write_bytes(content)
  broken = dataclasses.replace(windows, paths=[str(damaged), windows.paths[1]])
  with pytest.raises(ValueError, match=balanced_sampling.DAMAGED):
    balanced_sampling.read_records(broken, [0])
