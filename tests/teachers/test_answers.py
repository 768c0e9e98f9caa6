"""Warnings of teachers whose answers say nothing."""

import commands
import image_classifiers
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core.stores import object_store, store_mirror
from audionet_tf.data import records
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.teachers import answers, frozen_teacher

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, [8, 4, 4, 3]).astype(np.uint8)


def rows(peak, classes=10, same=False):
  """f32 [8, classes]: distributions whose largest probability is `peak`, at random places or at one."""
  values = np.full([8, classes], (1 - peak) / (classes - 1))
  values[range(8), 1 if same else RNG.integers(0, classes, 8)] = peak
  return values.astype(np.float32)


def test_answers_that_say_something_are_not_mentioned():
  assert answers.what_is_wrong(rows(0.9), PICTURES) is None
  assert answers.what_is_wrong(rows(0.4), PICTURES) is None
  assert answers.what_is_wrong(np.eye(8, dtype=np.float32), PICTURES) is None
  assert answers.what_is_wrong(rows(1.0, same=True), np.repeat(PICTURES[:1], 8, 0)) is None  # equal pictures
  dark = (PICTURES // 64).astype(np.uint8)
  assert answers.what_is_wrong(rows(0.9, same=True), dark) is None  # pictures that hardly differ


@pytest.mark.parametrize('classes', [2, 10, 1000])
def test_uniform_and_equal_answers_are_described(classes):
  uniform = answers.what_is_wrong(rows(1.1 / classes, classes), PICTURES)
  assert uniform.startswith(f'answers nearly uniformly: of {classes} classes the first has a probability of')
  assert f'{1.1 / classes:.3f} on average over 8 pictures, {1 / classes:.3f} would be uniform' in uniform
  same = rows(0.9, classes, same=True) + RNG.normal(0, 1e-5, [8, classes])
  assert 'nearly the same to all of 8 different pictures' in answers.what_is_wrong(same, PICTURES)


def test_pictures_are_spread_over_the_records(tmp_path):
  synthetic_records.write_records(tmp_path, {f'{name}.mp4': 40 for name in 'abc'})
  pictures = answers.pictures_of(tmp_path, records.read_manifest(tmp_path))
  assert pictures.dtype == np.uint8 and 1 <= len(pictures) <= answers.PICTURES
  assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)


@pytest.mark.parametrize('in_store, most', [(False, 3), (True, 2)])
def test_few_shards_are_read_for_pictures(tmp_path, monkeypatch, in_store, most):
  folder = tmp_path / 'records'
  folder.mkdir()
  synthetic_records.write_records(folder, {f'{name}.mp4': 40 for name in 'abc'}, shards=6)
  if in_store:
    monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / 'cache'))
    for path in folder.iterdir():
      object_store.put_bytes(f'memory://pictures/{path.name}', path.read_bytes())
    folder = store_mirror.mirrored('memory://pictures')
  read, offsets = [], tfrecord_io.record_offsets
  monkeypatch.setattr(tfrecord_io, 'record_offsets', lambda path: read.append(path) or offsets(path))
  monkeypatch.setattr(answers, 'PICTURES', 3)
  assert 1 <= len(answers.pictures_of(folder, records.read_manifest(folder))) <= 3
  assert len(read) == most


def rescaled(path):
  """A SavedModel that divides its pixels by 255 itself, though it is given them from 0 to 1."""
  classifier = image_classifiers.Classifier(last=lambda logits: tf.nn.softmax(logits))
  answer = classifier.answer
  classifier.function = tf.function(
    lambda pictures: answer(pictures / 255), [tf.TensorSpec([None, 8, 8, 3], tf.float32, 'pictures')]
  )
  return classifier.save(path)


def test_a_model_that_rescales_again_is_noticed_and_the_advice_mends_it(tmp_path, capsys):
  rescaled(tmp_path / 'saved.v2')
  answers.warn(frozen_teacher.load(tmp_path / 'saved.v2', name='t'), image_classifiers.IMAGES)
  shown = capsys.readouterr().err
  assert shown.count('\n') == 1 and shown.startswith('warning: teacher t answers nearly the same to all of 6 different')
  assert 'gets pixels from 0 to 1; ' in shown and '--teacher_input_range=0,255 or -1,1' in shown
  mended = frozen_teacher.load(tmp_path / 'saved.v2', input_range=(0, 255))
  answers.warn(mended, image_classifiers.IMAGES)
  assert not capsys.readouterr().err
  expected = image_classifiers.expected(image_classifiers.IMAGES, 0, 1)
  np.testing.assert_allclose(mended.probabilities(image_classifiers.IMAGES), expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize('mode', ['stored', 'online'])
def test_training_warns_once(tmp_path, mode):
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 20, 'b.mp4': 20})
  rescaled(tmp_path / 'saved')
  flags = ['--records=records', f'--run_dir={mode}', '--teacher=./saved', '--epochs=1', '--noprojector']
  done = commands.run('audionet_tf.train', *flags, f'--teacher_mode={mode}', cwd=tmp_path, check=True)
  assert done.stderr.count('--teacher_input_range=0,255 or -1,1') == 1
