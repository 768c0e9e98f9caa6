"""Settings of students that come from strangers: of a .keras file and of an export, by the same rules."""

import dataclasses
import json

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file
from audionet_tf.saved_model import loader

SETTINGS = student_file.StudentConfig('audionet', 16000, 'mean', 0.04, {'h': ['a', 'b']}, {'h': {'source': 'x'}})


def beside_a_model(folder, content):
  (folder / 'student.keras').touch()
  (folder / 'student.json').write_text(content)
  return student_file.read_settings(folder / 'student.keras')


def in_an_export(folder, content):
  (folder / 'assets').mkdir()
  (folder / 'assets/settings.json').write_text(content)
  return loader.read_settings(folder)


@pytest.mark.parametrize('read', [beside_a_model, in_an_export])
@pytest.mark.parametrize('teachers', [{'h': {'source': 'x'}}, {'h': None}, {}])
def test_good_settings_are_read(tmp_path, read, teachers):
  settings = dataclasses.replace(SETTINGS, teachers=teachers)
  assert read(tmp_path, json.dumps(dataclasses.asdict(settings))) == settings


@pytest.mark.parametrize('read', [beside_a_model, in_an_export])
@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('classes', ['dog']),
    ('classes', {'h': 'dog'}),
    ('classes', {'h': []}),
    ('classes', {'h': ['dog', 5]}),
    ('teachers', []),
    ('teachers', {'h': 'vgg16'}),
    ('student', ['audionet']),
    ('sample_rate_hz', '16000'),
    ('sample_rate_hz', 5),
    ('window_seconds', None),
    ('mono', {}),
    ('target_steps', ['covered']),
    ('activations', {'h': 'x'}),
    ('embeddings', {'h': '8'}),
    ('unheard', 1),
  ],
)
def test_damaged_settings_are_told_in_a_line(tmp_path, read, key, value):
  with pytest.raises(UserError, match=r'\.json: not the settings of a student') as caught:
    read(tmp_path, json.dumps(dataclasses.asdict(SETTINGS) | {key: value}))
  assert '\n' not in str(caught.value)
