"""Training on embeddings of AudioSet's form: what learns, what stays, and that the student takes sound afterwards."""

import dataclasses
import errno
import functools
import json

import commands
import numpy as np
import pytest

from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.data import audioset_embeddings, input_pipeline
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.models.networks import vggish, vggish_attention
from audionet_tf.saved_model import loader
from audionet_tf.training import callbacks, config, embedding_trainer, run_models

SETTINGS = student_settings.StudentConfig('vggish_pca', 16000, 'mean', 0.975, {})
CONVOLUTIONS, DENSE = (('conv1', 2), ('pool1', None)), (('fc1_1', 4), ('fc2', 128))


@pytest.fixture
def world(tmp_path, monkeypatch):
  """Folder with x.tfrecord, classes.csv and vggish.keras: VGGish and its classifier are small ones."""
  small = functools.partial(vggish.vggish, convolutions=CONVOLUTIONS, dense=DENSE)
  monkeypatch.setattr(vggish_attention, 'WIDTH', 48)
  network = dataclasses.replace(
    registry.STUDENTS['vggish_attention'], build=functools.partial(vggish_attention.vggish_attention, body=small)
  )
  monkeypatch.setitem(registry.STUDENTS, 'vggish_attention', network)
  rng = np.random.default_rng(0)
  examples = []
  for number in range(64):
    labels = tuple(np.flatnonzero(rng.uniform(size=3) < 0.5)) or (0,)
    values = rng.integers(100, 156, [10, 128], np.uint8)
    for label in labels:
      values[int(rng.integers(10)), 10 * label : 10 * label + 10] = 255  # at one time only
    examples.append(audioset_embeddings.serialized(audioset_embeddings.Clip(f'v{number}', 0.0, 10.0, labels, values)))
  (tmp_path / 'x.tfrecord').write_bytes(b''.join(map(tfrecord_io.framed, examples)))
  (tmp_path / 'classes.csv').write_text('index,mid,display_name\n0,/m/0,a\n1,/m/1,b\n2,/m/2,c\n')
  model = small({}, quantised=True)
  student_file.save(tmp_path / 'vggish.keras', model, SETTINGS)
  return tmp_path


def kill(*arguments):
  raise KeyboardInterrupt


def run_config(world, **changes):
  teacher = config.TeacherConfig('embeddings', labels=str(world / 'classes.csv'))
  given = {'student': 'vggish_attention', 'teachers': (teacher,), 'loss': 'cross_entropy', 'optimizer': 'adam'}
  given |= {'learning_rate': 1e-2, 'loss_reduction': 'mean', 'batch_size': 32, 'init': str(world / 'vggish.keras')}
  return config.TrainingConfig(**(given | changes))


@pytest.mark.long
def test_a_student_trained_on_embeddings_takes_sound(world):
  exported = embedding_trainer.train([world / 'x.tfrecord'], world / 'run', run_config(world, epochs=30))
  rows = [json.loads(line) for line in (world / 'run/metrics.jsonl').read_text().splitlines()]
  assert rows[-1]['cross_entropy'] < 0.6 * rows[0]['cross_entropy']
  model, settings = student_file.load(world / 'run/student.keras')
  assert (settings.classes, settings.activations) == ({'teacher': ['a', 'b', 'c']}, {'teacher': 'sigmoid'})
  front, _ = student_file.load(world / 'vggish.keras')
  for layer in ('conv1', 'fc1_1', 'fc2'):
    for one, other in zip(model.get_layer(layer).get_weights(), front.get_layer(layer).get_weights(), strict=True):
      np.testing.assert_array_equal(one, other)
  sound = np.random.default_rng(0).normal(0, 0.1, [2, 154_000]).astype(np.float32)  # ten steps
  steps = front(sound)['pca'].numpy() / 128 - 1
  expected = embedding_trainer.above_embeddings(model)(steps.reshape(2, -1))['logits/teacher'].numpy()[:, 0]
  outputs = loader.load(exported).predict(sound)
  np.testing.assert_allclose(outputs['probabilities'], 1 / (1 + np.exp(-expected)), atol=1e-5)


@pytest.mark.long
def test_balanced_clips_and_a_killed_run(world, monkeypatch):
  """Each class in turn, the clips of `rare` over and over; a run that is killed ends with the same weights."""
  table = [(0,), (0,), (0,), (0,), (0,), (1,), (0, 2)]
  rng = np.random.default_rng(1)
  clips = [
    audioset_embeddings.Clip(f'v{number}', 0.0, 10.0, labels, rng.integers(0, 256, [10, 128], np.uint8))
    for number, labels in enumerate(table)
  ]
  framed = [tfrecord_io.framed(audioset_embeddings.serialized(clip)) for clip in clips]
  paths = [world / 'y.tfrecord', world / 'none.tfrecord', world / 'z.tfrecord']
  for path, part in zip(paths, (framed[:4], [], framed[4:]), strict=True):
    path.write_bytes(b''.join(part))
  manifest = audioset_embeddings.read_manifest(paths, 3)
  source = audioset_embeddings.source(paths, manifest, 't', 3)
  given = run_config(world, epochs=2, balance=True, batch_size=3)
  batches = embedding_trainer.training_batches(source, 't', given, 0, input_pipeline.ALL_ROWS)
  batches = list(batches.take(10).as_numpy_iterator())
  for batch in batches:
    assert (batch['teacher/t'].max(0) == 1).all() and batch['index'].tolist() == [0, 0, 0]
    for row, labels, video in zip(batch['audio'], batch['teacher/t'], batch['video_id'], strict=True):
      np.testing.assert_array_equal(row * 128 + 128, clips[video].embedding.reshape(-1))
      assert tuple(np.flatnonzero(labels[0])) == table[video]
  drawn = [int(video) for batch in batches for video in batch['video_id']]
  assert drawn.count(5) == 10 and drawn.count(6) >= 10 and set(drawn) == set(range(7))

  def weights(name, resume=False):
    embedding_trainer.train(paths, world / name, given, resume, checkpoint_every=1)
    return student_file.load(world / name / 'student.keras')[0].get_weights()

  monkeypatch.setattr(
    run_models, 'finish', lambda run_dir, student, *_: student_file.save(run_dir / 'student.keras', student, SETTINGS)
  )
  whole = weights('whole')
  with monkeypatch.context() as killed:
    killed.setattr(callbacks.Progress, 'on_epoch_end', kill)
    with pytest.raises(KeyboardInterrupt):
      weights('parts')
  for one, other in zip(whole, weights('parts', resume=True), strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_full_disk_names_the_folder(tmp_path, monkeypatch):
  def full(*arguments):
    raise OSError(errno.ENOSPC, 'No space left on device')

  (tmp_path / 'classes.csv').write_text('')
  monkeypatch.setattr(embedding_trainer, 'train_locked', full)
  with pytest.raises(DiskFullError, match=f'^{tmp_path}/run: no space left'):
    embedding_trainer.train([], tmp_path / 'run', run_config(tmp_path))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'student': 'audionet', 'init': None}, "student is 'audionet', with embeddings allowed is 'vggish_attention'"),
    ({'loss': 'kl'}, "loss is 'kl', with embeddings allowed is cross_entropy or focal"),
    ({'gate': 'loudness'}, 'there is no sound to measure'),
    ({'augment': {'gain': 3.0}}, 'there is no sound to change'),
  ],
)
def test_configurations_that_embeddings_cannot_use_are_refused(tmp_path, changes, message):
  (tmp_path / 'classes.csv').write_text('')
  with pytest.raises(UserError, match=message):
    embedding_trainer.check(run_config(tmp_path, **changes))


@pytest.mark.parametrize('flag', ['--graph', '--projector', '--profile=0:1'])
def test_pictures_of_sound_are_refused_before_anything_is_read(tmp_path, flag):
  done = commands.run('audionet_tf.train', '--embeddings=none.tfrecord', f'--run_dir={tmp_path / "run"}', flag)
  assert done.returncode == 1 and 'with --embeddings there is none' in done.stderr
  assert 'Traceback' not in done.stderr and not (tmp_path / 'run').exists()
