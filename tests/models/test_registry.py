"""AudioNet's parameters, students on disk, unknown students."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file, student_settings

SETTINGS = student_settings.StudentConfig(
  'audionet', 16000, 'mean', 0.04, {'teacher': ['a', 'b', 'c']}, {'teacher': {}}
)


def test_audionet_has_the_papers_parameters():
  student = registry.build('audionet', {'teacher': 1000})
  assert student.count_params() == 16 * 64 + 16 + 16 * 1000 + 1000 == 18040
  assert {v.path: tuple(v.shape) for v in student.variables} == {
    'conv/kernel': (64, 1, 16),
    'conv/bias': (16,),
    'dense_teacher/kernel': (16, 1000),
    'dense_teacher/bias': (1000,),
  }


def test_initial_weights_are_pytorchs():
  keras.utils.set_random_seed(0)
  student = registry.build('audionet', {'teacher': 1000})
  for variable in student.variables:
    limit = 1 / 8 if variable.path.startswith('conv') else 1 / 4  # 1 / sqrt(fan in): 64 and 16
    values = variable.numpy()
    assert np.abs(values).max() <= limit
    assert np.abs(values).max() > 0.8 * limit
    if values.size > 500:  # uniform: standard deviation limit / sqrt(3)
      assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)


def test_outputs_are_named_for_each_head():
  student = registry.build('audionet', {'objects': 10, 'scenes': 4})
  out = student(np.zeros([2, 640], np.float32))
  assert {name: tuple(x.shape) for name, x in out.items()} == {
    'embedding': (2, 16),
    'logits/objects': (2, 1, 10),
    'logits/scenes': (2, 1, 4),
  }


def test_saved_and_loaded_students_agree(tmp_path):
  student = registry.build('audionet', {'teacher': 3})
  student_file.save(tmp_path / 'student.keras', student, SETTINGS)
  loaded, settings = student_file.load(tmp_path / 'student.keras')
  sound = tf.random.stateless_normal([3, 500], [1, 2])
  np.testing.assert_array_equal(student(sound)['logits/teacher'], loaded(sound)['logits/teacher'])
  assert settings == SETTINGS
  assert sorted(p.name for p in tmp_path.iterdir()) == ['student.json', 'student.keras']


def test_missing_and_damaged_files_are_user_errors(tmp_path):
  path = tmp_path / 'student.keras'
  with pytest.raises(UserError, match='no such student'):
    student_file.load(path)
  path.write_bytes(b'nonsense')
  with pytest.raises(UserError, match='student.json: missing'):
    student_file.load(path)
  student_file.save(path, registry.build('audionet', {'teacher': 3}), SETTINGS)
  path.write_bytes(path.read_bytes()[:5000])
  with pytest.raises(UserError, match='not a readable .keras file'):
    student_file.load(path)
  settings = json.loads(path.with_suffix('.json').read_text())
  for text in (
    '[' * 100_000,
    json.dumps(settings | {'activations': ['x' * 5000]}),
    json.dumps(settings | {'x' * 5000: 1}),
  ):
    path.with_suffix('.json').write_text(text)
    with pytest.raises(UserError, match='student.json: not the settings of a student') as caught:
      student_file.load(path)
    assert len(str(caught.value)) < 500


def test_error_for_unknown_students_lists_the_known_ones():
  with pytest.raises(UserError, match="'nonet' is not known; known are .*audionet"):
    registry.build('nonet', {'teacher': 3})
