"""Teachers by name and their weights, against passes in NumPy; what all teachers do with pictures and labels."""

import inspect
import random
import sys
import urllib.error

import image_classifiers
import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists
from audionet_tf.teachers import frozen_teacher, keras_applications, output_kinds


@pytest.fixture(scope='module')
def mobilenet(tmp_path_factory):
  """A small network of keras.applications with five classes, and the path of its weights."""
  model = keras_applications.build('mobilenet', classes=5)
  # Random weights of the usual size give the same output for every picture.
  model.set_weights([weight * 5 if weight.ndim == 4 else weight for weight in model.get_weights()])
  path = tmp_path_factory.mktemp('weights') / 'mobilenet.weights.h5'
  model.save_weights(path)
  return model, path


def test_the_table_has_every_builder_once_with_what_load_needs():
  names = [name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction)]
  assert len(keras_applications.BUILDERS) == len(names) > 35
  some = {'vgg16', 'mobilenet_v2', 'mobilenet_v3_small', 'resnet50', 'resnet50_v2', 'densenet121', 'xception'}
  some |= {'efficientnet_b0', 'efficientnet_v2_b0', 'convnext_tiny', 'convnext_xlarge', 'nasnet_mobile'}
  assert some | {'inception_resnet_v2', 'inception_v3'} <= set(keras_applications.BUILDERS)
  for builder in keras_applications.BUILDERS.values():
    assert 'classifier_activation' in inspect.signature(builder).parameters
    assert callable(sys.modules[builder.__module__].preprocess_input)
  assert keras_applications.find('EfficientNetV2B0') == 'efficientnet_v2_b0'
  assert keras_applications.find('vgg61') is None


def test_unknown_names_list_the_known_ones_close_ones_first():
  with pytest.raises(UserError, match=r"'mobilenet_v4' is not known; known are mobilenet_v2, .*vgg16.*X\.tflite"):
    frozen_teacher.load('mobilenet_v4')


@pytest.mark.long
def test_vgg16_gets_centred_bgr_pictures_and_bfloat16_agrees(tmp_path):
  path, names = tmp_path / 'vgg16.weights.h5', tmp_path / 'names.txt'
  names.write_text('\n'.join('abcdefghij'))
  model = keras_applications.build('vgg16', classes=10)
  model.save_weights(path)
  image = image_classifiers.RNG.integers(0, 256, [1, 224, 224, 3], np.uint8)
  centred = image[..., ::-1].astype(np.float32) - np.float32([103.939, 116.779, 123.68])
  expected, mirrored = image_classifiers.softmax(np.asarray(model(np.concatenate([centred, centred[..., ::-1]]))))
  assert not np.allclose(expected, mirrored, rtol=0.002)
  del model
  single = np.asarray(frozen_teacher.load('vgg16', weights=path, labels=names).probabilities(image))[0]
  np.testing.assert_allclose(single, expected, rtol=1e-4)
  half = np.asarray(frozen_teacher.load('vgg16', weights=path, labels=names, dtype='bfloat16').probabilities(image))[0]
  np.testing.assert_allclose(half, expected, rtol=0.02)
  assert np.abs(half - expected).max() > 0
  assert keras.config.dtype_policy().name == 'float32'


def test_random_weights_are_the_same_on_every_run_and_draw_nothing_from_the_program(tmp_path):
  names = tmp_path / 'names.txt'
  names.write_text('cat\ndog\nowl\nfox\n')
  keras.utils.set_random_seed(1)
  first = frozen_teacher.load('mobilenet', weights='none', labels=names)
  next_draw = random.random()
  keras.utils.set_random_seed(1)
  assert random.random() == next_draw
  keras.utils.set_random_seed(2)
  second = frozen_teacher.load('MobileNet', weights='none', labels=names)
  assert first.digest == second.digest
  assert first.class_names == ['cat', 'dog', 'owl', 'fox']
  assert first.description['input_size'] == [224, 224]
  probabilities = np.asarray(first.probabilities(np.zeros([2, 32, 48, 3], np.uint8)))
  assert probabilities.shape == (2, 4) and probabilities.dtype == np.float32
  np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)


def test_weights_from_a_file_bring_their_number_of_classes(mobilenet, tmp_path):
  model, weights = mobilenet
  model.save(tmp_path / 'whole.keras')
  model.save(tmp_path / 'old.h5')
  for path in (weights, tmp_path / 'whole.keras', tmp_path / 'old.h5'):
    assert keras_applications.stored_classes(path, 'conv_preds') == 5
  images = np.broadcast_to(np.uint8([[[[250, 40, 10]]], [[[10, 80, 200]]]]), [2, 224, 224, 3])
  expected = image_classifiers.softmax(np.asarray(model(images.astype(np.float32) / 127.5 - 1)))
  assert np.abs(expected[0] - expected[1]).max() > 0.01
  teacher = frozen_teacher.load('mobilenet', name='objects', weights=tmp_path / 'old.h5')
  assert teacher.class_names == [f'class {i}' for i in range(5)]
  assert teacher.digest == digests.of_file(tmp_path / 'old.h5')
  np.testing.assert_allclose(np.asarray(teacher.probabilities(images)), expected, rtol=1e-4)


def test_weights_that_do_not_fit_are_one_line(mobilenet, tmp_path):
  weights = mobilenet[1]
  labels = tmp_path / 'four.txt'
  labels.write_text('a\nb\nc\nd\n')
  with pytest.raises(UserError, match='weights for 5 classes, the labels are 4'):
    frozen_teacher.load('mobilenet', weights=weights, labels=labels)
  with pytest.raises(UserError, match='damaged, or not weights of mobilenet_v3_small') as caught:
    frozen_teacher.load('mobilenet_v3_small', weights=weights)
  assert '\n' not in str(caught.value)
  cut = tmp_path / 'cut.weights.h5'
  cut.write_bytes(weights.read_bytes()[:100_000])
  with pytest.raises(UserError, match='cut.weights.h5: damaged'):
    frozen_teacher.load('mobilenet', weights=cut)
  with pytest.raises(UserError, match='no such file of weights; allowed are imagenet, none or a path'):
    frozen_teacher.load('mobilenet', weights='imagnet')
  with pytest.raises(UserError, match='has 1000 classes, the labels are 4'):
    frozen_teacher.load('mobilenet', labels=labels)
  with pytest.raises(UserError, match='weights without a network; name it'):
    frozen_teacher.load(weights)


def test_a_network_for_any_size_is_given_the_size_that_it_was_trained_on():
  teacher = frozen_teacher.load('mobilenet_v3_small', weights='none')
  assert teacher.description['input_size'] == [224, 224]


def cut_the_network(monkeypatch, cache):
  """Points Keras to an empty cache and fails all downloads, as a machine without network does."""

  def fail(*args, **kwargs):
    raise urllib.error.URLError('no network here')

  monkeypatch.setenv('KERAS_HOME', str(cache))
  builder = keras_applications.BUILDERS['mobilenet_v3_small']
  monkeypatch.setattr(sys.modules[builder.__module__].file_utils, 'urlretrieve', fail)


def test_without_network_the_line_says_what_else_can_be_done(monkeypatch, tmp_path):
  cut_the_network(monkeypatch, tmp_path)
  with pytest.raises(UserError, match=r'mobilenet_v3_small: .*no network here.*--teacher_weights=PATH') as caught:
    frozen_teacher.load('mobilenet_v3_small')
  assert '\n' not in str(caught.value)


def test_a_damaged_cached_file_is_named_and_left_where_it_is(monkeypatch, tmp_path):
  cut_the_network(monkeypatch, tmp_path)
  with pytest.raises(UserError) as caught:
    frozen_teacher.load('mobilenet_v3_small')
  name = next(word for word in str(caught.value).split() if word.endswith('.h5'))
  cached = tmp_path / 'models' / name
  cached.write_bytes(b'half of it')
  with pytest.raises(UserError, match=f'{name}: damaged .* delete it to download it again'):
    frozen_teacher.load('mobilenet_v3_small')
  assert cached.read_bytes() == b'half of it'
  # MobileNetV2's file has no digest in Keras: reading it is the check.
  with pytest.raises(UserError) as caught:
    frozen_teacher.load('mobilenet_v2')
  cached = tmp_path / 'models' / next(word for word in str(caught.value).split() if word.endswith('.h5'))
  cached.write_bytes(b'half of it')
  with pytest.raises(UserError, match=f'{cached.name} is damaged; delete it'):
    frozen_teacher.load('mobilenet_v2')


def test_imagenet_names_travel_with_the_program():
  names = class_lists.imagenet_class_names()
  assert len(names) == 1000 and (names[0], names[999]) == (
    'tench, Tinca tinca',
    'toilet tissue, toilet paper, bathroom tissue',
  )
  assert (names[1], names[281]) == ('goldfish, Carassius auratus', 'tabby, tabby cat')
  assert frozen_teacher.default_class_names(1000, 'imagenet') == names
  assert frozen_teacher.default_class_names(1001, 'imagenet') == ['background', *names]
  assert frozen_teacher.default_class_names(1000, 'none')[:2] == ['class 0', 'class 1']
  assert frozen_teacher.default_class_names(2, 'imagenet') == ['class 0', 'class 1']


@pytest.mark.parametrize(
  ('outputs', 'are_probabilities'),
  [
    ([[0.1, 0.2, 0.7], [1, 0, 0]], True),
    ([[0.1, 0.205, 0.7], [0.995, 0, 0]], True),  # half precision
    ([[0.25, 0.125, 0.25], [0, 0, 0]], True),  # rounded to steps of 1/256
    ([[0.1, 0.2, 0.7], [-0.1, 0.3, 0.8]], False),
    ([[0.1, 0.2, 0.3], [0.1, 0.2, 0.7]], False),  # three sigmoids
    ([[1, 2, 3], [0, 1, 1]], False),
  ],
)
def test_probabilities_and_logits_are_distinguished(outputs, are_probabilities):
  assert output_kinds.are_probabilities(np.array(outputs, np.float32)) == are_probabilities


def test_rounded_probabilities_are_normalised():
  rows = output_kinds.distribution(tf.constant([[0.5, 0.25, 0.0], [0.0, 0.0, 0.0]]), 'probabilities')
  np.testing.assert_allclose(np.asarray(rows), [[2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
  np.testing.assert_allclose(output_kinds.distribution(tf.constant([[1e3, 0.0, 0.0]]), 'logits'), [[1, 0, 0]])


@pytest.mark.parametrize('shape', [(300, 400), (20, 30), (90, 60)])
def test_other_sizes_are_resized_as_pillow_does(shape):
  image = PIL.Image.fromarray(image_classifiers.RNG.integers(0, 256, [*shape, 3], np.uint8))
  expected = np.asarray(image.resize((64, 48), PIL.Image.Resampling.BILINEAR), np.float32)
  rows = np.asarray(frozen_teacher.resized(np.asarray(image)[None], (48, 64)))[0]
  assert np.abs(rows - expected).max() < 1.1  # Pillow rounds to whole grey levels, twice


def test_pictures_of_the_right_size_are_untouched():
  assert (
    np.asarray(frozen_teacher.resized(image_classifiers.IMAGES, (image_classifiers.SIZE, image_classifiers.SIZE)))
    == image_classifiers.IMAGES
  ).all()
  assert (np.asarray(frozen_teacher.resized(image_classifiers.IMAGES, None)) == image_classifiers.IMAGES).all()
  with pytest.raises(ValueError, match='expected uint8'):
    frozen_teacher.resized(image_classifiers.IMAGES / 255, None)


def test_labels_must_be_as_many_as_the_classes(tmp_path):
  path, names = tmp_path / 'tiny.keras', tmp_path / 'names.txt'
  image_classifiers.keras_classifier().save(path)
  names.write_text('red\ngreen\nblue\n')
  assert frozen_teacher.load(path, labels=names).class_names == ['red', 'green', 'blue']
  names.write_text('background\nred\ngreen\nblue\n')
  with pytest.raises(UserError, match="4 class names, but .* has 3 classes; the first name, 'background'"):
    frozen_teacher.load(path, labels=names)


def test_arguments_that_do_not_go_together_are_refused(tmp_path):
  path = tmp_path / 'tiny.keras'
  image_classifiers.keras_classifier().save(path)
  saved = image_classifiers.Classifier().save(tmp_path / 'saved')
  (tmp_path / 'film.mp4').write_bytes(b'')
  for source, arguments, line in (
    (path, {'dtype': 'float16'}, "is 'float16', allowed is auto, float32 or bfloat16"),
    (path, {'weights': 'none'}, 'has its own weights'),
    (saved, {'dtype': 'bfloat16'}, 'bfloat16 is for names of keras.applications, .keras and .h5 files'),
    ('vgg16', {'weights': 'none', 'input_range': (0, 1)}, 'has its own preprocessing'),
    (tmp_path / 'film.mp4', {}, 'not a teacher; expected is'),
    (tmp_path / 'none.keras', {}, 'no such teacher'),
  ):
    with pytest.raises(UserError, match=line):
      frozen_teacher.load(source, **arguments)
