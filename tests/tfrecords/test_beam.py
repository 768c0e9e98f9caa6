"""Beam builds the files of the local build, byte for byte, on every runner, and a killed worker is replaced."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import threading

import built_records
import commands
import flips
import media_clips
import pytest

from audionet_tf.core.errors import UserError
from tfrecords import verification

MISSING = '!!!! BEAM NOT TESTED: apache_beam or distributed not installed (scripts/setup beam)'
pytest.importorskip('apache_beam', reason=MISSING)
distributed = pytest.importorskip('distributed', reason=MISSING)

from tfrecords import beam as beam_command  # noqa: E402
from tfrecords import beam_pipelines  # noqa: E402

DASK = '--runner=apache_beam.runners.dask.dask_runner.DaskRunner'


@pytest.fixture(scope='module')
def local(tmp_path_factory):
  """(folder of three videos and a file that is none, files of the local build)."""
  folder = tmp_path_factory.mktemp('local')
  videos = built_records.three(folder / 'videos')
  (videos / 'text.mp4').write_text('no video')
  built_records.build(videos, folder / 'records', shard_count=3)
  return videos, flips.contents(folder / 'records')


def build(videos, output, *options):
  return beam_pipelines.build([str(videos)], output, built_records.PNG, 3, options=options)


def check(local, folder, summary):
  assert flips.contents(folder) == local[1]
  assert (summary.videos, summary.windows, summary.shards, list(summary.failures)) == (3, 60, 3, ['text.mp4'])
  assert verification.verify(folder) == []
  assert not (folder / '.parts').exists()


def test_in_this_process(local, tmp_path):
  check(local, tmp_path / 'out', build(local[0], tmp_path / 'out'))
  with pytest.raises(UserError, match='holds records already'):
    build(local[0], tmp_path / 'out')
  assert built_records.build(local[0], tmp_path / 'out', shard_count=3).kept == 3  # the local build goes on with it


@pytest.mark.long
def test_the_command_with_two_processes(local, tmp_path):
  words = [f'--videos={local[0]}', f'--output={tmp_path}/out', '--shards=3', '--image_format=png', '--image_size=16']
  runner = ['--runner=FnApiRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=2']
  done = commands.run('tfrecords.beam', *words, '--', *runner, check=True)
  assert '60 windows of 3 videos' in done.stderr and 'skipped text.mp4: ' in done.stderr
  assert flips.contents(tmp_path / 'out') == local[1]


@pytest.fixture(scope='module')
def cluster():
  """Two workers, processes of their own."""
  with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started:
    yield started


@pytest.mark.long
def test_on_a_dask_cluster(local, tmp_path, cluster):
  summary = build(local[0], tmp_path / 'out', DASK, f'--dask_client_address={cluster.scheduler_address}')
  check(local, tmp_path / 'out', summary)


def parent(process):
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  return next(int(line.split()[1]) for line in status.splitlines() if line.startswith('PPid'))


def kill_when_it_decodes(cluster, parts, killed, over):
  """Kills the worker that has begun to write a part, once; the videos are long enough to be hit.

  `over`: threading.Event that ends the wait.
  """
  while not over.wait(0.01):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
      for partial in list(parts.glob('*.partial')):
        worker = parent(parent(partial.name.split('.')[-2]))  # of the decoder's fork server
        assert worker in [nanny.pid for nanny in cluster.workers.values()]
        os.kill(worker, signal.SIGKILL)
        killed.append(worker)
        return


@pytest.mark.long
def test_a_killed_worker_is_replaced(tmp_path, cluster):
  videos = tmp_path / 'videos'
  videos.mkdir()
  for name in 'abcd':
    media_clips.write(videos / f'{name}.mkv', seconds=20)
  built_records.build(videos, tmp_path / 'local', shard_count=3)
  killed, over = [], threading.Event()
  out = tmp_path / 'out'
  killer = threading.Thread(target=kill_when_it_decodes, args=(cluster, out / '.parts', killed, over))
  killer.start()
  try:
    summary = build(videos, out, DASK, f'--dask_client_address={cluster.scheduler_address}')
  finally:
    over.set()
    killer.join()
  assert killed and summary.failures == {}
  assert flips.contents(out) == flips.contents(tmp_path / 'local')


def test_what_a_killed_build_decoded_is_not_decoded_again(local, tmp_path, monkeypatch):
  with monkeypatch.context() as patched, pytest.raises(RuntimeError, match='stop'):
    patched.setattr(beam_pipelines, 'order', stop)
    build(local[0], tmp_path / 'out')
  parts = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out/.parts').glob('*.tfrecord')}
  assert len(parts) == 3
  seen = []
  monkeypatch.setattr(beam_pipelines, 'order', lambda *arguments: seen.append(times(parts)) or order(*arguments))
  check(local, tmp_path / 'out', build(local[0], tmp_path / 'out'))
  assert seen == [parts]


order = beam_pipelines.order


def stop(*arguments):
  raise RuntimeError('stop')


def times(paths):
  return {path: path.stat().st_mtime_ns for path in paths}


def test_names_that_are_not_utf8_are_failures(tmp_path):
  folder = tmp_path / os.fsdecode(b'videos\xe9')
  folder.mkdir()
  media_clips.write(folder / 'a.mkv', seconds=0.4)
  shutil.copy(folder / 'a.mkv', folder / os.fsdecode(b'caf\xe9.mkv'))
  summary = build(folder, tmp_path / 'out')
  assert summary.videos == 1 and list(summary.failures) == [os.fsdecode(b'caf\xe9.mkv')]
  assert 'not valid UTF-8' in str(summary.failures)
  (folder / 'a.mkv').unlink()
  assert build(folder, tmp_path / 'none').windows == 0


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--runner', 'FnApiRunner'], '--runner FnApiRunner: .* as --runner=FnApiRunner'),
    (['--runner=FnApiRunner', 'clips'], 'clips: unexpected; videos are given as --videos='),
    (['clips'], 'clips: unexpected; videos are given as --videos='),
  ],
)
def test_words_that_are_no_options(words, message):
  with pytest.raises(UserError, match=message):
    beam_command.main(['beam', *words])


@pytest.mark.parametrize(
  ('runner', 'message'),
  [
    ('FnApiRuner', 'Valid values are .*DirectRunner'),
    ('apache_beam.runners.nowhere.Runner', "No module named 'apache_beam.runners.nowhere'"),
    ('apache_beam.runners.runner.Nowhere', 'Nowhere'),
  ],
)
def test_an_unknown_runner_is_told_before_anything_is_made(local, tmp_path, runner, message):
  with pytest.raises(UserError, match=f'--runner={runner}: .*{message}') as caught:
    build(local[0], tmp_path / 'out', f'--runner={runner}')
  assert '\n' not in str(caught.value) and not (tmp_path / 'out').exists()


def test_nothing_usable_is_one_line(tmp_path):
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'videos/text.mp4').write_text('no video')
  done = commands.run('tfrecords.beam', f'--videos={tmp_path}/videos', f'--output={tmp_path}/out')
  assert done.returncode == 1 and 'nothing was built: none of 1 files' in done.stderr
  assert list(json.loads((tmp_path / 'out/failures.json').read_text())) == ['text.mp4']
