"""Damage around a training run: records and answers, checkpoints, metrics, exports, and a second run in the folder."""

import json
import pathlib
import shutil

import commands
import flips
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.models import student_file
from audionet_tf.saved_model import export
from audionet_tf.training import config, run_checks, saved_checkpoints, trainer

EPOCHS = 6
INTERNALS = ('DataLoss', 'Error', '{{', 'node', 'Iterator', 'tensorflow', 'OP_REQUIRES')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with records/, whose answers are stored, teacher.keras, and whole/, a run that saved every two epochs."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a.mp4': 9, 'b.mp4': 14, 'c.mp4': 10})
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  train(folder, folder / 'whole')
  return folder


def train(world, run_dir, resume=False, **changes):
  teacher = config.TeacherConfig(str(world / 'teacher.keras'))
  settings = {'teachers': (teacher,), 'epochs': EPOCHS, 'batch_size': 16, 'learning_rate': 1e-2, **changes}
  return trainer.train(world / 'records', run_dir, config.TrainingConfig(**settings), resume, checkpoint_every=2)


@pytest.fixture
def run(world, tmp_path):
  """A copy of the finished run."""
  return pathlib.Path(shutil.copytree(world / 'whole', tmp_path / 'run'))


def weights_of(run_dir):
  return [w.numpy() for w in student_file.load(run_dir / 'student.keras')[0].weights]


def assert_as_whole(world, run_dir):
  """The run's weights and metrics are those of the run that nothing happened to, except for times."""
  for a, b in zip(weights_of(world / 'whole'), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  logs = [[json.loads(x) for x in (f / 'metrics.jsonl').read_text().splitlines()] for f in (world / 'whole', run_dir)]
  assert [[row['kl'] for row in log] for log in logs][0] == [row['kl'] for row in logs[1]]
  stats = [json.loads((folder / 'stats.json').read_text())['epochs'] for folder in (world / 'whole', run_dir)]
  assert [epoch['videos'] for epoch in stats[0]] == [epoch['videos'] for epoch in stats[1]]
  assert not list(run_dir.rglob('.partial-*'))


def newest(run_dir, kind):
  return sorted((run_dir / 'checkpoints').glob(f'ckpt-3.{kind}*'))[0]


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def misname(path):
  path.rename(path.with_name(path.name.replace('ckpt-3', 'ckpt-30')))


def garbage(path):
  path.write_bytes(b'\xff\x00garbage' * 40)


SPOIL = {
  'data cut': lambda run: cut(newest(run, 'data')),
  'data empty': lambda run: newest(run, 'data').write_bytes(b''),
  'data gone': lambda run: newest(run, 'data').unlink(),
  'data misnamed': lambda run: misname(newest(run, 'data')),
  'index cut': lambda run: cut(newest(run, 'index')),
  'index empty': lambda run: newest(run, 'index').write_bytes(b''),
  'index gone': lambda run: newest(run, 'index').unlink(),
  'index misnamed': lambda run: misname(newest(run, 'index')),
  'index garbage': lambda run: garbage(newest(run, 'index')),
  'data garbage': lambda run: garbage(newest(run, 'data')),
  **{f'data flip {i}': lambda run, i=i: flips.flip(newest(run, 'data'), i) for i in range(20)},
  **{f'index flip {i}': lambda run, i=i: flips.flip(newest(run, 'index'), i, 0, 400) for i in range(20)},
}


def test_three_checkpoints_are_kept(world):
  assert sorted(path.name for path in (world / 'whole/checkpoints').glob('*.index')) == [
    f'ckpt-{number}.index' for number in (1, 2, 3)
  ]


@pytest.mark.parametrize('spoil', SPOIL)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(run, spoil):
  """What `restore` reads; whole runs are resumed below."""
  SPOIL[spoil](run)
  usable = saved_checkpoints.usable(saved_checkpoints.read(run / 'checkpoints'), most_epochs=EPOCHS)
  assert [done for _, done in usable] == [(4, 0), (2, 0)]


@pytest.mark.parametrize(
  ('found', 'left'),
  [
    ([(5, 10), (4, 8), (3, 6), (2, 4), (1, 2)], [3, 4, 5]),
    ([(5, 10), (4, None), (3, 6), (2, 4), (1, 2)], [2, 3, 4, 5]),  # of the whole ones
    ([(5, 10), (4, None), (3, 6)], [1, 2, 3, 4, 5]),
  ],
)
def test_older_checkpoints_that_a_killed_run_left_are_removed(tmp_path, found, left):
  """By the names alone; TensorFlow's list names the others, and the data of one without its index go too."""
  for number in range(1, 6):
    for suffix in ('index', 'data-00000-of-00001'):
      (tmp_path / f'ckpt-{number}.{suffix}').touch()
  (tmp_path / 'ckpt-1.index').unlink()
  found = [(tmp_path / f'ckpt-{number}', epochs) for number, epochs in found]
  saved_checkpoints.remove_older(tmp_path, found, 3)
  assert sorted(int(path.name[5]) for path in tmp_path.glob('*.data*')) == left
  assert sorted(int(path.name[5]) for path in tmp_path.glob('*.index')) == [number for number in left if number > 1]


def test_a_run_that_was_killed_while_it_removed_a_checkpoint_ends_like_others(world, run):
  for path in (run / 'checkpoints').glob('ckpt-1.*'):
    shutil.copy(path, path.with_name(path.name.replace('ckpt-1', 'ckpt-0')))
  train(world, run, resume=True)
  names = [{path.name for path in (folder / 'checkpoints').iterdir()} for folder in (world / 'whole', run)]
  assert names[0] == names[1]
  listed = [
    tf.train.get_checkpoint_state(str(f / 'checkpoints')).all_model_checkpoint_paths for f in (world / 'whole', run)
  ]
  assert [pathlib.Path(name).name for name in listed[0]] == [pathlib.Path(name).name for name in listed[1]]


@pytest.mark.parametrize('state', [b'', b'\xff\xfe\x00', b'model_checkpoint_path: "ckpt-77"\n', b'nonsense {{', None])
def test_the_list_of_checkpoints_is_made_anew(run, state):
  path = run / 'checkpoints/checkpoint'
  path.unlink() if state is None else path.write_bytes(state)
  usable = saved_checkpoints.usable(saved_checkpoints.read(run / 'checkpoints'), most_epochs=EPOCHS)
  assert [done for _, done in usable] == [(6, 0), (4, 0), (2, 0)]
  saved_checkpoints.list_anew(run / 'checkpoints')
  listed = tf.train.get_checkpoint_state(str(run / 'checkpoints'))
  assert [pathlib.Path(name).name for name in listed.all_model_checkpoint_paths] == ['ckpt-1', 'ckpt-2', 'ckpt-3']


@pytest.mark.parametrize('spoil', ['data cut', 'index misnamed', 'index flip 0', 'list'])
def test_a_run_resumes_from_the_checkpoint_before(world, run, capsys, spoil):
  garbage(run / 'checkpoints/checkpoint') if spoil == 'list' else SPOIL[spoil](run)
  train(world, run, resume=True)
  printed = capsys.readouterr().err
  if spoil != 'list':
    assert 'resuming after epoch 4 of 6' in printed and 'cannot be read; the one before it is used' in printed
  assert_as_whole(world, run)
  train(world, run, resume=True)  # and its checkpoints are good ones again
  assert 'resuming after epoch 6 of 6' in capsys.readouterr().err


def test_a_run_without_any_good_checkpoint_starts_again(world, run, capsys):
  for path in (run / 'checkpoints').glob('*.data*'):
    cut(path)
  train(world, run, resume=True)
  assert 'training starts again' in capsys.readouterr().err
  assert_as_whole(world, run)


@pytest.mark.parametrize(
  ('name', 'spoil', 'epochs'),
  [
    ('metrics.jsonl', garbage, 0),
    ('epochs.jsonl', lambda path: path.unlink(), 0),
    ('epochs.jsonl', lambda path: path.write_text('{"epoch": 9}\n' * 6), 0),
    ('metrics.jsonl', lambda path: path.write_text('[' * 100_000), 0),
    ('metrics.jsonl', lambda path: path.write_bytes(path.read_bytes()[:-5]), 4),
    ('epochs.jsonl', lambda path: path.write_text('\n'.join(path.read_text().splitlines()[:3]) + '\n'), 2),
  ],
)
def test_damaged_metrics_fall_back_likewise(world, run, capsys, name, spoil, epochs):
  spoil(run / name)
  train(world, run, resume=True)
  printed = capsys.readouterr().err
  assert f'{run / name}: ' in printed
  assert (f'resuming after epoch {epochs} of 6' if epochs else 'training starts again') in printed
  assert_as_whole(world, run)


@pytest.mark.parametrize('content', [b'', b'\xff', b'[]', b'3', b'{"teachers": 3}', b'[' * 100_000])
def test_damaged_settings_are_one_line(world, run, content):
  (run / 'settings.json').write_bytes(content)
  with pytest.raises(UserError, match='settings.json: damaged') as caught:
    train(world, run, resume=True)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('seed', range(40))
def test_a_flipped_bit_of_an_export_is_noticed(run, seed):
  """The checksums notice it in any file; model and settings are not even looked at."""
  version = run / 'export/1'
  paths = sorted(path for path in version.rglob('*') if path.is_file())
  assert export.is_whole(version, None, None)
  path = paths[seed % len(paths)]
  before = path.read_bytes()
  flips.flip(path, seed)
  of_spaces = path.name == 'checksums.json' and json_equal(before, path.read_bytes())
  assert of_spaces or not export.is_whole(version, None, None), path


def json_equal(*texts):
  try:
    first, second = map(json.loads, texts)
  except ValueError:
    return False
  return first == second


def test_a_broken_export_is_made_again(world, run, capsys):
  version = run / 'export/1'
  kept = flips.contents(version)
  train(world, run, resume=True)
  assert flips.contents(version) == kept and 'damaged' not in capsys.readouterr().err  # a whole one stays
  flips.flip(version / 'variables/variables.data-00000-of-00001', 1)
  train(world, run, resume=True)
  assert f'{version}: damaged' in capsys.readouterr().err
  assert flips.contents(version).keys() == kept.keys() and export.is_whole(version, None, None)
  shutil.rmtree(version)
  version.write_text('not a folder')
  train(world, run, resume=True)
  assert flips.contents(version).keys() == kept.keys() and export.is_whole(version, None, None)
  assert sorted(path.name for path in (run / 'export').iterdir()) == ['.lock', '1']


def test_an_export_of_an_older_version_is_compared_with_the_student(world, run, capsys):
  version = run / 'export/1'
  (version / 'assets.extra/checksums.json').unlink()
  kept = flips.contents(version)
  train(world, run, resume=True)
  assert flips.contents(version) == kept and 'damaged' not in capsys.readouterr().err
  cut(version / 'variables/variables.data-00000-of-00001')
  train(world, run, resume=True)
  assert 'damaged' in capsys.readouterr().err and (version / 'assets.extra/checksums.json').exists()


def test_what_a_killed_export_left_goes(world, run):
  shutil.rmtree(run / 'export/1')
  for name in ('.partial-1', '.partial-99999'):
    (run / 'export' / name / 'variables').mkdir(parents=True)
    (run / 'export' / name / 'variables/x').write_text('half')
  train(world, run, resume=True)
  assert sorted(path.name for path in (run / 'export').iterdir()) == ['.lock', '1']


@pytest.fixture
def records(world):
  """The folder of records; it is put back after the test."""
  folder = world / 'records'
  kept = flips.contents(folder, skipped=())
  yield folder
  flips.put_back(folder, kept)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('mode', ['answers', 'records'])
def test_damage_names_the_file_and_what_mends_it(world, records, tmp_path, mode, seed):
  paths = sorted(records.glob('labels/*/labels-*' if mode == 'answers' else 'records-*'))
  path = paths[seed % 2]
  flips.flip(path, seed)
  with pytest.raises(UserError) as caught:
    train(world, tmp_path / 'run', teacher_mode='stored' if mode == 'answers' else 'online')
  message = str(caught.value)
  assert message.startswith(f'{path}: record at byte ') and '\n' not in message
  assert f'python -m tfrecords.verify {records} --repair' in message
  assert not any(word in message for word in INTERNALS)


@pytest.mark.parametrize('name', [b'audiX/pcm', b'\xa1udio/pcm'])  # TensorFlow quotes the second, which is not UTF-8
@pytest.mark.parametrize('mode', ['answers', 'records'])
def test_a_file_with_right_checksums_but_without_its_sound_is_named(world, records, tmp_path, mode, name):
  path = sorted(records.glob('labels/*/labels-*' if mode == 'answers' else 'records-*'))[1]
  content, spans = path.read_bytes(), tfrecord_io.record_offsets(path)
  payloads = [content[start + 12 : start + length - 4] for start, length in spans]
  payloads[-1] = payloads[-1].replace(b'audio/pcm', name)
  path.write_bytes(b''.join(map(tfrecord_io.framed, payloads)))
  with pytest.raises(UserError) as caught:
    train(world, tmp_path / 'run', teacher_mode='stored' if mode == 'answers' else 'online')
  message = str(caught.value)
  assert message.startswith(f'{path}: not the windows of its manifest; ') and '\n' not in message
  assert f'python -m tfrecords.verify {records} --repair' in message


def test_a_damaged_record_is_not_blamed_on_the_answers(world, records, tmp_path):
  """The answers are stored and whole; TensorBoard's examples read the pictures in the records."""
  for path in records.glob('records-*'):
    flips.flip(path, 3, 200, path.stat().st_size - 50)
  with pytest.raises(UserError, match=r'records-\d.tfrecord: record at byte \d+: ') as caught:
    train(world, tmp_path / 'run')
  assert 'labels' not in str(caught.value) and 'delete' not in str(caught.value)


def test_damaged_records_are_named_by_the_teacher_pass(world, records, tmp_path):
  shutil.rmtree(records / 'labels')
  flips.flip(records / 'records-1.tfrecord', 8)
  with pytest.raises(UserError, match='records-1.tfrecord: record at byte') as caught:
    train(world, tmp_path / 'run')
  assert not any(word in str(caught.value) for word in INTERNALS)


@pytest.mark.parametrize('mode', ['stored', 'online'])
def test_an_id_edited_in_a_manifest_without_checksum_is_seen(world, records, tmp_path, mode):
  path = records / 'manifest.json'
  text = path.read_text()
  assert 'checksum' not in text  # as of an older version
  path.write_text(text.replace('b.mp4', 'bb.mp4'))
  shutil.rmtree(records / 'labels')
  with pytest.raises(UserError) as caught:
    train(world, tmp_path / 'run', teacher_mode=mode)
  message = str(caught.value)
  assert str(records) in message and 'manifest' in message and '--repair' in message and '\n' not in message
  assert not any(word in message for word in INTERNALS)


@pytest.mark.parametrize('edit', ['videos', 'windows', 'records_digest', 'teachers', 'garbage'])
def test_an_edited_manifest_of_answers_is_written_anew(world, records, tmp_path, edit):
  path = next(records.glob('labels/*/manifest.json'))
  kept = path.read_bytes()
  manifest = json.loads(kept)
  changes = {'videos': ['x', 'y', 'z'], 'windows': 10**12, 'records_digest': 'f' * 32, 'teachers': {}}
  path.write_text('[' * 100_000 if edit == 'garbage' else json.dumps(manifest | {edit: changes[edit]}))
  train(world, tmp_path / 'run')
  assert path.read_bytes() == kept
  assert_as_whole(world, tmp_path / 'run')


def test_a_second_training_in_the_folder_is_refused(world, run, tmp_path):
  words = [f'--records={world / "records"}', f'--run_dir={run}', f'--teacher={world / "teacher.keras"}', '--resume']
  with run_checks.locked(run, resume=True):
    before = flips.contents(run)
    with pytest.raises(UserError, match='another training is running') as caught:
      train(world, run, resume=True)
    assert '\n' not in str(caught.value)
    done = commands.run('audionet_tf.train', *words)
    assert done.returncode == 1 and 'another training is running' in done.stderr and done.stderr.count('\n') == 1
    assert flips.contents(run) == before
  train(world, run, resume=True)
  new = tmp_path / 'new'
  with run_checks.locked(new, resume=False), pytest.raises(UserError, match='another training is running'):
    train(world, new)
  with files.locked(new, wait=False):
    pass  # free again
