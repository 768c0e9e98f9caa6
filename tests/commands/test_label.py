"""The teacher's pass by shares: any order of runs gives the files of one run, and training finds them."""

import threading

import commands
import flips
import pytest
import synthetic_records

from audionet_tf.data import records
from audionet_tf.teachers import frozen_teacher, labelling, teacher_config


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  for name in ('whole', 'shared', 'threads', 'command', 'started'):
    synthetic_records.write_records(folder / name, {'a.mp4': 9, 'b.mp4': 14}, shards=5)
  return folder


def label(world, name, share=(0, 1)):
  return labelling.label(world / name, (teacher_config.TeacherConfig(str(world / 'teacher.keras')),), share)


@pytest.fixture(scope='module')
def whole(world):
  folder, count, missing = label(world, 'whole')
  assert (count, missing) == (5, [])
  return flips.contents(folder)


def test_shares_in_any_order_give_the_files_of_one_run(world, whole):
  assert len(whole) == 6
  for number, (share, left) in enumerate([((2, 3), 4), ((0, 3), 2), ((0, 3), 2), ((1, 3), 0)]):
    folder, count, missing = label(world, 'shared', share)
    assert (count, len(missing)) == (5, left), number
    assert (folder / 'manifest.json').exists() == (left == 0)
    made = flips.contents(folder)
    assert made == {name: whole[name] for name in made}
  assert made == whole
  teacher = frozen_teacher.load(str(world / 'teacher.keras'))
  assert labelling.is_stored(world / 'shared', records.read_manifest(world / 'shared'), [teacher])


def test_overlapping_runs_at_once_write_each_file_once(world, whole):
  """0/2, 1/2 and 0/3 share files; locks keep them apart."""
  threads = [threading.Thread(target=label, args=(world, 'threads', share)) for share in ((0, 2), (1, 2), (0, 3))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  (folder,) = (world / 'threads/labels').iterdir()
  assert flips.contents(folder) == whole


def test_training_completes_what_a_share_began(world, whole):
  folder, _, missing = label(world, 'started', (0, 2))
  assert len(missing) == 2
  times = {path.name: path.stat().st_mtime_ns for path in folder.glob('labels-*')}
  teacher = frozen_teacher.load(str(world / 'teacher.keras'))
  labelling.ensure(world / 'started', records.read_manifest(world / 'started'), [teacher])
  assert flips.contents(folder) == whole
  assert {name: (folder / name).stat().st_mtime_ns for name in times} == times


@pytest.mark.long
def test_the_command(world, whole):
  words = ['audionet_tf.label', f'--records={world}/command', f'--teacher={world}/teacher.keras']
  done = commands.run(*words, '--shard=1/2', check=True)
  assert '2 of 5 files, 3 still to come' in done.stderr
  assert '5 of 5 files: complete' in commands.run(*words, check=True).stderr
  (folder,) = (world / 'command/labels').iterdir()
  assert flips.contents(folder) == whole


@pytest.mark.parametrize('shard', ['2/2', '1', '0/0', '-1/2', 'a/b', ''])
def test_a_wrong_shard_is_one_line(world, shard):
  done = commands.run('audionet_tf.label', f'--records={world}/whole', f'--shard={shard}')
  assert done.returncode == 1 and done.stderr.count('\n') == 1 and '0/4' in done.stderr
