"""Training on labels, from scratch and from another student; each class is a tone of its own pitch."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import synthetic_records

from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.training import config, trainer, warm_start

PITCHES = {'low.wav': 8, 'middle.wav': 8, 'top.wav': 8}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Records of sound alone, labels.csv, and a run on them."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', PITCHES, RecordParams(images_per_window=0))
  (folder / 'labels.csv').write_text(
    'filename,target,category\nlow.mp3,2,deep\nmiddle.mp3,0,fair\ntop.mp3,1,shrill\nnot_there.mp3,2,deep\n'
  )
  trainer.train(folder / 'records', folder / 'run', run_config(folder))
  return folder


def run_config(world, **changes):
  teacher = config.TeacherConfig(str(world / 'labels.csv'), 'labels')
  given = {'teachers': (teacher,), 'epochs': 40, 'batch_size': 8, 'learning_rate': 0.05, 'optimizer': 'adam'}
  return config.TrainingConfig(**{**given, 'loss_reduction': 'mean', **changes})


def rows_of(run_dir):
  return [json.loads(line) for line in (run_dir / 'metrics.jsonl').read_text().splitlines()]


def test_labels_alone_teach_a_student(world):
  rows = rows_of(world / 'run')
  assert rows[0]['kl'] == pytest.approx(np.log(3), rel=0.5)  # cross-entropy of a guess among three
  assert rows[-1]['top1'] == 1 and rows[-1]['kl'] < 0.2
  model, settings = student_file.load(world / 'run' / 'student.keras')
  assert settings.classes == {'labels': ['fair', 'shrill', 'deep']}
  time = np.arange(640) / 16000
  outputs = model(np.stack([0.3 * np.sin(2 * np.pi * f * time) for f in (200, 600, 1000)]).astype(np.float32))
  assert outputs['logits/labels'].numpy()[:, 0].argmax(-1).tolist() == [2, 0, 1]


def test_the_heads_alone_learn_from_what_is_there(world, capsys):
  changes = {'init': str(world / 'run'), 'trainable': 'head', 'epochs': 2}
  trainer.train(world / 'records', world / 'head', run_config(world, **changes))
  assert f'from {world / "run"}: conv, dense_labels; new: nothing' in capsys.readouterr().err
  before, after = (student_file.load(world / name / 'student.keras')[0] for name in ('run', 'head'))
  for a, b in zip(before.get_layer('conv').weights, after.get_layer('conv').weights, strict=True):
    np.testing.assert_array_equal(a.numpy(), b.numpy())
  assert not np.array_equal(before.get_layer('dense_labels').kernel, after.get_layer('dense_labels').kernel)
  assert all(layer.trainable for layer in after.layers)
  assert rows_of(world / 'head')[0]['kl'] < rows_of(world / 'run')[5]['kl']


def test_a_run_resumes_only_from_the_same_initial_student(world):
  changes = {'init': str(world / 'run'), 'epochs': 1}
  trainer.train(world / 'records', world / 'again', run_config(world, **changes))
  settings = json.loads((world / 'again' / 'settings.json').read_text())
  assert len(settings['init']) == 64
  with pytest.raises(UserError, match=f'init was {settings["init"]}, is None'):
    trainer.train(world / 'records', world / 'again', run_config(world, epochs=1), resume=True)


def saved(folder, name, heads, rate=22050):
  keras.utils.set_random_seed(7)
  model = registry.build(name, heads)
  settings = student_settings.StudentConfig(name, rate, 'first', 5.0, {head: list('ab') for head in heads})
  student_file.save(folder / 'student.keras', model, settings)
  return model


def test_layers_of_equal_name_and_shape_are_copied(tmp_path):
  source = saved(tmp_path, 'soundnet5', {'objects': 7, 'scenes': 4})
  keras.utils.set_random_seed(8)
  student = registry.build('soundnet5', {'objects': 7, 'scenes': 5, 'labels': 3})
  params = RecordParams(sample_rate_hz=22050)
  copied, new = warm_start.copy_matching_layers(student, tmp_path, params)
  body = [f'conv{i}_{part}' for i in range(1, 5) for part in ('conv', 'norm')]
  assert copied == [*body, 'conv5_objects'] and sorted(new) == ['conv5_labels', 'conv5_scenes']
  for name in copied:
    for a, b in zip(source.get_layer(name).weights, student.get_layer(name).weights, strict=True):
      np.testing.assert_array_equal(a.numpy(), b.numpy())
  assert not np.array_equal(source.get_layer('conv5_scenes').kernel[:4], student.get_layer('conv5_scenes').kernel[:4])
  warm_start.freeze_backbone(student)
  assert sorted(v.path for v in student.trainable_variables) == sorted(
    f'conv5_{head}/{part}' for head in ('objects', 'scenes', 'labels') for part in ('kernel', 'bias')
  )


def test_a_head_for_five_seconds_goes_on_a_distilled_soundnet8():
  distilled, fine = registry.build('soundnet8', {'t': 2}), registry.build('soundnet8_5s', {'t': 2})
  assert [layer.name for layer in distilled.layers if layer.weights] == [x.name for x in fine.layers if x.weights]
  assert fine.get_layer('conv8_t').kernel.shape == (4, 1024, 2)
  assert registry.step_seconds('soundnet8_5s', 110_250, 22050)[0].shape == (1,)


def test_frozen_normalization_keeps_its_statistics():
  student = registry.build('soundnet5', {'t': 2})
  warm_start.freeze_backbone(student)
  before = [v.numpy() for v in student.non_trainable_variables]
  student(np.random.default_rng(0).normal(size=(2, 57_000)).astype(np.float32), training=True)
  for a, b in zip(before, student.non_trainable_variables, strict=True):
    np.testing.assert_array_equal(a, b.numpy())


def test_unusable_initial_students_give_one_line(tmp_path):
  params = RecordParams(sample_rate_hz=22050)
  with pytest.raises(UserError, match='no such student to start from'):
    warm_start.copy_matching_layers(None, tmp_path / 'none', params)
  saved(tmp_path, 'soundnet5', {'t': 2})
  with pytest.raises(UserError, match='takes 22050 Hz, the records hold 16000 Hz'):
    warm_start.copy_matching_layers(None, tmp_path, dataclasses.replace(params, sample_rate_hz=16000))
  with pytest.raises(UserError, match='a soundnet5 has no layer in common with a audionet'):
    warm_start.copy_matching_layers(registry.build('audionet', {'s': 2}), tmp_path / 'student.keras', params)


@pytest.mark.parametrize('source', ['vgg16', 'teacher.tflite'])
def test_classifiers_need_records_with_pictures(world, source):
  teacher = config.TeacherConfig(source, 'eye')
  with pytest.raises(UserError, match='records hold no pictures .* teacher eye needs them'):
    trainer.train(world / 'records', world / 'blind', run_config(world, teachers=(teacher,)))


def test_labels_cannot_run_in_the_step(world):
  with pytest.raises(UserError, match='outputs from a file cannot run in the step; use --teacher_mode=stored'):
    trainer.train(world / 'records', world / 'online', run_config(world, teacher_mode='online'))
