"""The student that commands use without --model: what is said of it, and what its name means."""

import json
import re

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import starter, student_paths

CLASSES = {'category': ['dog_bark', 'clock_tick\x1b[2J', 'unknown'], 'teacher': ['a'] * 1000}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The folder of a starter, in place of the package's."""
  (tmp_path / 'box').mkdir()
  (tmp_path / 'box/student.json').write_text(json.dumps({'classes': CLASSES}))
  (tmp_path / 'box/student.keras').touch()
  monkeypatch.setattr(student_paths, 'STARTER_FOLDER', tmp_path / 'box')
  monkeypatch.chdir(tmp_path)
  return tmp_path / 'box'


def test_one_line_says_what_it_knows_and_how_to_get_another(folder, capsys):
  assert starter.chosen(None) == folder / 'student.keras'
  (line,) = capsys.readouterr().err.splitlines()
  assert 'knows dog bark, clock tick[2J and calls all else unknown' in line and 'audionet-train' in line


def test_a_model_that_is_given_is_used_in_silence(folder, capsys):
  assert starter.chosen('runs/clips') == 'runs/clips'
  assert not capsys.readouterr().err


def test_its_name_is_its_path_where_nothing_else_has_it(folder, tmp_path):
  for find in (student_paths.resolve, student_paths.find, student_paths.find_for_files):
    assert find('starter') == folder / 'student.keras'
  assert starter.is_starter(student_paths.resolve('starter'))
  (tmp_path / 'starter').mkdir()
  assert student_paths.resolve('starter').resolve() == tmp_path / 'starter'
  assert not starter.is_starter(student_paths.resolve('starter')) and not starter.is_starter(None)


def test_an_installation_without_one_says_so(folder):
  (folder / 'student.json').unlink()
  with pytest.raises(UserError, match=re.escape('student.json: this installation has no starter; choose a student')):
    starter.chosen(None)
