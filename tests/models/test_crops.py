"""Circular crops: against the student called once for each shift."""

import keras
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import crops, registry, student_file


@pytest.fixture(scope='module')
def student():
  keras.utils.set_random_seed(3)
  return registry.build('logmel_cnn_contrast', {'objects': 4})


def test_outputs_are_means_over_shifts(student, tmp_path):
  sound = np.random.default_rng(0).normal(size=[3, 22051]).astype(np.float32)  # no multiple of three
  shifted = [student(np.roll(sound, shift, axis=1)) for shift in (0, 7350, 14700)]
  found = crops.with_crops(student, 'logmel_cnn_contrast', 3)(sound)
  assert set(found) == set(student.output)
  for key, value in found.items():
    np.testing.assert_allclose(value, np.mean([one[key] for one in shifted], 0), rtol=1e-4, atol=1e-5)
  assert not np.allclose(found['embedding'], shifted[0]['embedding'], rtol=1e-3)


def test_one_crop_is_the_student_itself(student):
  assert crops.with_crops(student, 'logmel_cnn_contrast', 1) is student


def test_a_student_with_crops_is_saved_and_loaded(student, tmp_path):
  settings = student_file.StudentConfig('logmel_cnn_contrast', 22050, 'mean', 1.0, {'objects': list('abcd')})
  cropped = crops.with_crops(student, 'logmel_cnn_contrast', 2)
  student_file.save(tmp_path / 'student.keras', cropped, settings)
  loaded, _ = student_file.load(tmp_path / 'student.keras')
  sound = np.random.default_rng(0).normal(size=[2, 22050]).astype(np.float32)
  np.testing.assert_allclose(loaded(sound)['embedding'], cropped(sound)['embedding'], rtol=1e-5)


@pytest.mark.parametrize('name', ['logmel_steps', 'soundnet8_steps'])
def test_students_with_steps_are_refused(name):
  with pytest.raises(UserError, match='answers per step'):
    crops.with_crops(registry.build(name, {'objects': 4}), name, 2)


def test_too_many_are_refused(student):
  with pytest.raises(UserError, match='from 1 to 16'):
    crops.with_crops(student, 'logmel_cnn_contrast', 17)
