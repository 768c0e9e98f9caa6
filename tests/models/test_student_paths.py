"""What a path to a student means, without TensorFlow."""

import os
import re

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_paths


@pytest.fixture
def run(tmp_path):
  for version in ('1', '2', '10', '.partial-3'):
    (tmp_path / 'run/export' / version).mkdir(parents=True)
    (tmp_path / 'run/export' / version / 'saved_model.pb').touch()
  for name in ('student.keras', 'student.json'):
    (tmp_path / 'run' / name).touch()
  return tmp_path / 'run'


def test_a_run_is_its_student_or_its_newest_export(run):
  student, newest = run / 'student.keras', run / 'export/10'
  for path in (run, student):
    assert student_paths.find(path) == student_paths.resolve(path) == student
  for path in (run, run / 'export', newest):
    assert student_paths.find_export(str(path)) == newest
  assert student_paths.find(run / 'export') == newest


def test_files_are_predicted_by_an_export_where_there_is_one(run):
  for path in (run, run / 'export'):
    assert student_paths.find_for_files(path) == run / 'export/10'
  assert student_paths.find_for_files(run / 'student.keras') == run / 'student.keras'
  (run / 'export').rename(run / 'elsewhere')
  assert student_paths.find_for_files(run) == run / 'student.keras'
  (run / 'student.keras').unlink()
  with pytest.raises(UserError, match='no SavedModel here'):
    student_paths.find_for_files(run)
  with pytest.raises(UserError, match='no such student'):
    student_paths.find_for_files(run / 'student.keras')


def test_what_is_no_student_is_refused(run, tmp_path):
  for path, message in (
    ('nothing', 'nothing: no SavedModel here; audionet_tf.export writes one'),
    (tmp_path / 'x.keras', 'x.keras: no such student; training writes it as RUN/student.keras'),
  ):
    with pytest.raises(UserError, match=re.escape(message)):
      student_paths.find(path)
  with pytest.raises(UserError, match='student.keras: weights alone; audionet_tf.export'):
    student_paths.find_export(run / 'student.keras')
  odd = (run / 'export').rename(run / os.fsdecode(b'caf\xe9'))
  for path in (odd, odd / '10'):
    with pytest.raises(UserError, match='10: the name is not valid UTF-8, as TensorFlow needs it'):
      student_paths.find(path)
  (run / 'student.json').unlink()
  with pytest.raises(UserError, match='student.json: missing; it belongs beside student.keras'):
    student_paths.find(run)
