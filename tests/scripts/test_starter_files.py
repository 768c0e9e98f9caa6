"""The student in the box: its file made small, its credits, and sounds of no category."""

import keras
import numpy as np
import pytest
import soundnets
from sklearn.metrics import roc_auc_score

from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file
from experiments import outside_sounds, starter_files


def test_weights_are_rounded_to_the_nearest_of_twelve_bits():
  values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
  found = starter_files.rounded(values)
  mantissa, exponent = np.frexp(values.astype(np.float64))
  np.testing.assert_array_equal(found, np.ldexp(np.rint(mantissa * 2**13) / 2**13, exponent))
  np.testing.assert_array_equal(starter_files.rounded(np.float32([0, 1, -2.5])), [0, 1, -2.5])


def test_a_smaller_file_predicts_nearly_the_same(tmp_path):
  keras.utils.set_random_seed(0)
  model, path = registry.build('logmel_cnn_contrast', {'teacher': 7}), tmp_path / 'student.keras'
  student_file.save(path, model, soundnets.settings('logmel_cnn_contrast', 1.0))
  before = path.stat().st_size
  starter_files.shortened(path)
  assert path.stat().st_size < 0.8 * before
  sound = soundnets.noise(2, 22_050)
  again, _ = student_file.load(path)
  np.testing.assert_allclose(again(sound)['logits/teacher'], model(sound)['logits/teacher'], atol=0.02)


def test_credits_name_every_author_or_fail(tmp_path):
  (tmp_path / 'LICENSES.txt').write_text(
    '# ESC-10\n\n- [1-1-A.ogg]: clip derived from a.wav (http://x/) by Ann [CC0]\n'
    '- [1-2-A.ogg]:  clip derived from b.wav (http://y/) by Bob [CC-BY]\n',
    encoding='utf-8',
  )
  found = starter_files.credits(tmp_path / 'LICENSES.txt', ['1-2-A'])
  assert found.endswith('\n1-2-A: b.wav (http://y/) by Bob [CC-BY]\n') and 'Ann' not in found
  with pytest.raises(UserError, match='nothing of 9-9-A'):
    starter_files.credits(tmp_path / 'LICENSES.txt', ['1-1-A', '9-9-A'])


def test_descriptions_hold_no_folder():
  described = {'source': '/a/b/c.tflite', 'labels': None, 'digest': 'x'}
  assert starter_files.without_folders(described) == {'source': 'c.tflite', 'labels': None, 'digest': 'x'}


def test_areas_are_those_of_scikit_learn():
  known, others = np.array([0.5, 0.7, 0.9]), {'a': np.array([0.1, 0.6]), 'b': np.array([0.8])}
  found = starter_files.areas_under_curve(known, others)
  assert found['a'] == pytest.approx(5 / 6) and found['b'] == pytest.approx(1 / 3)
  assert found['all'] == roc_auc_score([1, 1, 1, 0, 0, 0], [0.5, 0.7, 0.9, 0.1, 0.6, 0.8])


def test_outside_sounds_are_alike_for_a_seed_and_differ_from_each_other():
  found, again = (outside_sounds.sounds(2, 1.0, seed=3) for _ in range(2))
  assert list(found) == list(outside_sounds.KINDS)
  for kind, sounds in found.items():
    np.testing.assert_array_equal(sounds, again[kind])
    assert sounds.shape == (2, 22_050) and sounds.dtype == np.float32 and np.isfinite(sounds).all()
    if kind == 'silence':
      assert not sounds.any()
      continue
    levels = np.sqrt((sounds.astype(np.float64) ** 2).mean(1))
    assert (levels > 0.002).all() and (levels <= 0.11).all()
    assert abs(np.corrcoef(sounds)[0, 1]) < 0.9
  assert (outside_sounds.sounds(2, 1.0, seed=4)['music'] != found['music']).any()
