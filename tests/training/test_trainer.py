"""Whole runs: what they write, how they resume, what they refuse. The teacher classifies colours, sound is tones."""

import contextlib
import json
import os
import shlex
import signal
import time
import types

import commands
import keras
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf
from pyarrow import parquet
from tensorboard.plugins.hparams import plugin_data_pb2

from audionet_tf.core import interruption
from audionet_tf.core.errors import UserError
from audionet_tf.data import video_table
from audionet_tf.data.params import RecordParams
from audionet_tf.data.tables import class_lists
from audionet_tf.evaluation import predictor, teacher_agreement
from audionet_tf.models import student_file
from audionet_tf.teachers import frozen_teacher, teacher_config
from audionet_tf.training import callbacks, config, history, loop, run_models, tensorboard, trainer
from audionet_tf.training.steps.distiller import Distiller
from audionet_tf.training.tensorboard import in_series

VIDEOS = {'a.mp4': 9, 'b.mp4': 14, 'sub/c.mp4': 10}
WINDOWS = sum(VIDEOS.values())


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with records/, teacher.keras and labels.txt."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', VIDEOS, first_window=3)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  (folder / 'labels.txt').write_text('red\ngreen\nblue\ngrey\nblack\n')
  return folder


def run_config(world, **changes):
  teacher = config.TeacherConfig(str(world / 'teacher.keras'), labels=str(world / 'labels.txt'))
  given = {'teachers': (teacher,), 'epochs': 4, 'batch_size': 8, 'learning_rate': 1e-2}
  return config.TrainingConfig(**{**given, **changes})


def weights_of(run_dir):
  return [w.numpy() for w in student_file.load(run_dir / 'student.keras')[0].weights]


def events_of(run_dir):
  """dict of tag to list of (step, value proto) from the TensorBoard files."""
  events = {}
  for path in sorted((run_dir / 'tensorboard').rglob('events.*')):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      for value in event.summary.value:
        events.setdefault(value.tag, []).append((event.step, value))
  return events


@pytest.fixture(scope='module')
def stored(world):
  run_dir = world / 'stored'
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(tensorboard, 'in_series', in_series)  # pictures as users get them
    trainer.train(world / 'records', run_dir, run_config(world, per_frame=True))
  return run_dir


def test_a_run_learns_and_writes_its_metrics(stored):
  rows = [json.loads(line) for line in (stored / 'metrics.jsonl').read_text().splitlines()]
  assert [row['epoch'] for row in rows] == [0, 1, 2, 3]
  assert rows[-1]['kl'] < 0.8 * rows[0]['kl']
  stats = json.loads((stored / 'stats.json').read_text())
  assert (stats['num_epochs'], stats['video_sample_period_msec']) == (4, 40)
  assert (stats['batch_size'], stats['learning_rate']) == (8, 1e-2)
  for row, epoch in zip(rows, stats['epochs'], strict=True):
    assert {name: len(v['kldiv_per_frame']) for name, v in epoch['videos'].items()} == VIDEOS
    for video in epoch['videos'].values():
      assert video['kldiv'] == pytest.approx(np.mean(video['kldiv_per_frame']), rel=1e-5)
    everything = [kl for video in epoch['videos'].values() for kl in video['kldiv_per_frame']]
    assert row['kl'] == pytest.approx(np.mean(everything), rel=1e-5)


def test_statistics_of_many_videos_are_files_of_their_own(world, stored, tmp_path, monkeypatch):
  """The same numbers as in stats.json; a resumed run keeps the files of its epochs alone; plots show percentiles."""
  monkeypatch.setattr(video_table, 'IN_JSON', 2)
  run_dir = tmp_path / 'run'
  trainer.train(world / 'records', run_dir, run_config(world, epochs=3, per_frame=True))
  (run_dir / history.videos_file(3)).write_bytes(b'of a killed run')
  trainer.train(world / 'records', run_dir, run_config(world, per_frame=True), resume=True)
  many, few = (json.loads((folder / 'stats.json').read_text())['epochs'] for folder in (run_dir, stored))
  assert [epoch['videos'] for epoch in many] == [{}] * 4
  assert [epoch['videos_file'] for epoch in many] == sorted(
    str(path.relative_to(run_dir)) for path in (run_dir / 'videos').iterdir()
  )
  for epoch, expected in zip(many, few, strict=True):
    table = parquet.read_table(run_dir / epoch['videos_file']).to_pylist()
    assert {row['id']: row['kldiv'] for row in table} == {
      name: pytest.approx(video['kldiv'], rel=1e-5) for name, video in expected['videos'].items()
    }
    assert {row['id']: len(row['kldiv_per_frame']) for row in table} == VIDEOS
  chosen, table = history.read_mean_kl(run_dir, '1:3')
  values = [sorted(video['kldiv'] for video in few[epoch]['videos'].values()) for epoch in chosen]
  np.testing.assert_allclose(table['50th percentile'], [row[1] for row in values], rtol=1e-5)
  assert len(table) == 5
  assert not [tag for tag in events_of(run_dir) if tag.startswith('kl_of_video')]
  (run_dir / history.videos_file(2)).write_bytes(b'damaged')
  with pytest.raises(UserError, match='stats.json: not the statistics'):
    history.read_mean_kl(run_dir)


def test_tensorboard_shows_the_run(stored):
  events = events_of(stored)
  assert [step for step, _ in events['kl']] == [0, 1, 2, 3]
  assert {'top1', 'top5', 'learning_rate', 'examples_per_second', 'filters', 'weights/conv/kernel'} <= set(events)
  assert {f'kl_of_video/{name}' for name in VIDEOS} <= set(events)
  assert [step for step, _ in events['filters']] == [0, 1, 3]  # after epochs 1, 2 and the last
  table = events['examples/teacher'][0][1].tensor.string_val[0].decode()
  assert '| teacher | student |' in table
  assert all(name in table for name in VIDEOS)
  sounds = [tag for tag in events if tag.endswith(' sound')]
  assert len(sounds) == len(VIDEOS)


def hparams_of(events):
  """(dict of setting to value, list of (subfolder, tag) of the metrics) that TensorBoard's HParams tab reads."""
  (_, start), (_, experiment) = (events[f'_hparams_/{tag}'][-1] for tag in ('session_start_info', 'experiment'))
  start, experiment = (
    plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content) for value in (start, experiment)
  )
  values = {name: getattr(x, x.WhichOneof('kind')) for name, x in start.session_start_info.hparams.items()}
  assert sorted(info.name for info in experiment.experiment.hparam_infos) == sorted(values)
  return values, [(info.name.group, info.name.tag) for info in experiment.experiment.metric_infos]


def test_tensorboard_compares_the_settings_of_runs(world, stored):
  events = events_of(stored)
  values, metrics = hparams_of(events)
  assert {name: values[name] for name in ('student', 'learning_rate', 'epochs', 'balance', 'augment', 'init')} == {
    'student': 'audionet', 'learning_rate': 1e-2, 'epochs': 4, 'balance': False, 'augment': '', 'init': '',
  }  # fmt: skip
  assert values['teachers.0.name'] == 'teacher' and values['records.windows'] == WINDOWS
  written = json.loads((stored / 'settings.json').read_text())
  assert {name.split('.')[0] for name in values} == set(written) - {'prolonged'}
  assert metrics == [('', 'kl'), ('', 'top1'), ('', 'top5')] and {'kl', 'top1', 'top5'} <= set(events)
  changed = tensorboard.flat_settings(written | {'augment': {'shift': 1.0, 'mix': 0.25}})
  assert changed == values | {'augment': 'shift=1,mix=0.25'}


def test_a_finished_run_holds_an_export_of_its_student(stored):
  sound = np.random.default_rng(0).normal(size=(2, 640)).astype(np.float32) * 0.1
  model, settings = student_file.load(stored / 'student.keras')
  assert settings.classes == {'teacher': ['red', 'green', 'blue', 'grey', 'black']}
  served = tf.saved_model.load(str(stored / 'export' / '1'))
  probabilities = served.signatures['serving_default'](waveform=tf.constant(sound))['probabilities']
  np.testing.assert_allclose(probabilities, tf.nn.softmax(model(sound)['logits/teacher'])[:, 0], atol=1e-6)


def test_online_teacher_gives_the_same_training(world, stored):
  run_dir = world / 'online'
  trainer.train(world / 'records', run_dir, run_config(world, per_frame=True, teacher_mode='online'))
  for a, b in zip(weights_of(stored), weights_of(run_dir), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_resuming_a_finished_run_changes_nothing(world, stored):
  before = (stored / 'student.keras').read_bytes(), weights_of(stored)
  trainer.train(world / 'records', stored, run_config(world, per_frame=True), resume=True)
  for a, b in zip(before[1], weights_of(stored), strict=True):
    np.testing.assert_array_equal(a, b)
  assert (stored / 'student.keras').read_bytes() == before[0]  # runs that start from it know it by its digest
  assert len((stored / 'metrics.jsonl').read_text().splitlines()) == 4


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'learning_rate': 1e-3, 'seed': 5}, 'learning_rate was 0.01, is 0.001; seed was 0, is 5'),
    ({'epochs': 3}, 'epochs was 4, is 3 .a run cannot be shortened'),
  ],
)
def test_other_settings_are_refused(world, stored, changes, message):
  with pytest.raises(UserError, match=f'cannot resume with other settings: {message}'):
    trainer.train(world / 'records', stored, run_config(world, per_frame=True, **changes), resume=True)


def test_a_run_is_not_overwritten(world, stored):
  with pytest.raises(UserError, match='holds a run already; go on with --resume'):
    trainer.train(world / 'records', stored, run_config(world))


def test_more_epochs_go_on_as_if_there_had_always_been_so_many(world, stored):
  run_dir = world / 'prolonged'
  exported = [
    trainer.train(world / 'records', run_dir, run_config(world, per_frame=True, epochs=epochs), resume=True)
    for epochs in (2, 4, 4)
  ]
  assert [path.relative_to(run_dir).as_posix() for path in exported] == ['export/1', 'export/2', 'export/2']
  for a, b in zip(weights_of(stored), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  sound = np.random.default_rng(0).normal(size=(2, 640)).astype(np.float32) * 0.1
  probabilities = [
    tf.saved_model.load(str(path)).signatures['serving_default'](waveform=tf.constant(sound))['probabilities']
    for path in (exported[1], stored / 'export/1')
  ]
  np.testing.assert_allclose(*probabilities, atol=1e-6)


def test_validation_measures_other_records_and_changes_nothing(world, stored):
  synthetic_records.write_records(world / 'held_out', {'d.mp4': 7, 'e.mp4': 4}, seed=5)
  run_dir = world / 'validated'
  trainer.train(world / 'records', run_dir, run_config(world, per_frame=True), validation_folder=world / 'held_out')
  for a, b in zip(weights_of(stored), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  rows = [json.loads(line) for line in (run_dir / 'metrics.jsonl').read_text().splitlines()]
  student = predictor.load_student(run_dir)
  teacher = frozen_teacher.load(world / 'teacher.keras')
  measured = teacher_agreement.evaluate_records(student, world / 'held_out', teacher)
  for name in ('kl', 'top1', 'top5'):
    assert rows[-1][f'val_{name}'] == pytest.approx(measured[name], rel=1e-4)
  curve = {}
  for path in (run_dir / 'tensorboard/validation').glob('events.*'):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      curve |= {(value.tag, event.step): tf.make_ndarray(value.tensor) for value in event.summary.value}
  assert [float(curve['kl', epoch]) for epoch in range(4)] == pytest.approx([row['val_kl'] for row in rows])
  names = ('kl', 'top1', 'top5')
  assert hparams_of(events_of(run_dir))[1] == [(folder, name) for folder in ('', 'validation') for name in names]


def test_progress_shows_the_metrics_of_both_records():
  row = {'kl': 1.25, 'val_kl': 2.5, 'val_top1': 0.5, 'examples_per_second': 3.0}
  log = types.SimpleNamespace(row=row, writes=True)
  progress = callbacks.Progress(log, 0, 2)
  progress.on_epoch_end(0)
  assert progress.bar.postfix == 'KL 1.250, val KL 2.500, val top-1 50.0%, 3 windows/s'
  progress.on_train_end()


@pytest.mark.parametrize(
  ('source', 'labels_file', 'classes', 'line'),
  [
    (
      'x.tflite',
      None,
      5,
      'warning: teacher t comes without class names: they are class 0 to class 4; ',
    ),
    ('folder', None, 1001, "teacher t comes without class names: its 1001 classes are named as ImageNet's"),
    ('x.npz', None, 1000, "its 1000 classes are named as ImageNet's"),
    ('vgg16', None, 1000, ''),
    ('x.tflite', 'names.txt', 5, ''),
    ('x.csv', None, 5, ''),
  ],
)
def test_classes_without_names_are_announced(capsys, source, labels_file, classes, line):
  config = teacher_config.TeacherConfig(source, 't', labels=labels_file)
  outputs = {'outputs': 'logits'}
  teacher = types.SimpleNamespace(name='t', class_names=class_lists.default_class_names(classes), description=outputs)
  run_models.report_class_names([config], [teacher])
  printed = capsys.readouterr().err
  assert line in printed and printed.count('\n') == bool(line)


@pytest.mark.parametrize('batch_size', [8, 64])  # five steps per epoch; one, whose loss is still finite
def test_weights_that_are_not_finite_stop_the_run_and_are_not_saved(world, batch_size):
  run_dir = world / f'infinite{batch_size}'
  with pytest.raises(UserError, match='not finite (in epoch 0, step [1-4]|after epoch 0).*lower --learning_rate'):
    trainer.train(world / 'records', run_dir, run_config(world, learning_rate=1e39, batch_size=batch_size))
  assert not list(run_dir.glob('checkpoints/ckpt*'))
  assert not (run_dir / 'student.keras').exists()


def test_damaged_labels_are_one_line(world):
  run_dir = world / 'damaged'
  shard = next((world / 'records' / 'labels').glob('*/labels-00000*'))
  whole = shard.read_bytes()
  shard.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
  try:
    with pytest.raises(UserError, match=f'{shard}: record at byte .*tfrecords.verify .* --repair'):
      trainer.train(world / 'records', run_dir, run_config(world))
  finally:
    shard.write_bytes(whole)


def test_a_profile_of_the_last_epochs_is_written(world):
  run_dir = world / 'profiled'
  trainer.train(world / 'records', run_dir, run_config(world, epochs=2), profile=(1, 9), graph=True)
  assert list((run_dir / 'tensorboard').rglob('*.xplane.pb'))


def test_several_pictures_teach_one_step(world, tmp_path):
  params = RecordParams(images_per_window=4, image_size=32, image_format='png')
  synthetic_records.write_records(tmp_path / 'records', {'a': 6, 'b': 5}, params)
  trainer.train(tmp_path / 'records', tmp_path / 'run', run_config(world, epochs=1))
  assert (tmp_path / 'run' / 'export' / '1').is_dir()


@pytest.mark.long
def test_two_teachers_teach_a_head_each(world):
  synthetic_records.colour_teacher(world / 'scenes.keras', classes=3)
  flags = ['--teacher=scenes=' + str(world / 'scenes.keras'), '--loss_weight=scenes=0.5', '--epochs=2']
  flags += [f'--teacher=objects={world / "teacher.keras"}', f'--teacher_labels=objects={world / "labels.txt"}']
  done = commands.run(*command(world, world / 'two', *flags), check=True)
  assert 'warning: teacher scenes comes without class names' in done.stderr
  row = json.loads((world / 'two' / 'metrics.jsonl').read_text().splitlines()[-1])
  assert row['kl'] == pytest.approx((row['kl_objects'] + row['kl_scenes']) / 2, rel=1e-5)
  settings = student_file.load(world / 'two' / 'student.keras')[1]
  assert settings.classes == {
    'scenes': ['class 0', 'class 1', 'class 2'],
    'objects': ['red', 'green', 'blue', 'grey', 'black'],
  }
  written = json.loads((world / 'two' / 'settings.json').read_text())
  assert {t['name']: t['loss_weight'] for t in written['teachers']} == {'scenes': 0.5, 'objects': 1.0}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'student': 'nonet'}, "student is 'nonet', allowed is .*audionet"),
    ({'loss': 'l1'}, "loss is 'l1', allowed is .*kl or l2 or reconstruction"),
    ({'target_steps': 'all'}, 'allowed is covered or nearest or same or window'),
    ({'loss_reduction': 'max'}, 'allowed is mean or sum'),
    ({'gate': 'loud'}, "gate is 'loud', allowed is none or loudness"),
    ({'learning_rate': 0}, 'allowed is any number above 0'),
    ({'epochs': 0}, 'allowed is 1 to'),
    ({'batch_size': 10**24}, f'batch_size is {10**24}, allowed is 1 to 1000000'),
    ({'seed': -1}, 'allowed is 0 to'),
  ],
)
def test_configurations_are_checked(world, changes, message):
  with pytest.raises(UserError, match=message):
    run_config(world, **changes)


def dice(world_seed=0):
  keras.utils.set_random_seed(world_seed)
  waveform = keras.Input([640])
  hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8)(waveform))
  student = keras.Model(waveform, {'logits/t': keras.layers.Reshape([1, 5])(keras.layers.Dense(5)(hidden))})
  distiller = Distiller(student, ['t'], 1)
  distiller.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
  distiller(tf.zeros([1, 640]))
  distiller.optimizer.build(student.trainable_variables)
  return distiller


@pytest.mark.parametrize('inside', [False, True])
def test_checkpoints_hold_optimizer_and_dice(tmp_path, inside):
  rng = np.random.default_rng(0)
  batch = {
    'audio': tf.constant(rng.normal(size=(6, 640)), tf.float32),
    'teacher/t': tf.constant(rng.dirichlet(np.ones(5), (6, 1)), tf.float32),
    'video_id': tf.zeros([6], tf.int64),
    'index': tf.range(6, dtype=tf.int64),
    'mask': tf.ones([6]),
  }
  data = tf.data.Dataset.from_tensors(batch).repeat()

  def run(distiller, first, last, first_step=0, stops_after=None):
    log = callbacks.RunLog(tmp_path, {}, ['v'], 6)
    checkpoints = callbacks.Checkpoints(tmp_path, distiller, **({'every_epochs': 1} if stops_after is None else {}))
    assert (checkpoints.restore(), checkpoints.steps_done) == (first, first_step)
    log.begin(first)
    stop = keras.callbacks.LambdaCallback(
      on_train_batch_end=lambda batch, logs: stops_after == batch and checkpoints.on_signal(signal.SIGINT)
    )
    with contextlib.suppress(interruption.Interrupted):
      loop.run(distiller, data, [stop, log, checkpoints], last, 4, first, first_step)
    rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    weights = [w.numpy() for w in distiller.student.trainable_variables]
    return weights, [{name: row[name] for name in ('epoch', 'kl', 'top1')} for row in rows]

  if inside:
    run(dice(), 0, 2, stops_after=2)
    resumed = run(dice(world_seed=99), 0, 2, 3)
  else:
    run(dice(), 0, 1)
    resumed = run(dice(world_seed=99), 1, 2)
  for path in tmp_path.glob('*'):
    path.unlink() if path.is_file() else [p.unlink() for p in path.glob('*')]
  straight = run(dice(), 0, 2)
  assert straight[1] == resumed[1]
  for a, b in zip(straight[0], resumed[0], strict=True):
    np.testing.assert_array_equal(a, b)


def of_an_earlier_version(path):
  """Leaves only what checkpoints held before they were taken inside an epoch."""
  old = tf.train.Checkpoint(**callbacks.Checkpoints(path, dice()).parts)
  old.restore(str(path / 'checkpoints/ckpt-3')).expect_partial()
  for file in (path / 'checkpoints').iterdir():
    file.unlink()
  old.save_counter.assign(2)
  old.save(str(path / 'checkpoints/ckpt'))


def test_checkpoints_of_earlier_versions_are_read(tmp_path):
  distiller = dice()
  distiller.student.layers[1].kernel.assign_add(tf.ones_like(distiller.student.layers[1].kernel))
  checkpoints = callbacks.Checkpoints(tmp_path, distiller)
  for epochs in (5, 6, 7):
    checkpoints.save(epochs)
  of_an_earlier_version(tmp_path)
  resumed = dice()
  read = callbacks.Checkpoints(tmp_path, resumed)
  assert (read.restore(), read.steps_done) == (7, 0)
  np.testing.assert_array_equal(resumed.student.layers[1].kernel, distiller.student.layers[1].kernel)
  read.save(8)
  assert (tmp_path / 'checkpoints/ckpt-4.index').exists()  # never over an old one


def test_a_run_that_is_killed_inside_an_epoch_goes_on_there(world, stored, capsys):
  run_dir, steps = world / 'inside', []

  def kill(self, batch, logs=None):
    steps.append(batch)
    if len(steps) == 8:  # of 5 steps per epoch
      raise KeyboardInterrupt

  same = run_config(world, per_frame=True)
  with pytest.MonkeyPatch.context() as killed, pytest.raises(KeyboardInterrupt):
    killed.setattr(callbacks.Progress, 'on_train_batch_end', kill)
    trainer.train(world / 'records', run_dir, same, checkpoint_minutes=0)
  trainer.train(world / 'records', run_dir, same, resume=True)
  assert 'resuming after epoch 1 of 4 and 3 steps of the next' in capsys.readouterr().err
  names = sorted(path.name for path in run_dir.glob('checkpoints/*.index'))
  assert names == [f'ckpt-{number}.index' for number in (7, 8, 9)]  # old ones are deleted, those of the killed run too
  for a, b in zip(weights_of(stored), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  times = ('seconds', 'examples_per_second', 'training_time')
  for name in ('metrics.jsonl', 'epochs.jsonl'):
    both = [map(json.loads, (folder / name).read_text().splitlines()) for folder in (stored, run_dir)]
    for one, other in zip(*both, strict=True):
      assert {k: v for k, v in one.items() if k not in times} == {k: v for k, v in other.items() if k not in times}


EPOCHS = 30


def command(world, run_dir, *extra):
  flags = {
    'records': world / 'records', 'run_dir': run_dir, 'teacher': world / 'teacher.keras', 'epochs': EPOCHS,
    'batch_size': 8, 'learning_rate': 1e-3, 'checkpoint_every': 7,
  }  # fmt: skip
  return ['audionet_tf.train', *(f'--{k}={v}' for k, v in flags.items()), *extra]


@pytest.mark.long
def test_killed_and_resumed_equals_never_killed(world):
  """Killed twice: before the first checkpoint, and in the middle."""
  teacher = config.TeacherConfig(str(world / 'teacher.keras'))
  same = run_config(world, teachers=(teacher,), epochs=EPOCHS, learning_rate=1e-3)
  trainer.train(world / 'records', world / 'whole', same, checkpoint_every=7)
  run_dir = world / 'killed'
  for at_least in (1, 12):
    child = commands.start(command(world, run_dir, '--resume'))
    log = run_dir / 'metrics.jsonl'
    deadline = time.monotonic() + 250
    while not (log.exists() and len(log.read_text().splitlines()) > at_least):
      assert time.monotonic() < deadline and child.is_alive(), 'the run ended before it could be killed'
      time.sleep(0.02)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL and not (run_dir / 'student.keras').exists()
  done = commands.run(*command(world, run_dir, '--resume'), check=True)
  assert 'resuming after epoch' in done.stderr
  for a, b in zip(weights_of(world / 'whole'), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  kl = [
    [json.loads(line)['kl'] for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    for folder in (world / 'whole', run_dir)
  ]
  assert kl[0] == kl[1]


@pytest.mark.long
def test_ctrl_c_and_sigterm_leave_a_checkpoint_and_the_command_to_resume(world, tmp_path):
  """Stopped by both in turn; no other checkpoint is written before the last epoch."""
  epochs, run_dir = 200, world / 'stopped'
  words = command(world, run_dir, f'--epochs={epochs}', '--checkpoint_every=1000', '--noprojector')
  log = run_dir / 'metrics.jsonl'
  for number, exit_code, at_least in ((signal.SIGINT, 130, 3), (signal.SIGTERM, 143, 60)):
    child = commands.start(words, stderr=str(tmp_path / 'stderr'))
    deadline = time.monotonic() + 250
    while not (log.exists() and len(log.read_text().splitlines()) > at_least):
      assert time.monotonic() < deadline and child.is_alive(), 'the run ended before it could be stopped'
      time.sleep(0.02)
    os.kill(child.pid, number)
    child.join(60)
    assert child.exitcode == exit_code
    last = (tmp_path / 'stderr').read_text().splitlines()[-1]
    (tmp_path / 'stderr').unlink()
    assert {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}[number] in last
    resume = shlex.split(last.partition('resume with: ')[2])
    assert resume[:3] == ['python', '-m', 'audionet_tf.train'] and resume[-1] == '--resume'
    done = len(log.read_text().splitlines())
    assert done < epochs and (run_dir / 'checkpoints/checkpoint').exists()
    words = resume[2:]
  finished = commands.run(*words, check=True)
  assert f'resuming after epoch {done} of {epochs}' in finished.stderr  # and perhaps some steps
  teacher = config.TeacherConfig(str(world / 'teacher.keras'))
  same = run_config(world, teachers=(teacher,), epochs=epochs, learning_rate=1e-3)
  trainer.train(world / 'records', world / 'undisturbed', same)
  for a, b in zip(weights_of(world / 'undisturbed'), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_a_step_and_a_checkpoint(tmp_path, number):
  stopped = callbacks.Checkpoints(tmp_path, dice(), every_epochs=10)
  stopped.set_params({'steps': 5, 'epochs': 3})
  stopped.on_epoch_begin(2)
  stopped.on_train_batch_end(0)  # no signal yet
  assert not list(tmp_path.glob('checkpoints/*'))
  stopped.on_signal(number)
  with pytest.raises(interruption.Interrupted) as caught:
    stopped.on_train_batch_end(1)
  assert caught.value.exit_code == 128 + number
  resumed = callbacks.Checkpoints(tmp_path, dice())
  assert (resumed.restore(), resumed.steps_done) == (2, 2)
  with pytest.raises(interruption.Interrupted):
    stopped.on_signal(number)  # once more: at once


def test_the_command_fails_in_one_line(world, tmp_path):
  done = commands.run(*command(world, tmp_path / 'run'), f'--records={tmp_path}')
  assert done.returncode == 1
  assert done.stderr.startswith('error: ')
  assert done.stderr.count('\n') == 1
  assert 'no records here' in done.stderr


@pytest.mark.long
def test_the_command_trains_on_two_replicas(world, stored):
  run_dir = world / 'replicas'
  commands.run(*command(world, run_dir, '--epochs=4', '--learning_rate=1e-2', '--replicas=2'), check=True)
  kl = [
    [json.loads(line)['kl'] for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    for folder in (stored, run_dir)
  ]
  np.testing.assert_allclose(*kl, rtol=1e-5)
  for a, b in zip(weights_of(stored), weights_of(run_dir), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
