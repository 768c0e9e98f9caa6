"""The teacher's pass as a Beam pipeline stores what one run of labelling stores, byte for byte."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import threading

import commands
import flips
import pytest
import synthetic_records

from audionet_tf.core.errors import UserError
from audionet_tf.teachers import frozen_teacher, labelling, teacher_config

apache_beam = pytest.importorskip(
  'apache_beam', reason='!!!! BEAM NOT TESTED: apache_beam not installed (scripts/setup beam)'
)

from audionet_tf.teachers import beam_labelling  # noqa: E402

SHARDS = 5
DASK = '--runner=apache_beam.runners.dask.dask_runner.DaskRunner'
NO_DASK = '!!!! BEAM ON DASK NOT TESTED: distributed not installed (scripts/setup beam)'


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  return synthetic_records.colour_teacher(tmp_path_factory.mktemp('teacher') / 'teacher.keras')


def make_world(folder, teacher):
  """(folder of records of five files, tuple of the TeacherConfig)."""
  synthetic_records.write_records(folder / 'records', {'a.mp4': 9, 'b.mp4': 14}, shards=SHARDS)
  return folder / 'records', (teacher_config.TeacherConfig(str(teacher)),)


@pytest.fixture
def world(tmp_path, teacher):
  beam_labelling._loaded.clear()
  return make_world(tmp_path, teacher)


@pytest.fixture(scope='module')
def whole(tmp_path_factory, teacher):
  """Files of one run without Beam."""
  folder, _, _ = labelling.label(*make_world(tmp_path_factory.mktemp('whole'), teacher))
  return flips.contents(folder)


def count_loads(monkeypatch):
  """List that grows with every teacher that is loaded."""
  loads, load = [], frozen_teacher.load
  monkeypatch.setattr(frozen_teacher, 'load', lambda **arguments: loads.append(1) or load(**arguments))
  return loads


def test_in_this_process(world, whole, monkeypatch):
  loads = count_loads(monkeypatch)
  folder, count, missing = beam_labelling.label(*world)
  assert (flips.contents(folder), count, missing) == (whole, SHARDS, [])
  assert len(loads) == 1
  times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert beam_labelling.label(*world) == (folder, SHARDS, [])
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_a_worker_loads_the_teacher_once(world, whole, monkeypatch):
  key = labelling.labels_key(*labelling.load(*world))
  folder = world[0] / 'labels' / key
  folder.mkdir(parents=True)
  loads = count_loads(monkeypatch)
  for number in range(SHARDS):
    assert beam_labelling.labelled(number, str(world[0]), world[1], key, 64) == ''
  assert len(loads) == 1
  assert flips.contents(folder) == {name: content for name, content in whole.items() if name != 'manifest.json'}


def test_what_a_killed_run_finished_is_not_written_again(world, whole):
  folder, _, missing = labelling.label(*world, share=(0, 2))
  times = {path: path.stat().st_mtime_ns for path in folder.glob('labels-*')}
  assert len(times) == 3 and len(missing) == 2
  assert beam_labelling.label(*world)[0] == folder
  assert flips.contents(folder) == whole
  assert {path: path.stat().st_mtime_ns for path in times} == times


def test_damaged_records_are_named_and_the_rest_is_kept(world):
  damaged = world[0] / 'records-1.tfrecord'
  flips.flip(damaged, 400)
  with pytest.raises(UserError, match=f'1 of {SHARDS} files are not labelled; the first: .*records-1.tfrecord'):
    beam_labelling.label(*world)
  (folder,) = (world[0] / 'labels').iterdir()
  made = sorted(path.name for path in folder.iterdir() if path.name[0] != '.')
  assert made == [f'labels-{i:05d}-of-00005.tfrecord' for i in (0, 2, 3, 4)]


def test_a_worker_with_another_teacher_stores_nothing(world):
  reason = beam_labelling.labelled(0, str(world[0]), world[1], '0123456789abcdef', 64)
  assert 'a worker has other records or teachers' in reason
  assert not (world[0] / 'labels').exists()


@pytest.mark.long
def test_the_command_with_two_processes(world, whole):
  records, (config,) = world
  runner = ['--runner=FnApiRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=2']
  words = [f'--records={records}', f'--teacher={config.source}', '--beam']
  done = commands.run('audionet_tf.label', *words, '--', *runner, check=True)
  assert '5 of 5 files: complete' in done.stderr
  (folder,) = (records / 'labels').iterdir()
  assert flips.contents(folder) == whole


@pytest.mark.long
def test_on_a_dask_cluster(world, whole):
  distributed = pytest.importorskip('distributed', reason=NO_DASK)
  with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
    folder, _, _ = beam_labelling.label(*world, options=[DASK, f'--dask_client_address={cluster.scheduler_address}'])
  assert flips.contents(folder) == whole


def descriptors(process):
  """list of pathlib.Path, [] once the process has ended."""
  with contextlib.suppress(FileNotFoundError):
    return list(pathlib.Path(f'/proc/{process}/fd').iterdir())
  return []


def kill_when_it_writes(cluster, folder, killed, over):
  """Kills the first worker that holds the lock of a file of labels, once.

  `over`: threading.Event that ends the wait.
  """
  while not over.wait(0.01):
    for worker in [nanny.pid for nanny in cluster.workers.values()]:
      for descriptor in descriptors(worker):
        with contextlib.suppress(OSError):  # closed meanwhile
          if re.fullmatch(r'\.labels-.*\.lock', (held := descriptor.readlink()).name) and folder in held.parents:
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)
            return


@pytest.mark.long
def test_a_killed_worker_is_replaced(tmp_path, teacher):
  distributed = pytest.importorskip('distributed', reason=NO_DASK)
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 900, 'b.mp4': 1400}, shards=SHARDS)
  configs = (teacher_config.TeacherConfig(str(teacher)),)
  expected = flips.contents(labelling.label(tmp_path / 'records', configs)[0])
  shutil.rmtree(tmp_path / 'records/labels')
  beam_labelling._loaded.clear()
  killed, over = [], threading.Event()
  with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
    arguments = cluster, tmp_path / 'records/labels', killed, over
    killer = threading.Thread(target=kill_when_it_writes, args=arguments)
    killer.start()
    options = [DASK, f'--dask_client_address={cluster.scheduler_address}']
    try:
      folder, _, _ = beam_labelling.label(tmp_path / 'records', configs, options=options)
    finally:
      over.set()
      killer.join()
  assert killed and flips.contents(folder) == expected


@pytest.mark.parametrize(
  ('message', 'reason'),
  [
    ('no job server\nsee there', 'no job server'),
    ('Traceback (most recent call last):\n  File "a.py"\nOSError: gone\n', 'OSError: gone'),
    ('', 'RuntimeError'),
  ],
)
def test_a_runner_that_fails_is_one_line(world, monkeypatch, message, reason):
  def run(self):
    raise RuntimeError(message)

  monkeypatch.setattr(apache_beam.Pipeline, 'run', run)
  with pytest.raises(UserError, match=re.escape(f'--runner=FnApiRunner: it did not run to its end ({reason})')):
    beam_labelling.label(*world)


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--beam', '--shard=0/2'], '--shard is for runs without --beam'),
    (['--beam', '--', '--runner', 'FnApiRunner'], '--runner FnApiRunner: .* as --runner=FnApiRunner'),
    (['--beam', 'clips'], 'clips: unexpected; all other settings are flags'),
  ],
)
def test_words_that_do_not_fit_are_one_line(words, message):
  done = commands.run('audionet_tf.label', '--records=none', *words)
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert re.search(message, done.stderr)
