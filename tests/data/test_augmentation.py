"""Augmentation compared with NumPy, eagerly and in tf.data, and its reproducibility over passes and resumed runs."""

import itertools

import numpy as np
import pytest
import synthetic_records
import tensorflow as tf
from augmented_batches import augmented, batch_of

from audionet_tf.core.errors import UserError
from audionet_tf.data import augmentation, input_pipeline, records
from audionet_tf.training import config

EVERYTHING = {'shift': 1, 'gain': 6, 'crop': 0.5, 'mix': 0.5, 'time_mask': 0.2}
EVERYTHING |= {'reverb': 0.5, 'noise': 0.5, 'equalizer': 6, 'band': 0.7, 'level': 30}


@pytest.mark.parametrize('mapped', [False, True])
@pytest.mark.parametrize('value', [1, 0.25])
def test_shift_moves_sound_and_targets_together(value, mapped):
  batch = batch_of(50)
  ramp = np.tile(np.arange(32, dtype=np.float32), [50, 1])
  steps = np.tile(np.eye(4, 6, dtype=np.float32), [50, 1, 1])  # step t predicts class t
  result = augmented(batch | {'audio': ramp, 'teacher/a': steps}, {'shift': value}, mapped=mapped)
  offsets = -result['audio'][:, 0].astype(int) % 32
  signed = (offsets + 16) % 32 - 16
  assert abs(signed).max() == (16 if value == 1 else 8) and len(set(offsets)) > 8
  for row, targets, offset in zip(result['audio'], result['teacher/a'], offsets, strict=True):
    np.testing.assert_array_equal(row, np.roll(np.arange(32), offset))
    # Eight samples per step: the first sample of step t came from `offset` samples earlier, on a circle of four steps.
    for t in range(4):
      place = (t - offset / 8) % 4
      expected = np.zeros(6)
      expected[int(place) % 4] += 1 - place % 1
      expected[(int(place) + 1) % 4] += place % 1
      np.testing.assert_allclose(targets[t], expected, atol=1e-5)


@pytest.mark.parametrize('mapped', [False, True])
def test_speed_changes_sound_and_targets_together(mapped):
  batch = batch_of(60, samples=400)
  times = np.arange(400)
  batch['audio'] = np.tile(np.sin(2 * np.pi * 5 * times / 400), [60, 1]).astype(np.float32)
  result = augmented(batch, {'speed': 0.5}, mapped=mapped)
  candidates = np.geomspace(1 / 1.5, 1.5, 2001)
  factors = []
  for row, targets, before in zip(result['audio'], result['teacher/a'], batch['teacher/a'], strict=True):
    starts = np.sin(np.pi / 40 * candidates[:, None] * times[:60])  # of the tone at every speed
    factor = candidates[np.abs(row[:60] - starts).sum(1).argmin()]
    factors.append(factor)
    expected = np.interp(factor * times % 400, np.arange(401), np.append(batch['audio'][0], batch['audio'][0][0]))
    np.testing.assert_allclose(row, expected, atol=0.02)
    for t in range(4):
      place = (factor * (t + 0.5) - 0.5) % 4
      target = (1 - place % 1) * before[int(place)] + place % 1 * before[(int(place) + 1) % 4]
      np.testing.assert_allclose(targets[t], target, atol=0.01)
  assert min(factors) < 0.75 and max(factors) > 1.33 and abs(np.log(factors).mean()) < 0.1


@pytest.mark.parametrize('mapped', [False, True])
def test_gain_is_uniform_in_decibels(mapped):
  batch = batch_of(200)
  result = augmented(batch, {'gain': 12}, mapped=mapped)
  ratio = result['audio'] / batch['audio']
  decibels = 20 * np.log10(ratio[:, 0])
  np.testing.assert_allclose(ratio, np.tile(ratio[:, :1], [1, 32]), rtol=1e-5)
  assert -12 <= decibels.min() < -11 and 11 < decibels.max() <= 12 and abs(decibels.mean()) < 1.5
  np.testing.assert_array_equal(result['teacher/a'], batch['teacher/a'])


@pytest.mark.parametrize('mapped', [False, True])
def test_mix_preserves_power_and_mixes_targets_in_the_same_ratio(mapped):
  count = 60
  # One-hot sounds show which examples are in a mixture.
  batch = batch_of(count, samples=count) | {'audio': np.eye(count, dtype=np.float32)}
  batch['mask'][[3, 17, 59]] = 0
  result = augmented(batch, {'mix': 0.5}, mapped=mapped)
  shares, firsts = [], []
  for i, row in enumerate(result['audio']):
    others = np.flatnonzero(row * (np.arange(count) != i))
    if not len(others):
      np.testing.assert_array_equal(row, batch['audio'][i])
      np.testing.assert_array_equal(result['teacher/b'][i], batch['teacher/b'][i])
      continue
    (other,) = others
    assert batch['mask'][i] == batch['mask'][other] == 1
    assert row[i] ** 2 + row[other] ** 2 == pytest.approx(1, rel=1e-5)
    share = row[i] / (row[i] + row[other])
    for name in ('teacher/a', 'teacher/b'):
      np.testing.assert_allclose(result[name][i], share * batch[name][i] + (1 - share) * batch[name][other], atol=1e-5)
    shares.append(share)
    firsts.append(other)
  assert 15 <= len(shares) <= 42 and min(shares) < 0.2 and max(shares) > 0.8
  assert len(set(firsts)) > len(firsts) / 2


def test_mix_mixes_weights_in_the_ratio_of_the_targets():
  # With the weight in the targets too, both must stay equal.
  weight = np.random.default_rng(2).uniform(size=16).astype(np.float32)
  batch = batch_of(16) | {'weight': weight, 'teacher/w': weight[:, None, None]}
  result = augmented(batch, {'mix': 1})
  np.testing.assert_array_equal(result['weight'], result['teacher/w'][:, 0, 0])
  assert (result['weight'] != weight).all()


def test_partners_cover_every_other_example():
  mask = np.zeros(1000, np.float32)
  mask[[5, 100, 101, 999]] = 1
  drawn = {i: set() for i in (5, 100, 101, 999)}
  for turn in range(40):
    numbers = np.full(1000, turn / 40, np.float32)
    partner, has_partner = augmentation.partners(tf.constant(mask), tf.constant(numbers))
    np.testing.assert_array_equal(has_partner, mask > 0)
    for i in drawn:
      drawn[i].add(int(partner[i]))
  assert drawn == {i: set(drawn) - {i} for i in drawn}


def test_a_single_example_is_not_mixed():
  batch = batch_of(1)
  result = augmented(batch, {'mix': 1})
  np.testing.assert_array_equal(result['audio'], batch['audio'])
  np.testing.assert_array_equal(result['teacher/a'], batch['teacher/a'])


def test_augmentation_of_a_window_depends_on_itself_alone():
  """Other examples and other augmentations change nothing; another pass, seed, video or index does."""
  batch = batch_of(12)
  values = {'gain': 6, 'time_mask': 0.2}
  whole = augmented(batch, values, (5, 3))
  some = augmented({name: x[[7, 2]] for name, x in batch.items()}, values, (5, 3), mapped=True)
  np.testing.assert_array_equal(some['hidden/time'], whole['hidden/time'][[7, 2]])
  # The gain may be rounded differently at another position in the batch: by 6e-8 with TensorFlow 2.21.
  np.testing.assert_allclose(some['audio'], whole['audio'][[7, 2]], rtol=1e-6)
  assert len(np.unique(whole['hidden/time'], axis=0)) == 12
  np.testing.assert_array_equal(augmented(batch, {'gain': 6}, (5, 3))['audio'], whole['audio'])
  for seed in ((5, 4), (6, 3)):
    assert not np.isclose(augmented(batch, {'gain': 6}, seed)['audio'], whole['audio']).all(1).any()
  same = batch | {'audio': np.ones_like(batch['audio'])}
  assert len(np.unique(augmented(same, {'gain': 6})['audio'][:, 0])) == 12


def test_hidden_intervals_stay_within_the_axis_and_the_limit():
  result = augmented(batch_of(400), {'time_mask': 0.25, 'frequency_mask': 1})
  for name, most in (('hidden/time', 0.25), ('hidden/frequency', 1)):
    begin, end = result[name].T
    assert begin.min() >= 0 and end.max() <= 1 + 1e-6
    assert 0.9 * most < (end - begin).max() <= most + 1e-6 and (end - begin).min() < 0.1 * most
    assert np.ptp(begin[end - begin < 0.2 * most]) > 0.7  # anywhere


@pytest.fixture
def source(tmp_path):
  """25 windows of noise, with targets computed from their numbers."""
  synthetic_records.write_records(tmp_path, {'a.mp4': 5, 'b.mp4': 13, 'c.mp4': 7})
  source = input_pipeline.record_source(tmp_path, records.read_manifest(tmp_path))

  def finish(windows):
    batch = source.finish(windows)
    del batch['image']
    numbers = tf.cast(tf.stack([batch['video_id'], batch['index']], 1), tf.float32)
    return batch | {'teacher/a': tf.nn.softmax(numbers)[:, None]}

  return input_pipeline.dataclasses.replace(source, finish=finish)


def batches_of(source, count, **arguments):
  result = input_pipeline.training_batches(source, 8, seed=7, **arguments)
  return [{name: x.numpy() for name, x in batch.items()} for batch in itertools.islice(result, count)]


def test_a_resumed_pass_is_augmented_the_same(source):
  augment = augmentation.augmenter(EVERYTHING)
  whole = batches_of(source, 12, augment=augment)
  tf.random.set_seed(123)  # the global seed must not matter
  resumed = batches_of(source, 4, augment=augment, first_pass=2)
  assert [len(batch['mask']) for batch in resumed] == [8, 8, 8, 1]
  for a, b in zip(whole[8:], resumed, strict=True):
    assert set(a) == {'audio', 'teacher/a', 'video_id', 'index', 'mask', 'hidden/time'}
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)
  sounds = {(v, i): x for b in whole[:4] for v, i, x in zip(b['video_id'], b['index'], b['audio'], strict=True)}
  again = {(v, i): x for b in resumed for v, i, x in zip(b['video_id'], b['index'], b['audio'], strict=True)}
  assert len(sounds) == 25 and not any(np.allclose(sounds[key], again[key]) for key in sounds)


def test_augmentation_changes_neither_order_nor_padding(source):
  plain = batches_of(source, 4, share=input_pipeline.Share(3))
  result = batches_of(source, 4, share=input_pipeline.Share(3), augment=augmentation.augmenter(EVERYTHING))
  for a, b in zip(plain, result, strict=True):
    assert b['hidden/time'].shape == (len(a['mask']), 2)
    for name in ('video_id', 'index', 'mask'):
      np.testing.assert_array_equal(a[name], b[name])
    np.testing.assert_allclose(b['teacher/a'][a['mask'] == 1].sum(-1), 1, rtol=1e-5)


def test_parse():
  assert augmentation.parse([]) == {} and augmentation.augmenter({}) is None
  values = augmentation.parse(['mix=0.25', 'gain', 'shift'])
  assert list(values.items()) == [('shift', 1.0), ('gain', 6.0), ('mix', 0.25)]
  assert augmentation.moving_answers(values) == ['shift', 'mix']


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (
      ['shfit'],
      f"unknown augment 'shfit'; choose from {', '.join(augmentation.AUGMENTATIONS)}",
    ),
    (['mix=lots'], "augment 'mix=lots': the value is not a number; expected NAME or NAME=VALUE"),
    (['mix=1.5'], 'augment mix=1.5: must be above 0 and at most 1'),
    (['gain=nan'], 'augment gain=nan: must be above 0 and at most 60'),
    (['gain=6', 'gain=3'], "augment 'gain' is given twice; give it once"),
  ],
)
def test_invalid_words_are_named(words, message):
  with pytest.raises(UserError) as error:
    augmentation.parse(words)
  assert str(error.value) == message


def test_config_checks_augmentations():
  assert config.TrainingConfig(augment={'gain': 3.0}, teacher_mode='online').augment == {'gain': 3.0}
  with pytest.raises(UserError, match='must be above 0 and at most 1'):
    config.TrainingConfig(augment={'mix': 2})
  with pytest.raises(UserError, match='augment shift, mix: changes stored targets; use --teacher_mode=stored'):
    config.TrainingConfig(augment={'shift': 1.0, 'gain': 3.0, 'mix': 0.5}, teacher_mode='online')
