"""Changed sound that students are judged by, and the commands that judge so."""

import json

import evaluation_fixtures
import numpy as np
import pytest
from scipy import signal

from audionet_tf.media import perturbations

RATE = 22_050
SOUND = np.random.default_rng(0).uniform(-0.1, 0.1, 5 * RATE)


def changed(name, sound=SOUND, key='a.wav'):
  pcm = np.rint(sound * 32768).astype(np.int16)
  chunks = [(start, pcm[start : start + 7000]) for start in range(0, len(pcm), 7000)]
  ((start, found),) = perturbations.perturbed(chunks, name, RATE, key)
  assert start == 0 and found.dtype == np.int16
  return found / 32768


def power_db(sound, low, high):
  """Mean power between two frequencies."""
  hertz, density = signal.welch(sound, RATE, nperseg=4096)
  return 10 * np.log10(density[(hertz >= low) & (hertz < high)].mean())


@pytest.mark.parametrize(
  ('name', 'passed', 'stopped'),
  [
    ('low_pass_8khz', (50, 7000), (9500, 11000)),
    ('low_pass_4khz', (50, 3500), (5000, 11000)),
    ('telephone', (400, 3000), (5000, 11000)),
    ('telephone', (400, 3000), (20, 150)),
  ],
)
def test_channels(name, passed, stopped):
  found = changed(name)
  assert power_db(found, *passed) == pytest.approx(power_db(SOUND, *passed), abs=0.5)
  assert power_db(found, *stopped) < power_db(SOUND, *stopped) - 25


@pytest.mark.parametrize(('name', 'decibels'), [('softer_20db', -20), ('softer_40db', -40), ('louder_12db', 12)])
def test_levels(name, decibels):
  np.testing.assert_allclose(changed(name), SOUND * 10 ** (decibels / 20), atol=4e-5 * max(1, 10 ** (decibels / 20)))


def test_what_is_too_loud_is_clipped():
  found = changed('louder_12db', 5 * SOUND)
  assert found.max() == 32767 / 32768 and found.min() == -1


@pytest.mark.parametrize(('name', 'ratio'), [('noise_20db', 20), ('noise_10db', 10)])
def test_noise(name, ratio):
  added = changed(name) - SOUND
  assert 10 * np.log10((SOUND**2).mean() / (added**2).mean()) == pytest.approx(ratio, abs=0.1)
  assert power_db(added, 100, 2000) == pytest.approx(power_db(added, 8000, 10000), abs=0.5)
  np.testing.assert_array_equal(changed(name), changed(name))
  assert (changed(name) != changed(name, key='b.wav')).any()


def test_rooms_decay_by_sixty_decibels_and_keep_the_power():
  impulse = np.zeros(RATE)
  impulse[100] = 0.9
  found = changed('reverb_500ms', impulse)
  assert (found**2).sum() == pytest.approx((impulse**2).sum(), rel=0.02)
  assert not found[:100].any() and not found[100 + RATE // 2 + 1 :].any()
  early, late = (10 * np.log10((found[100 + a : 100 + a + 2000] ** 2).mean()) for a in (50, 50 + RATE // 4))
  assert early - late == pytest.approx(30, abs=3)


def test_middle_is_two_seconds_long():
  np.testing.assert_allclose(changed('middle_2s'), SOUND[33_075 : 33_075 + 44_100], atol=2e-5)
  np.testing.assert_allclose(changed('middle_2s', SOUND[:1000]), SOUND[:1000], atol=2e-5)


@pytest.fixture
def tones(tmp_path):
  return evaluation_fixtures.tones(tmp_path)


@pytest.mark.parametrize('name', perturbations.PERTURBATIONS)
def test_silence_stays_silence_and_nothing_stays_nothing(name):
  assert not changed(name, np.zeros(3 * RATE)).any()
  assert perturbations.perturbed([], name, RATE, 'a.wav') == []


def results():
  from experiments import robustness_table

  values = {('1', '0'): 0.8, ('2', '0'): 0.6}
  found = []
  for (fold, seed), value in values.items():
    shares = dict.fromkeys(robustness_table.FORMS, value)
    shares |= {'softer_40db': 0.0, 'telephone': 1.2 - value, 'noise_10db': value - 0.05}
    shares |= {'changed': robustness_table.mean_changed(shares), 'worst': 0.5}
    found.append({'row': 'a', 'fold': fold, 'seed': seed, 'shares': shares})
  return found


def test_mean_and_worst_of_the_changed_forms():
  from experiments import folds, robustness_table

  lines = {line['figure']: line for line in robustness_table.with_worst(folds.summary(results()))}
  assert lines['changed']['folds']['1'] == pytest.approx((7 * 0.8 + 0.4 + 0.75) / 9)  # without 40 dB softer
  assert lines['worst']['mean'] == pytest.approx(0.5)  # telephone; noise has 0.65, and each fold its own lowest
  assert lines['worst']['folds'] == pytest.approx({'1': 0.4, '2': 0.55})


def test_table_says_what_is_required_and_the_plot_is_written(tmp_path):
  from experiments import folds, robustness_table

  found = robustness_table.with_worst(folds.summary(results()))
  lines = folds.table(found, {'a': robustness_table.Required()}).splitlines()
  cells = {line.split()[1]: line.split()[2:4] for line in lines[1:]}
  assert cells['as_it_is'] == ['92.0', '95.7'] and cells['changed'] == ['90.0', '94.0']
  assert cells['worst'] == ['83.0', '90.0'] and cells['telephone'] == ['-', '-']
  robustness_table.draw(found, tmp_path / 'x.png')
  assert (tmp_path / 'x.png').read_bytes()[:4] == b'\x89PNG'


def test_evaluate_judges_changed_sound(tones):
  arguments = [f'--model={tones}/run', f'--clips={tones}/videos.csv', f'--groups={tones}/groups.csv']
  shares = {}
  for name in ('plain', 'softer_20db', 'middle_2s'):
    perturb = [] if name == 'plain' else [f'--perturb={name}']
    done = evaluation_fixtures.evaluate(*arguments, *perturb, f'--output={tones}/{name}.json')
    assert done.returncode == 0, done.stderr
    shares[name] = json.loads((tones / f'{name}.json').read_text())['clips']
  assert shares['middle_2s'] == shares['plain'] | {'perturb': 'middle_2s'}  # clips of half a second are their middle
  assert shares['softer_20db']['results'] != shares['plain']['results']
  refused = evaluation_fixtures.evaluate(f'--model={tones}/run', '--records=x', '--perturb=telephone')
  assert refused.returncode == 1 and refused.stderr.strip().endswith('--perturb goes with --clips')
