"""Teachers as flags name them, the weights of their heads, resuming, and learning rates."""

import json
import math
import types

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys
from audionet_tf.teachers.teacher_config import TeacherConfig, named_teachers
from audionet_tf.training import config, resume
from audionet_tf.training.steps import optimizers


def sources(texts):
  return {teacher.name: teacher.source for teacher in named_teachers(texts)}


def test_a_source_alone_is_the_only_teacher():
  assert sources(['vgg16']) == {'teacher': 'vgg16'}
  assert sources(['vgg16', 'mobilenet_v2']) == {'teacher': 'mobilenet_v2'}  # a flagfile's, then the command line's
  assert sources(['vgg16', 'a=x.keras', 'b_2=y']) == {'a': 'x.keras', 'b_2': 'y'}
  assert sources(['a=x', 'b=y', 'vgg16']) == {'teacher': 'vgg16'}
  assert sources(['a=x', 'b=y', 'a=z']) == {'a': 'z', 'b': 'y'}
  assert sources(['./a=b.keras', 'data/c=d']) == {'teacher': 'data/c=d'}


def test_settings_are_for_all_or_for_one():
  a, b, c = named_teachers(
    ['a=x', 'b=y', 'c=z'],
    weights=['imagenet', 'b=none'],
    labels=['c=names.txt'],
    input_range=['0,255', 'a=-1,1'],
    loss_weight=['b=0.25', 'original', 'c=3'],
    dtype=[],
  )
  assert a == TeacherConfig('x', 'a', input_range=(-1.0, 1.0), loss_weight='original')
  assert b == TeacherConfig('y', 'b', 'none', input_range=(0.0, 255.0), loss_weight=0.25)
  assert c == TeacherConfig('z', 'c', labels='names.txt', input_range=(0.0, 255.0), loss_weight=3.0)
  assert named_teachers(['vgg16'], labels=['teacher=a.txt'], dtype=['bfloat16', 'float32']) == (
    TeacherConfig('vgg16', labels='a.txt'),
  )


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'labels': ['d=names.txt']}, 'no teacher is called d; there is a, b'),
    ({'loss_weight': ['heavy']}, 'expected is a number, or original'),
    ({'loss_weight': ['a=0']}, 'loss weight of a is 0.0, allowed is any number above 0'),
    ({'loss_weight': ['nan']}, 'allowed is any number above 0'),
    ({'input_range': ['1']}, 'expected are two numbers, as in 0,255'),
  ],
)
def test_settings_that_do_not_fit_are_one_line(settings, message):
  with pytest.raises(UserError, match=message):
    named_teachers(['a=x', 'b=y'], **settings)


def test_original_weights_are_what_soundnets_criterion_comes_to():
  heads = {'objects': 1000, 'scenes': 401}
  for name, classes in heads.items():
    # Torch: each of 4 steps x 2 heads gives KL / (batch x classes), their sum is divided by 8 and multiplied by 250;
    # of a window whose KL is 1 in every step of one head, that is:
    expected = sum(1 / classes for _ in range(4)) / 8 * 250
    assert TeacherConfig('x', name, loss_weight='original').head_weight(classes) == pytest.approx(expected)
  assert TeacherConfig('x').head_weight(5) == 1.0


def settings_of(outputs='probabilities', **changes):
  loaded = types.SimpleNamespace(digest='d', class_names=['a'], description={'outputs': outputs})
  return resume.settings_of(config.TrainingConfig(**changes), {'digest': 'r', 'windows': 3}, [loaded], 1)


def test_a_run_older_than_a_setting_resumes_with_its_default(tmp_path):
  path = tmp_path / 'settings.json'
  now = settings_of()
  before = {name: value for name, value in now.items() if name not in ('loss', 'init', 'target_steps', 'trainable')}
  before['teachers'] = [{name: value for name, value in now['teachers'][0].items() if name != 'loss_weight'}]
  path.write_text(json.dumps(before))
  assert resume.resumed(path, now) == now | {'prolonged': []}
  with pytest.raises(UserError, match='loss was kl, is l2 .a resumed run ends as if it had never stopped'):
    resume.resumed(path, now | {'loss': 'l2'})
  for damaged in ('{', '[]', '{}', '{"teachers": 3}'):
    path.write_text(damaged)
    with pytest.raises(UserError, match='damaged; choose another --run_dir'):
      resume.resumed(path, now)


def test_a_run_on_distributions_is_not_continued_on_vectors(tmp_path):
  path = tmp_path / 'settings.json'
  assert 'outputs' not in settings_of()['teachers'][0]  # so runs older than the setting resume
  for before, after in (('probabilities', batch_keys.EMBEDDING), (batch_keys.EMBEDDING, 'probabilities')):
    resume.write(path, settings_of(before) | {'prolonged': []})
    with pytest.raises(UserError, match=r'cannot resume with other settings: teachers\.0\.outputs was'):
      resume.resumed(path, settings_of(after))
    resume.resumed(path, settings_of(before))


def test_more_epochs_prolong_a_run_whose_learning_rate_does_not_depend_on_them(tmp_path):
  path = tmp_path / 'settings.json'
  assert resume.resumed(path, settings_of(epochs=4)) == settings_of(epochs=4) | {'prolonged': []}  # a new run
  resume.write(path, settings_of(epochs=3, warmup_epochs=2) | {'prolonged': []})
  for epochs, exports, prolonged in ((3, 0, []), (4, 0, []), (9, 1, [4]), (9, 1, [4]), (12, 1, [4]), (20, 2, [4, 12])):
    if exports:
      (tmp_path / 'export' / str(exports)).mkdir(parents=True, exist_ok=True)
    now = resume.resumed(path, settings_of(epochs=epochs, warmup_epochs=2))
    assert now == settings_of(epochs=epochs, warmup_epochs=2) | {'prolonged': prolonged}
    resume.write(path, now)
  with pytest.raises(UserError, match='epochs was 20, is 4 .a run cannot be shortened'):
    resume.resumed(path, settings_of(epochs=4, warmup_epochs=2))
  with pytest.raises(UserError, match='other settings: seed was 0, is 1 '):
    resume.resumed(path, settings_of(epochs=30, warmup_epochs=2, seed=1))
  resume.write(path, settings_of(epochs=4, schedule='cosine'))
  with pytest.raises(UserError, match='epochs was 4, is 9 .the learning rate of --schedule=cosine depends on'):
    resume.resumed(path, settings_of(epochs=9, schedule='cosine'))


@pytest.mark.parametrize(('schedule', 'warmup'), [('constant', 0), ('constant', 2), ('cosine', 0), ('cosine', 2)])
def test_learning_rate_by_step(schedule, warmup):
  run_config = config.TrainingConfig(
    epochs=10, learning_rate=0.5, schedule=schedule, warmup_epochs=warmup, weight_decay=0.1
  )
  optimizer = optimizers.optimizer(run_config, steps_per_epoch=7)
  assert optimizer.weight_decay == 0.1
  for step in range(70):
    optimizer.iterations.assign(step)
    expected = 0.5
    if step < 7 * warmup:
      expected *= step / (7 * warmup)
    elif schedule == 'cosine':
      expected *= (1 + math.cos(math.pi * (step - 7 * warmup) / (70 - 7 * warmup))) / 2
    assert float(optimizer.learning_rate) == pytest.approx(expected, abs=1e-6)


def test_masks_are_refused_for_students_without_a_spectrogram():
  config.TrainingConfig(student='logmel_cnn', augment={'time_mask': 0.2})
  with pytest.raises(UserError, match='augment time_mask: audionet has no spectrogram .*logmel_cnn'):
    config.TrainingConfig(augment={'gain': 6, 'time_mask': 0.2})
  with pytest.raises(UserError, match='warmup_epochs is 5, allowed is 0 to 4'):
    config.TrainingConfig(epochs=5, warmup_epochs=5)
