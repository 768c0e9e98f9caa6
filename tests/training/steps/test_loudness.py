"""The gate: weights of windows against a plain computation, in batches of every kind of source."""

import itertools
import json

import numpy as np
import pytest
import synthetic_records

from audionet_tf.core.errors import UserError
from audionet_tf.data import augmentation, input_pipeline, records
from audionet_tf.teachers import frozen_teacher
from audionet_tf.training import config, run_models, trainer
from audionet_tf.training.steps import loudness

# Factors on the sound of windows that are about 15 dB below full scale: 'gaps' falls silent and has soft ones, 'steady'
# has one loudness, 'single' one window, 'soft' is 60 dB softer, and a click stands out of it.
FACTORS = {
  **{('gaps', i): factor for i, factor in enumerate([1, 0.7, 0, 0, 0.05, 0.02, 0.002, 0, 1, 0.3], 4)},
  **{('soft', i): 0.001 for i in range(30)},
  ('soft', 11): 1,
  ('none', 0): 0,
  ('none', 1): 0,
}
VIDEOS = {'gaps': 10, 'none': 2, 'single': 1, 'soft': 30, 'steady': 7}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """(folder of records, their manifest, dict of (video, index) to int16 [samples])."""
  folder = tmp_path_factory.mktemp('world')
  pcm = synthetic_records.write_records(folder, VIDEOS, first_window=4, factors=FACTORS)
  return folder, records.read_manifest(folder), pcm


@pytest.fixture(scope='module')
def weights(world):
  folder, manifest, _ = world
  return loudness.window_weights(input_pipeline.record_source(folder, manifest), manifest)


def expected(pcm):
  """dict of (video, index) to weight, from the samples, by loops."""
  result = {}
  for video in VIDEOS:
    levels = {}
    for (name, index), samples in pcm.items():
      if name == video:
        rms = np.sqrt(np.mean((samples.astype(float) / 32768) ** 2))
        levels[index] = max(20 * np.log10(rms), -90) if rms else -90
    low, high = (percentile(sorted(levels.values()), share) for share in (0.1, 0.95))
    floor = max(min(max(low, high - 40), high - 20), -90)
    for index, level in levels.items():
      result[video, index] = min(max((level - floor) / 20, 0), 1)
  return result


def percentile(ordered, share):
  """Linear between the neighbours of position share x (n - 1)."""
  below, rest = divmod(share * (len(ordered) - 1), 1)
  above = min(int(below) + 1, len(ordered) - 1)
  return ordered[int(below)] + rest * (ordered[above] - ordered[int(below)])


def test_weights_are_those_of_a_plain_computation(world, weights):
  numbers = [(video, index) for video in VIDEOS for index in range(4 * (video == 'gaps'), 50)]
  wanted = expected(world[2])
  plain = [wanted[number] for number in numbers if number in wanted]
  np.testing.assert_allclose(weights, plain, atol=1e-4)
  assert weights.dtype == np.float32 and len(set(plain)) > 5


def test_silence_has_no_weight_and_steady_sound_all_of_it(weights):
  gaps, none, single, soft, steady = np.split(weights, np.cumsum(list(VIDEOS.values()))[:-1])
  assert (
    gaps[[2, 3, 7]].tolist() == [0, 0, 0] and gaps[[0, 8]].tolist() == [1, 1] and 0 == gaps[6] < gaps[5] < gaps[4] < 1
  )
  assert none.tolist() == [0, 0] and single.tolist() == [1]
  assert min(steady) > 0.9 and soft[11] == 1
  assert 0.5 < min(soft) < max(np.delete(soft, 11)) <= 1  # 15 dB above silence, the click aside


@pytest.mark.parametrize('augment', [None, augmentation.augmenter({'gain': 6, 'shift': 1})])
def test_batches_hold_the_weights_of_their_windows(world, weights, augment):
  folder, manifest, pcm = world
  wanted = list(map(expected(pcm).get, pcm))
  source = input_pipeline.record_source(folder, manifest)
  gate = loudness.gated(manifest['videos'], weights, augment)
  names = [video['id'] for video in manifest['videos']]
  found = {}
  for batch in itertools.islice(
    input_pipeline.training_batches(source, 16, 3, share=input_pipeline.Share(3), augment=gate), 4
  ):
    numbers = zip(batch['video_id'].numpy(), batch['index'].numpy(), batch['weight'].numpy(), strict=True)
    found |= {(names[video], index): weight for video, index, weight in numbers}
  assert set(found) == set(pcm)
  np.testing.assert_allclose([found[number] for number in pcm], wanted, atol=1e-4)


@pytest.mark.parametrize('balance', [False, True])
def test_runs_with_stored_labels_have_them_too_balanced_or_not(world, weights, tmp_path, balance):
  folder, manifest, _ = world
  (tmp_path / 'labels.csv').write_text('file,labels\n' + ''.join(f'{video},{video[0]}\n' for video in VIDEOS))
  teacher = frozen_teacher.load(tmp_path / 'labels.csv', name='t')
  source = trainer.training_source(folder, manifest, [teacher], online=False)
  given = config.TeacherConfig(str(tmp_path / 'labels.csv'), name='t')
  options = {'loss': 'cross_entropy', 'batch_size': 9, 'gate': 'loudness', 'balance': balance}
  batches = trainer.training_batches(
    folder, manifest, source, config.TrainingConfig('audionet', (given,), **options), 0, input_pipeline.ALL_ROWS
  )
  rows = np.cumsum([0, *VIDEOS.values()])[:-1] - [4, 0, 0, 0, 0]
  for batch in batches.take(5).as_numpy_iterator():
    np.testing.assert_array_equal(batch['weight'], weights[rows[batch['video_id']] + batch['index']])


def test_records_that_are_silent_throughout_are_refused(tmp_path):
  silent = {('a', 0): 0, ('a', 1): 0, ('b', 0): 0}
  synthetic_records.write_records(tmp_path, {'a': 2, 'b': 1}, factors=silent)
  manifest = records.read_manifest(tmp_path)
  with pytest.raises(UserError, match='all 3 windows are silent; leave --gate out'):
    loudness.window_weights(input_pipeline.record_source(tmp_path, manifest), manifest)


@pytest.mark.long
def test_a_gated_run_resumes_exactly_with_stored_and_online_outputs(world, tmp_path):
  """Losses of whole, stopped and online runs agree, and are not those of a run without gate."""
  folder = world[0]
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  teacher = config.TeacherConfig(str(tmp_path / 'teacher.keras'))

  def trained(name, epochs, **changes):
    options = {'epochs': epochs, 'batch_size': 8, 'learning_rate': 1e-2, 'loss_reduction': 'mean', **changes}
    with pytest.MonkeyPatch.context() as patched:
      patched.setattr(run_models.export, 'export', lambda *_: None)
      resume = (tmp_path / name).exists()
      trainer.train(folder, tmp_path / name, config.TrainingConfig('audionet', (teacher,), **options), resume)
    rows = [json.loads(line) for line in (tmp_path / name / 'metrics.jsonl').read_text().splitlines()]
    return [row['kl'] for row in rows], json.loads((tmp_path / name / 'settings.json').read_text())['gate']

  whole, gate = trained('whole', 3, gate='loudness')
  trained('stopped', 1, gate='loudness')
  assert trained('stopped', 3, gate='loudness') == (whole, 'loudness') == (whole, gate)
  online, _ = trained('online', 3, gate='loudness', teacher_mode='online')
  np.testing.assert_allclose(online, whole, rtol=1e-5)
  ungated, gate = trained('ungated', 3)
  assert gate == 'none' and not np.allclose(ungated, whole, rtol=1e-4)
