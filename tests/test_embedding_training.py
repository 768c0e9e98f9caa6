"""A run on embeddings of AudioSet's form: what learns, what stays, and that the student hears sound afterwards."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from audionet_tf import (
  attention,
  embedding_files,
  embedding_training,
  records,
  run_settings,
  serving,
  students,
  vggish,
)
from audionet_tf.errors import UserError

CONVOLUTIONS, DENSE = (('conv1', 2), ('pool1', None)), (('fc1_1', 4), ('fc2', 128))


@pytest.fixture
def world(tmp_path, monkeypatch):
  """Folder with x.tfrecord, classes.csv and vggish.keras: VGGish and its classifier are small ones."""
  small = functools.partial(vggish.vggish, convolutions=CONVOLUTIONS, dense=DENSE)
  monkeypatch.setattr(attention, 'WIDTH', 48)
  network = dataclasses.replace(
    students.STUDENTS['vggish_attention'], build=functools.partial(vggish.attended, body=small)
  )
  monkeypatch.setitem(students.STUDENTS, 'vggish_attention', network)
  rng = np.random.default_rng(0)
  examples = []
  for number in range(64):
    labels = tuple(np.flatnonzero(rng.uniform(size=3) < 0.5)) or (0,)
    values = rng.integers(100, 156, [10, 128], np.uint8)
    for label in labels:
      values[int(rng.integers(10)), 10 * label : 10 * label + 10] = 255  # at one time only
    examples.append(embedding_files.serialized(embedding_files.Clip(f'v{number}', 0.0, 10.0, labels, values)))
  (tmp_path / 'x.tfrecord').write_bytes(b''.join(map(records.framed, examples)))
  (tmp_path / 'classes.csv').write_text('index,mid,display_name\n0,/m/0,a\n1,/m/1,b\n2,/m/2,c\n')
  model = small({}, quantised=True)
  students.save(tmp_path / 'vggish.keras', model, students.StudentSettings('vggish_pca', 16000, 'mean', 0.975, {}))
  return tmp_path


def options(world, **changes):
  teacher = run_settings.TeacherOptions('embeddings', labels=str(world / 'classes.csv'))
  given = {'student': 'vggish_attention', 'teachers': (teacher,), 'loss': 'cross_entropy', 'optimizer': 'adam'}
  given |= {'learning_rate': 1e-2, 'loss_reduction': 'mean', 'batch_size': 32, 'init': str(world / 'vggish.keras')}
  return run_settings.Options(**(given | changes))


def test_what_is_trained_on_embeddings_hears_sound(world):
  exported = embedding_training.train([world / 'x.tfrecord'], world / 'run', options(world, epochs=30))
  rows = [json.loads(line) for line in (world / 'run/metrics.jsonl').read_text().splitlines()]
  assert rows[-1]['cross_entropy'] < 0.6 * rows[0]['cross_entropy']
  model, settings = students.load(world / 'run/student.keras')
  assert (settings.classes, settings.activations) == ({'teacher': ['a', 'b', 'c']}, {'teacher': 'sigmoid'})
  front, _ = students.load(world / 'vggish.keras')
  for layer in ('conv1', 'fc1_1', 'fc2'):
    for one, other in zip(model.get_layer(layer).get_weights(), front.get_layer(layer).get_weights(), strict=True):
      np.testing.assert_array_equal(one, other)
  sound = np.random.default_rng(0).normal(0, 0.1, [2, 154_000]).astype(np.float32)  # ten steps
  steps = front(sound)['pca'].numpy() / 128 - 1
  expected = embedding_training.behind(model)(steps.reshape(2, -1))['logits/teacher'].numpy()[:, 0]
  found = serving.load(exported).predict(sound)
  np.testing.assert_allclose(found['probabilities'], 1 / (1 + np.exp(-expected)), atol=1e-5)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'student': 'audionet', 'init': None}, "student is 'audionet', with embeddings allowed is 'vggish_attention'"),
    ({'loss': 'kl'}, "loss is 'kl', with embeddings allowed is cross_entropy or focal"),
    ({'augment': {'gain': 3.0}}, 'there is no sound to change'),
  ],
)
def test_what_embeddings_have_no_use_for(tmp_path, changes, message):
  (tmp_path / 'classes.csv').write_text('')
  with pytest.raises(UserError, match=message):
    embedding_training.check(options(tmp_path, **changes))
