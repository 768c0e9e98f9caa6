"""CLIP as a teacher, on a tiny random model, against KerasHub's own arithmetic."""

import json
import shutil

import image_classifiers
import numpy as np
import picture_text_presets
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.teachers import frozen_teacher, picture_text

keras_hub = picture_text_presets.keras_hub
PICTURES = np.random.default_rng(0).integers(0, 256, [3, 20, 30, 3], np.uint8)
WORDS = 'dog | a dog\nrain | rain | the sound of rain\nsea\n'
PROMPTS = [['a dog'], ['rain', 'the sound of rain'], ['a photo of sea', 'the sound of sea']]


@pytest.fixture(scope='module')
def preset(tmp_path_factory):
  return picture_text_presets.clip(tmp_path_factory.mktemp('presets') / 'tiny')


@pytest.fixture
def words(tmp_path):
  path = tmp_path / 'words.txt'
  path.write_text(WORDS)
  return path


def keras_hub_logits(preset, texts, preprocessor=keras_hub.models.CLIPPreprocessor):
  """f64 [pictures, texts] of KerasHub's whole model: one pass with pictures and texts together."""
  backbone = keras_hub.models.Backbone.from_preset(str(preset))
  preprocessor = preprocessor.from_preset(str(preset))
  inputs = preprocessor({'images': PICTURES.astype(np.float32), 'prompts': texts})
  outputs = backbone({key: inputs[key] for key in ('images', 'token_ids')})
  return np.asarray(outputs['vision_logits'], np.float64)


def test_one_prompt_per_class_gives_the_softmax_of_the_whole_models_logits(preset, tmp_path):
  path = tmp_path / 'words.txt'
  path.write_text('dog | a dog\nrain | the sound of rain\n')
  teacher = frozen_teacher.load(f'clip:{preset}', texts=path)
  assert teacher.class_names == ['dog', 'rain']
  expected = image_classifiers.softmax(keras_hub_logits(preset, ['a dog', 'the sound of rain']))
  np.testing.assert_allclose(teacher.probabilities(PICTURES), expected, atol=1e-5)


def test_siglip_gives_the_softmax_of_its_logits_whatever_their_bias(tmp_path):
  folder, path = picture_text_presets.siglip(tmp_path / 'siglip'), tmp_path / 'words.txt'
  path.write_text('dog | a dog\nrain | the sound of rain\n')
  logits = keras_hub_logits(folder, ['a dog', 'the sound of rain'], keras_hub.models.SigLIPPreprocessor)
  teacher = frozen_teacher.load(f'clip:{folder}', texts=path)
  np.testing.assert_allclose(teacher.probabilities(PICTURES), image_classifiers.softmax(logits), atol=1e-5)
  assert np.abs(image_classifiers.softmax(logits) - 0.5).max() > 0.01


def test_prompts_are_averaged_as_unit_vectors_and_a_temperature_divides_the_cosine(preset, words):
  cosines = keras_hub_logits(preset, sum(PROMPTS, [])) * 0.07  # the random model's temperature
  texts = picture_text.load(f'clip:{preset}').embed_texts(sum(PROMPTS, [])).astype(np.float64)
  np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
  parts = [[0], [1, 2], [3, 4]]
  lengths = [np.linalg.norm(texts[part].mean(0)) for part in parts]
  means = np.stack([cosines[:, part].mean(1) / length for part, length in zip(parts, lengths, strict=True)], 1)
  teacher = frozen_teacher.load(f'clip:{preset}', texts=words, temperature=0.2)
  np.testing.assert_allclose(teacher.probabilities(PICTURES), image_classifiers.softmax(means / 0.2), atol=1e-5)


def test_the_digest_is_of_weights_texts_and_temperature_not_of_names(preset, words, tmp_path):
  def digest(text=WORDS, folder=preset, **options):
    words.write_text(text)
    return frozen_teacher.load(f'clip:{folder}', texts=words, **options).digest

  moved = shutil.copytree(preset, tmp_path / 'moved')
  other = picture_text_presets.clip(tmp_path / 'other', seed=1)
  assert digest() == digest(folder=moved) == digest(text=WORDS.replace('dog |', 'hound |'))
  changed = [digest(text=WORDS.replace('a dog', 'two dogs')), digest(folder=other), digest(temperature=0.5)]
  assert len({digest(), *changed}) == 4


def test_the_digest_does_not_depend_on_the_last_bits_of_embeddings(preset, words, monkeypatch):
  before, exact = frozen_teacher.load(f'clip:{preset}', texts=words).digest, picture_text.class_vectors
  monkeypatch.setattr(picture_text, 'class_vectors', lambda *given: np.nextafter(exact(*given), np.float32(1)))
  assert frozen_teacher.load(f'clip:{preset}', texts=words).digest == before


def test_the_digest_is_of_the_tokenizer_too(preset, words, tmp_path):
  other = shutil.copytree(preset, tmp_path / 'other')
  (vocabulary,) = other.rglob('vocabulary.json')
  tokens = json.loads(vocabulary.read_text())
  first, second = 'a</w>', 'b</w>'
  tokens |= {first: tokens[second], second: tokens[first]}
  vocabulary.write_text(json.dumps(tokens))
  loaded = [frozen_teacher.load(f'clip:{folder}', texts=words).digest for folder in (preset, other)]
  assert loaded[0] != loaded[1]


def test_the_description_has_the_texts_and_loads_the_same_teacher(preset, words):
  teacher = frozen_teacher.load(f'clip:{preset}', texts=words, temperature=0.5)
  described = json.loads(json.dumps(teacher.description))
  assert list(described['prompts'].values()) == PROMPTS
  keys = ('source', 'weights', 'labels', 'dtype', 'input_range', 'texts', 'temperature')
  assert frozen_teacher.load(**{key: described[key] for key in keys}).digest == teacher.digest


def test_bfloat16_agrees(preset, words):
  exact = frozen_teacher.load(f'clip:{preset}', texts=words).probabilities(PICTURES)
  half = frozen_teacher.load(f'clip:{preset}', texts=words, dtype='bfloat16').probabilities(PICTURES)
  np.testing.assert_allclose(half, exact, atol=0.15)
  assert np.abs(np.asarray(half) - exact).max() > 0


@pytest.mark.parametrize('name', ['assets/tokenizer/vocabulary.json', 'config.json', 'model.weights.h5'])
def test_a_damaged_or_missing_file_of_a_preset_is_one_line(preset, words, tmp_path, name):
  for content in (None, b'{"class_name": "CLIPBackbone"'):
    folder = shutil.copytree(preset, tmp_path / f'preset{content is None}')
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
      frozen_teacher.load(f'clip:{folder}', texts=words)
    assert '\n' not in str(caught.value) and str(folder) in str(caught.value)


def test_an_unknown_name_lists_the_known_ones_and_no_network_is_one_line(words, monkeypatch):
  with pytest.raises(UserError, match=r'clip:clip_vit: no such preset; known are .*clip_vit_base_patch32.*'):
    frozen_teacher.load('clip:clip_vit', texts=words)

  def offline(*args, **kwargs):
    raise OSError('Failed to resolve\nthe host')

  monkeypatch.setattr('kagglehub.model_download', offline)
  with pytest.raises(UserError, match=r'^clip:clip_vit_base_patch32 cannot be downloaded \(OSError: Failed to resolve'):
    frozen_teacher.load('clip:clip_vit_base_patch32', texts=words)
