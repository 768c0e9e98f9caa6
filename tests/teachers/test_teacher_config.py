"""What is refused of a model of pictures and texts before it is loaded; on every set of versions."""

import importlib.metadata
import importlib.util
import types

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.teachers import teacher_config


@pytest.fixture
def installed(monkeypatch):
  """Function of a version of TensorFlow, and whether KerasHub is there, that makes it seem so."""
  version, find = importlib.metadata.version, importlib.util.find_spec

  def pretend(tensorflow, keras_hub):
    monkeypatch.setattr(
      importlib.metadata, 'version', lambda name: tensorflow if name == 'tensorflow' else version(name)
    )
    spec = object() if keras_hub else None
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec if name == 'keras_hub' else find(name))

  pretend('2.21.0', True)
  return pretend


@pytest.mark.parametrize(
  ('tensorflow', 'keras_hub', 'message'),
  [
    ('2.17.1', True, r'clip:x needs TensorFlow 2\.20 or newer, here is 2\.17\.1: scripts/setup --latest clip'),
    ('2.9.0', True, r'or newer, here is 2\.9\.0'),
    ('2.20.0', False, r"clip:x needs keras-hub: in the project's folder run scripts/setup clip"),
    ('2.21.0-rc0', True, None),
    ('3.0.0', True, None),
  ],
)
def test_versions(installed, tensorflow, keras_hub, message):
  installed(tensorflow, keras_hub)
  if message is None:
    assert teacher_config.check_preset('clip:x') is None
  else:
    with pytest.raises(UserError, match=message):
      teacher_config.check_preset('clip:x')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (None, 'config.json: no such file; expected a preset in'),
    ('{', r'config.json: not the configuration of a preset \(JSONDecodeError'),
    ('[]', r'not the configuration of a preset \(TypeError'),
    ('{"class_name": "BertBackbone"}', "a preset of 'BertBackbone', allowed is CLIPBackbone or SigLIPBackbone"),
    ('{"class_name": ["CLIPBackbone"]}', 'not the configuration of a preset'),
    (' ' * (1 << 20) + '{}', 'allowed are up to 1048576'),
  ],
)
def test_folders(installed, tmp_path, content, message):
  if content is not None:
    (tmp_path / 'config.json').write_text(content)
  with pytest.raises(UserError, match=message):
    teacher_config.check_preset(f'clip:{tmp_path}')


@pytest.mark.parametrize('preset', ['', 'a/b', '../x', 'hf://user/model', 'Name'])
def test_what_is_neither_name_nor_folder(installed, tmp_path, preset, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match='no such folder, nor the name of a preset such as clip_vit_base_patch32'):
    teacher_config.check_preset(f'clip:{preset}')


@pytest.mark.parametrize('mode', ['online', 'stored'])
@pytest.mark.parametrize('source', ['sound:ears', 'sound@22050:ears.tflite'])
@pytest.mark.parametrize('pictures', [0, 1])
def test_a_tagger_of_sound_has_no_vectors(mode, source, pictures):
  teachers = teacher_config.of_embeddings([teacher_config.TeacherConfig(source)])
  assert not teacher_config.needs_pictures(teachers[0].source)
  manifest = {'params': types.SimpleNamespace(images_per_window=pictures)}
  with pytest.raises(UserError, match=f'embedding:{source}: a tagger of sound gives classes, no vectors'):
    teacher_config.check(teachers, mode, manifest)
