"""Settings of students that somebody has edited, or that are damaged, are refused in one line."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, student_settings
from audionet_tf.saved_model import loader

ARTIFACTS = pathlib.Path(__file__).resolve().parents[1] / 'artifacts'
STRANGE = {
  'student': [None, 1, [], '\ud800'],
  'sample_rate_hz': [None, '16000', 0, 5, -1, 16000.0, 10**30, True],
  'mono': [None, 'x', [], 1],
  'window_seconds': [None, '1', 0, -1, float('nan'), float('inf'), 1e300, [], True],
  'classes': [None, [], 'abc', {'a': 'abc'}, {'a': []}, {'a': None}, {'a': [1]}, {'a': ['\ud800']}, {'a': [['x']]}],
  'teachers': [None, [], 'x', {'a': 'vgg16'}],
  'target_steps': [None, 'x', [], 1],
  'activations': [None, [], {'a': 'x'}, {'a': None}, {'a': []}],
  'embeddings': [None, [], {'a': 'x'}, {'a': 1.5}],
  'unknown': [1],
}


@pytest.mark.parametrize('name', STRANGE)
def test_values_that_no_student_has_are_refused(tmp_path, name):
  shutil.copytree(ARTIFACTS / 'trained', tmp_path, dirs_exist_ok=True)
  shutil.copytree(ARTIFACTS / 'exported', tmp_path / 'exported')
  path = tmp_path / 'student.json'
  good = json.loads(path.read_text())
  assert dataclasses.asdict(student_settings.read_settings(path.with_suffix('.keras'))).items() >= good.items()
  for value in STRANGE[name]:
    for file in (path, tmp_path / 'exported/1/assets/settings.json'):
      file.write_text(json.dumps(good | {name: value}))
    with pytest.raises(UserError, match=r'student\.json: not the settings of a student') as caught:
      student_settings.read_settings(path.with_suffix('.keras'))
    assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match=r'exported/1/assets/settings\.json: not the settings of a student') as caught:
      loader.load(tmp_path / 'exported')
    assert '\n' not in str(caught.value)


SETTINGS = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'h': ['a', 'b']}, {'h': {'source': 'x'}})


def beside_a_model(folder, content):
  (folder / 'student.keras').touch()
  (folder / 'student.json').write_text(content)
  return student_settings.read_settings(folder / 'student.keras')


def in_an_export(folder, content):
  (folder / 'assets').mkdir()
  (folder / 'assets/settings.json').write_text(content)
  return loader.read_settings(folder)


@pytest.mark.parametrize('read', [beside_a_model, in_an_export])
@pytest.mark.parametrize('teachers', [{'h': {'source': 'x'}}, {'h': None}, {}])
def test_good_settings_are_read(tmp_path, read, teachers):
  settings = dataclasses.replace(SETTINGS, teachers=teachers)
  assert read(tmp_path, json.dumps(dataclasses.asdict(settings))) == settings


def test_settings_know_the_activations_of_heads():
  assert {*student_settings.ACTIVATIONS} == heads.ACTIVATIONS.keys()
