"""Teachers from .keras, SavedModel and TFLite files against NumPy, and every way in which a file can be wrong."""

import inspect
import os
import zipfile

import image_classifiers
import keras
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core import digests, tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.teachers import answers, frozen_teacher, precision


@pytest.mark.parametrize('activation', ['softmax', None])
def test_keras_files_equal_numpy(tmp_path, activation):
  path = tmp_path / 'tiny.keras'
  image_classifiers.keras_classifier(activation=activation).save(path)
  teacher = frozen_teacher.load(path, name='tiny')
  assert teacher.in_graph and teacher.name == 'tiny'
  assert teacher.description['outputs'] == ('probabilities' if activation else 'logits')
  np.testing.assert_allclose(
    np.asarray(teacher.probabilities(image_classifiers.IMAGES)),
    image_classifiers.expected(image_classifiers.IMAGES, 0, 1),
    atol=1e-6,
  )
  in_graph = tf.function(teacher.probabilities)(tf.constant(image_classifiers.IMAGES))
  np.testing.assert_allclose(
    np.asarray(in_graph), image_classifiers.expected(image_classifiers.IMAGES, 0, 1), atol=1e-6
  )


def test_a_folder_as_keras_writes_it_to_the_hub_equals_its_file(tmp_path):
  file, folder = tmp_path / 'tiny.keras', tmp_path / 'tiny'
  image_classifiers.keras_classifier().save(file)
  zipfile.ZipFile(file).extractall(folder)
  (folder / 'README.md').write_text('a card')
  expected = frozen_teacher.load(file).probabilities(image_classifiers.IMAGES)
  teacher = frozen_teacher.load(folder)
  np.testing.assert_array_equal(teacher.probabilities(image_classifiers.IMAGES), expected)
  assert precision.is_choosable(str(folder)) and answers.default_range(folder) == answers.default_range(file) == '0,255'
  half = frozen_teacher.load(folder, dtype='bfloat16').probabilities(image_classifiers.IMAGES)
  assert 1e-5 < np.abs(half - expected).max() < 0.02
  (folder / 'config.json').write_text('{}')
  with pytest.raises(UserError, match="tiny: not a readable folder of Keras's") as caught:
    frozen_teacher.load(folder)
  assert '\n' not in str(caught.value)
  (folder / 'model.weights.h5').unlink()
  with pytest.raises(UserError, match=r'here is README.md, config.json, metadata.json: name a file if one is meant'):
    frozen_teacher.load(folder)


@pytest.mark.parametrize('activation', ['softmax', None])
@pytest.mark.parametrize('temperature', [0.001, 0.5, 3.0])
def test_a_temperature_divides_the_logits(tmp_path, activation, temperature):
  image_classifiers.keras_classifier(activation=activation).save(tmp_path / 'tiny.keras')
  plain = frozen_teacher.load(tmp_path / 'tiny.keras')
  teacher = frozen_teacher.load(tmp_path / 'tiny.keras', temperature=temperature)
  colours = image_classifiers.IMAGES.astype(np.float64).mean((1, 2)) / 255
  logits = colours @ image_classifiers.KERNEL + image_classifiers.BIAS
  np.testing.assert_allclose(
    teacher.probabilities(image_classifiers.IMAGES), image_classifiers.softmax(logits / temperature), atol=1e-5
  )
  assert teacher.description['temperature'] == temperature and 'temperature' not in plain.description
  assert frozen_teacher.load(tmp_path / 'tiny.keras', temperature=1.0).digest == plain.digest
  stored = [teacher.digest, plain.digest, frozen_teacher.load(tmp_path / 'tiny.keras', temperature=2.0).digest]
  assert len(set(stored)) == 3 and teacher.description['digest'] == teacher.digest  # so that each is stored apart


def test_code_in_a_folder_of_keras_is_not_run(tmp_path):
  pictures = keras.Input([image_classifiers.SIZE, image_classifiers.SIZE, 3])
  x = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x * 2)(pictures))
  keras.Model(pictures, keras.layers.Dense(image_classifiers.CLASSES)(x)).save(tmp_path / 'code.keras')
  zipfile.ZipFile(tmp_path / 'code.keras').extractall(tmp_path / 'code')
  with pytest.raises(UserError, match='Lambda layer, which is code'):
    frozen_teacher.load(tmp_path / 'code')


def test_keras_files_may_compute_in_half_precision_and_the_global_policy_stays(tmp_path):
  image_classifiers.keras_classifier().save(tmp_path / 'tiny.keras')
  half = np.asarray(
    frozen_teacher.load(tmp_path / 'tiny.keras', dtype='bfloat16').probabilities(image_classifiers.IMAGES)
  )
  difference = np.abs(half - image_classifiers.expected(image_classifiers.IMAGES, 0, 1)).max()
  assert 1e-5 < difference < 0.02
  assert keras.config.dtype_policy().name == 'float32'


def test_a_keras_file_may_take_another_range_or_integer_pixels(tmp_path):
  image_classifiers.keras_classifier(scale=1.0).save(tmp_path / 'unit.keras')
  unit = frozen_teacher.load(tmp_path / 'unit.keras', input_range=(-1, 1))
  np.testing.assert_allclose(
    np.asarray(unit.probabilities(image_classifiers.IMAGES)),
    image_classifiers.expected(image_classifiers.IMAGES, -1, 1),
    atol=1e-6,
  )
  parameters = inspect.signature(frozen_teacher.load).parameters.keys()
  arguments = {key: value for key, value in unit.description.items() if key in parameters}
  assert frozen_teacher.load(**arguments).description == unit.description
  inner = image_classifiers.keras_classifier()
  pictures = keras.Input([image_classifiers.SIZE, image_classifiers.SIZE, 3], dtype='uint8')
  keras.Model(pictures, inner(keras.layers.Rescaling(1.0)(pictures))).save(tmp_path / 'whole.keras')
  whole = frozen_teacher.load(tmp_path / 'whole.keras')
  np.testing.assert_allclose(
    np.asarray(whole.probabilities(image_classifiers.IMAGES)),
    image_classifiers.expected(image_classifiers.IMAGES, 0, 1),
    atol=1e-6,
  )
  with pytest.raises(UserError, match='takes integer pixels'):
    frozen_teacher.load(tmp_path / 'whole.keras', input_range=(0, 1))
  with pytest.raises(UserError, match='two different finite numbers'):
    frozen_teacher.load(tmp_path / 'unit.keras', input_range=(1, 1))


def test_a_teacher_is_always_in_inference_mode_and_never_trained(tmp_path):
  pictures = keras.Input([image_classifiers.SIZE, image_classifiers.SIZE, 3])
  x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.9)(pictures))
  logits = keras.layers.Dense(image_classifiers.CLASSES)(keras.layers.BatchNormalization()(x))
  keras.Model(pictures, logits).save(tmp_path / 'noisy.keras')
  teacher = frozen_teacher.load(tmp_path / 'noisy.keras')
  first = np.asarray(teacher.probabilities(image_classifiers.IMAGES))
  with tf.GradientTape() as tape:
    second = teacher.probabilities(image_classifiers.IMAGES)
  assert (first == np.asarray(second)).all()
  assert all(gradient is None for gradient in tape.gradient(second, tape.watched_variables()))


def test_a_model_that_holds_a_teacher_does_not_save_it(tmp_path):
  image_classifiers.keras_classifier().save(tmp_path / 'tiny.keras')

  class Holder(keras.Model):
    def __init__(self, teacher):
      super().__init__()
      self.teacher = teacher

  holder = Holder(frozen_teacher.load(tmp_path / 'tiny.keras'))
  assert holder.weights == []
  saved = tf.train.Checkpoint(model=holder).save(str(tmp_path / 'checkpoint'))
  assert {name for name, _ in tf.train.list_variables(saved)} == {
    '_CHECKPOINTABLE_OBJECT_GRAPH',
    'save_counter/.ATTRIBUTES/VARIABLE_VALUE',
  }


def test_keras_files_with_code_or_damage_are_refused(tmp_path):
  pictures = keras.Input([image_classifiers.SIZE, image_classifiers.SIZE, 3])
  x = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x * 2)(pictures))
  keras.Model(pictures, keras.layers.Dense(image_classifiers.CLASSES)(x)).save(tmp_path / 'code.keras')
  with pytest.raises(UserError, match='Lambda layer, which is code'):
    frozen_teacher.load(tmp_path / 'code.keras')
  whole = tmp_path / 'tiny.keras'
  image_classifiers.keras_classifier().save(whole)
  (tmp_path / 'cut.keras').write_bytes(whole.read_bytes()[:3000])
  with zipfile.ZipFile(tmp_path / 'other.keras', 'w') as archive:
    archive.writestr('config.json', '{}')
  for name in ('cut.keras', 'other.keras'):
    with pytest.raises(UserError, match=f'{name}: not a readable .keras file') as caught:
      frozen_teacher.load(tmp_path / name)
    assert '\n' not in str(caught.value)


def test_other_models_are_refused(tmp_path):
  sound = keras.Input([16])
  keras.Model(sound, keras.layers.Dense(2)(sound)).save(tmp_path / 'sound.keras')
  with pytest.raises(UserError, match=r'its input is \[None, 16\]; a picture classifier takes'):
    frozen_teacher.load(tmp_path / 'sound.keras')
  pictures = keras.Input([image_classifiers.SIZE, image_classifiers.SIZE, 3])
  keras.Model(pictures, keras.layers.Conv2D(2, 3)(pictures)).save(tmp_path / 'map.keras')
  with pytest.raises(UserError, match=r'its output is \[None, 6, 6, 2\]; a classifier gives'):
    frozen_teacher.load(tmp_path / 'map.keras')
  huge = keras.Input([4000, 4000, 3])
  keras.Model(huge, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(huge))).save(tmp_path / 'huge.keras')
  with pytest.raises(UserError, match='4000x4000 pixels, allowed is up to'):
    frozen_teacher.load(tmp_path / 'huge.keras')
  nan = image_classifiers.keras_classifier()
  nan.get_layer('top').set_weights([image_classifiers.KERNEL * np.nan, image_classifiers.BIAS])
  nan.save(tmp_path / 'nan.keras')
  with pytest.raises(UserError, match='not finite'):
    frozen_teacher.load(tmp_path / 'nan.keras')


@pytest.mark.parametrize(('batch', 'dtype'), [(None, tf.float32), (None, tf.uint8), (1, tf.float32)])
def test_saved_models_equal_numpy(tmp_path, batch, dtype):
  path = image_classifiers.Classifier(batch, dtype).save(tmp_path / 'saved')
  teacher = frozen_teacher.load(path)
  np.testing.assert_allclose(
    np.asarray(teacher.probabilities(image_classifiers.IMAGES)),
    image_classifiers.expected(image_classifiers.IMAGES, 0, 1),
    atol=1e-6,
  )
  in_graph = tf.function(teacher.probabilities)(tf.constant(image_classifiers.IMAGES))
  np.testing.assert_allclose(
    np.asarray(in_graph), image_classifiers.expected(image_classifiers.IMAGES, 0, 1), atol=1e-6
  )
  assert teacher.class_names == ['class 0', 'class 1', 'class 2']


def test_saved_models_that_access_files_or_are_damaged_are_refused(tmp_path):
  def reads(outputs):
    return tf.nn.softmax(outputs) + tf.cast(tf.strings.length(tf.io.read_file('/etc/hostname')), tf.float32)

  with pytest.raises(UserError, match='refused, contains operations .* ReadFile'):
    frozen_teacher.load(image_classifiers.Classifier(last=reads).save(tmp_path / 'reads'))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='no saved_model.pb'):
    frozen_teacher.load(tmp_path / 'empty')
  whole = image_classifiers.Classifier().save(tmp_path / 'cut')
  digest = frozen_teacher.load(whole).digest
  graph = whole / 'saved_model.pb'
  content = graph.read_bytes()
  graph.write_bytes(content[:-50])
  with pytest.raises(UserError, match='not a readable SavedModel'):
    frozen_teacher.load(whole)
  graph.write_bytes(content)
  next((whole / 'variables').glob('*.data*')).write_bytes(b'')
  with pytest.raises(UserError, match='not a readable SavedModel'):
    frozen_teacher.load(whole)
  assert digest != digests.of_saved_model(whole)


def test_a_path_that_tensorflow_cannot_name_is_one_line(tmp_path):
  """Keras reads its own files through Python, which can."""
  folder = tmp_path / 'cafe'
  folder.mkdir()
  image_classifiers.keras_classifier().save(folder / 'x.keras')
  image_classifiers.Classifier().save(folder / 'x')
  image_classifiers.Classifier(1).to_tflite(folder / 'x.tflite')
  folder = folder.rename(tmp_path / os.fsdecode(b'caf\xe9'))
  assert len(frozen_teacher.load(folder / 'x.keras').class_names) == image_classifiers.CLASSES
  for name in ('x', 'x.tflite'):
    with pytest.raises(UserError, match=f'{name}: the name is not valid UTF-8, as TensorFlow needs it'):
      frozen_teacher.load(folder / name)


def test_float_tflite_takes_minus_one_to_one_by_default(tmp_path):
  path = image_classifiers.Classifier(1).to_tflite(tmp_path / 'float.tflite')
  teacher = frozen_teacher.load(path)
  assert not teacher.in_graph
  np.testing.assert_allclose(
    np.asarray(teacher.probabilities(image_classifiers.IMAGES)),
    image_classifiers.expected(image_classifiers.IMAGES, -1, 1),
    atol=1e-5,
  )
  unit = frozen_teacher.load(path, input_range=(0, 1)).probabilities(tf.constant(image_classifiers.IMAGES))
  np.testing.assert_allclose(np.asarray(unit), image_classifiers.expected(image_classifiers.IMAGES, 0, 1), atol=1e-5)


def test_tflite_of_an_open_size_is_refused(tmp_path):
  class Open(image_classifiers.Classifier):
    def __init__(self):
      super().__init__(1)
      self.function = tf.function(self.answer, [tf.TensorSpec([1, None, None, 3], tf.float32)])

  with pytest.raises(UserError, match='has no fixed size of pictures'):
    frozen_teacher.load(Open().to_tflite(tmp_path / 'open.tflite'))


@pytest.mark.parametrize('quantised', [(tf.uint8, tf.uint8), (tf.int8, tf.int8), (tf.uint8, tf.float32)])
def test_quantised_tflite_takes_pixels_as_they_are_and_gives_distributions(tmp_path, quantised):
  path = image_classifiers.Classifier(1).to_tflite(tmp_path / 'quantised.tflite', quantised)
  teacher = frozen_teacher.load(path)
  assert teacher.description['outputs'] == 'probabilities'
  probabilities = np.asarray(teacher.probabilities(image_classifiers.IMAGES))
  np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-6)
  np.testing.assert_allclose(probabilities, image_classifiers.expected(image_classifiers.IMAGES, -1, 1), atol=0.04)
  with pytest.raises(UserError, match='takes integer pixels'):
    frozen_teacher.load(path, input_range=(0, 1))


def test_damaged_tflite_files_do_not_crash_the_process(tmp_path):
  whole = image_classifiers.Classifier(1).to_tflite(tmp_path / 'whole.tflite').read_bytes()
  for size in (0, 5, 200, len(whole) // 2, len(whole) - 100):
    (tmp_path / 'cut.tflite').write_bytes(whole[:size])
    with pytest.raises(UserError, match='cut.tflite: not a .tflite file, or damaged'):
      frozen_teacher.load(tmp_path / 'cut.tflite')


def test_tflite_files_that_ask_for_all_memory_are_one_line(tmp_path, monkeypatch):
  """As one with a mutated size did: std::bad_alloc in the interpreter."""

  def interpreter(path, threads):
    raise MemoryError('std::bad_alloc')

  path = image_classifiers.Classifier(1).to_tflite(tmp_path / 'whole.tflite')
  monkeypatch.setattr(tflite_interpreter, 'interpreter', interpreter)
  with pytest.raises(UserError, match='whole.tflite: TensorFlow Lite cannot run it .*bad_alloc'):
    frozen_teacher.load(path)


def test_tflite_with_operations_of_tensorflow_is_refused(tmp_path):
  from tensorflow.lite.tools import flatbuffer_utils

  model = flatbuffer_utils.read_model(str(image_classifiers.Classifier(1).to_tflite(tmp_path / 'stock.tflite')))
  model.operatorCodes[0].customCode = b'FlexReadFile'
  flatbuffer_utils.write_model(model, str(tmp_path / 'flex.tflite'))
  with pytest.raises(UserError, match='custom operations FlexReadFile'):
    frozen_teacher.load(tmp_path / 'flex.tflite')


def sigmoid(logits):
  return 1 / (1 + np.exp(-logits))


def save_sigmoid(folder, kind):
  """The tiny classifier with sigmoid outputs, without its range of pixels: 0..255 in Keras files, else [0, 1]."""
  if kind == 'saved':
    return image_classifiers.Classifier(last=tf.nn.sigmoid).save(folder / kind)
  if kind == 'tflite':
    return image_classifiers.Classifier(batch=1, last=tf.nn.sigmoid).to_tflite(folder / 'x.tflite')
  image_classifiers.keras_classifier(activation='sigmoid').save(folder / f'x.{kind}')
  return folder / f'x.{kind}'


@pytest.mark.parametrize('kind', ['keras', 'h5', 'saved', 'tflite'])
def test_sigmoid_outputs_are_scores(tmp_path, kind):
  teacher = frozen_teacher.load(save_sigmoid(tmp_path, kind), input_range=(0, 1) if kind == 'tflite' else None)
  assert teacher.description['outputs'] == 'scores'
  colours = image_classifiers.IMAGES.astype(np.float64).mean((1, 2)) / 255
  scores = sigmoid(colours @ image_classifiers.KERNEL + image_classifiers.BIAS)
  expected = scores / scores.sum(1, keepdims=True)
  np.testing.assert_allclose(np.asarray(teacher.probabilities(image_classifiers.IMAGES)), expected, atol=1e-4)


def test_small_logits_are_no_scores(tmp_path):
  model = image_classifiers.keras_classifier(activation=None)
  model.get_layer('top').set_weights([np.abs(image_classifiers.KERNEL) / 100, np.float32([0.1, 0.2, 0.3])])
  model.save(tmp_path / 'x.keras')
  teacher = frozen_teacher.load(tmp_path / 'x.keras')
  assert teacher.description['outputs'] == 'logits'


def test_whole_models_of_keras_2_are_teachers_and_weights_alone_are_not(tmp_path):
  model = image_classifiers.keras_classifier()
  for name in ('x.h5', 'x.hdf5'):
    keras.saving.save_model(model, tmp_path / name)
    teacher = frozen_teacher.load(tmp_path / name)
    np.testing.assert_allclose(
      np.asarray(teacher.probabilities(image_classifiers.IMAGES)),
      image_classifiers.expected(image_classifiers.IMAGES, 0, 1),
      atol=1e-6,
    )
  model.save_weights(tmp_path / 'y.weights.h5')
  with pytest.raises(UserError, match='weights without a network'):
    frozen_teacher.load(tmp_path / 'y.weights.h5')
  whole = (tmp_path / 'x.h5').read_bytes()
  for content in (b'', b'no HDF5', whole[: len(whole) // 2]):
    (tmp_path / 'z.h5').write_bytes(content)
    with pytest.raises(UserError, match='z.h5: not a readable HDF5 file') as caught:
      frozen_teacher.load(tmp_path / 'z.h5')
    assert '\n' not in str(caught.value)


def test_code_in_a_whole_model_is_not_run(tmp_path):
  model = keras.Sequential([keras.Input([8, 8, 3]), keras.layers.Lambda(lambda x: x[:, 0, 0])])
  keras.saving.save_model(model, tmp_path / 'x.h5')
  with pytest.raises(UserError, match='holds a Lambda layer'):
    frozen_teacher.load(tmp_path / 'x.h5')
