"""A student that predicts files is the same from its .keras file as from its export."""

import numpy as np
import pytest
import soundnets
import starters

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file, student_settings
from audionet_tf.saved_model import export, for_files


def test_a_file_and_its_export_predict_the_same(tmp_path):
  path = starters.write(tmp_path / 'run', threshold=0.5)
  folder = export.export(*student_file.load(path), tmp_path / 'export')
  alone, exported = for_files.load(path), for_files.load(tmp_path / 'export')
  assert (alone.path, exported.path) == (path, folder)
  assert alone.class_names == exported.class_names == starters.NAMES
  assert alone.settings == exported.settings
  for sound in (soundnets.noise(3, 22_050), soundnets.noise(1, 40_000)):
    expected = exported.predict(sound)
    found = alone.predict(sound)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
      if values.dtype.kind == 'f':
        np.testing.assert_allclose(found[name], values, atol=1e-5)
      else:
        assert (found[name] == values).all()


def test_a_file_without_classes_is_refused_where_names_are_needed(tmp_path):
  path = starters.write(tmp_path)
  model, settings = student_file.load(path)
  bare = student_settings.StudentConfig(settings.student, 22_050, 'mean', 1.0, {})
  student_file.save(path, type(model)(model.input, {'embedding': model.output['embedding']}), bare)
  with pytest.raises(UserError, match='has no classes'):
    for_files.load(path)
  assert for_files.load(path, names=False).class_names == []
