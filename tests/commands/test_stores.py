"""From videos in a store to captions, with nothing on this machine but a cache: every command by addresses alone."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time

import built_records
import commands
import faulty_proxy
import numpy as np
import pytest
import s3_server
import synthetic_records

from audionet_tf.models import student_file

BUILD = ['--image_size=32', '--image_format=png', '--workers=2']
TRAIN = [
  *('--epochs=8', '--batch_size=8', '--checkpoint_every=1', '--optimizer=adam', '--learning_rate=1e-3'),
  '--noprojector',
]
SECONDS = 600  # limit of every wait
FAULTS = [503, faulty_proxy.DROP, faulty_proxy.CUT, 500] * 1000


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """(folder with clips and a teacher, s3fs file system with the same, endpoint that fails now and then, its Faults)."""
  folder = tmp_path_factory.mktemp('stores')
  built_records.three(folder / 'clips')
  synthetic_records.colour_teacher(folder / 'teacher.keras', 4)
  with contextlib.ExitStack() as stack:
    endpoint = stack.enter_context(s3_server.running())
    address, faults = stack.enter_context(faulty_proxy.running(endpoint))
    patched = stack.enter_context(pytest.MonkeyPatch.context())
    for name, value in s3_server.variables(endpoint, folder / 'cache').items():
      patched.setenv(name, value)
    system = s3_server.system()
    system.mkdir('sounds')
    for path in sorted((folder / 'clips').iterdir()):
      system.put_file(str(path), f'sounds/clips/{path.name}')
    system.put_file(str(folder / 'teacher.keras'), 'sounds/teacher.keras')
    count = itertools.count()  # the first request fails, too
    faults.matches = lambda method, path: next(count) % 23 == 0
    faults.next = list(FAULTS)
    yield folder, system, address, faults


def environment(place, cache):
  folder, _, endpoint, _ = place
  return s3_server.variables(endpoint, folder / cache, seconds=60)


def run(place, cache, module, *words):
  """`python -m module words` with an endpoint that fails now and then, and a cache of its own."""
  return commands.run(module, *words, timeout=SECONDS, check=True, environment=environment(place, cache))


def weights(path):
  return student_file.load(path)[0].get_weights()


@pytest.mark.long
@pytest.mark.timeout(4 * SECONDS)
def test_from_videos_in_a_store_to_predictions_with_a_kill_in_between(place, tmp_path):
  folder, system, _, faults = place
  # The same on local files, undisturbed.
  commands.run('tfrecords.build', f'--videos={folder / "clips"}', f'--output={tmp_path / "data"}', *BUILD, check=True)
  local = [f'--records={tmp_path / "data"}', f'--run_dir={tmp_path / "run"}', f'--teacher={folder / "teacher.keras"}']
  commands.run('audionet_tf.train', *local, *TRAIN, check=True)

  run(place, 'a', 'tfrecords.build', '--videos=s3://sounds/clips', '--output=s3://sounds/data', *BUILD)
  shards = {path.rpartition('/')[2]: system.cat_file(path) for path in system.glob('sounds/data/*.tfrecord')}
  assert shards == built_records.shard_bytes(tmp_path / 'data')
  assert json.loads(system.cat_file('sounds/data/manifest.json'))['sources'] == ['s3://sounds/clips']
  assert not [path for path in (folder / 'a').rglob('*') if path.suffix in ('.mkv', '.tfrecord')]  # all let go

  flags = ['--records=s3://sounds/data', '--run_dir=s3://sounds/run', '--teacher=s3://sounds/teacher.keras', *TRAIN]
  training = commands.start(['audionet_tf.train', *flags], environment=environment(place, 'b'))
  end = time.monotonic() + SECONDS
  while not system.exists('sounds/run/checkpoints/ckpt-2.index'):
    assert training.is_alive() and time.monotonic() < end
    time.sleep(0.05)
  training.kill()
  training.join()
  assert system.exists('sounds/run/.lock') and not system.exists('sounds/run/student.keras')
  shutil.rmtree(folder / 'b')  # another machine goes on
  done = run(place, 'c', 'audionet_tf.train', *flags, '--resume')
  assert 'resuming after epoch' in done.stderr and 'running the teacher' not in done.stderr
  assert 'student: s3://sounds/run/student.keras' in done.stdout
  assert not system.exists('sounds/run/.lock')
  for name in ('student.keras', 'student.json'):
    system.get_file(f'sounds/run/{name}', str(tmp_path / name))
  for resumed, undisturbed in zip(weights(tmp_path / 'student.keras'), weights(tmp_path / 'run/student.keras'),
                                  strict=True):  # fmt: skip
    np.testing.assert_array_equal(resumed, undisturbed)
  described = json.loads((tmp_path / 'student.json').read_text())['teachers']['teacher']
  assert described['source'] == 's3://sounds/teacher.keras'

  system.pipe_file('sounds/exports/1/saved_model.pb', b'another export')
  exported = run(place, 'd', 'audionet_tf.export', '--model=s3://sounds/run', '--output=s3://sounds/exports')
  assert exported.stdout.strip() == 's3://sounds/exports/2' and system.exists('sounds/exports/2/saved_model.pb')
  words = ['--model=s3://sounds/exports', '--output=s3://sounds/predictions', 's3://sounds/clips/a.mkv']
  assert 'a.mkv' in run(place, 'e', 'audionet_tf.infer', *words).stdout
  commands.run('audionet_tf.infer', f'--model={tmp_path / "run"}', f'--output={tmp_path}', folder / 'clips/a.mkv',
               check=True)  # fmt: skip
  in_store = json.loads(system.cat_file('sounds/predictions/a.mkv.json'))
  here = json.loads((tmp_path / 'a.mkv.json').read_text())
  assert in_store.pop('video_file') == 's3://sounds/clips/a.mkv' and in_store.pop('model_file') == 's3://sounds/exports'
  assert in_store == {name: value for name, value in here.items() if name not in ('video_file', 'model_file')}
  stored = b''.join(system.cat_file(path) for path in system.find('sounds') if not path.endswith(('.mkv', '.tfrecord')))
  assert not any(secret.encode() in stored for secret in s3_server.CREDENTIALS.values())
  assert len(faults.next) <= len(FAULTS) - 4  # each of the four has come


def test_a_second_build_decodes_only_what_is_new(place, tmp_path, monkeypatch):
  folder, system, *_ = place
  import s3fs

  import audionet_tf

  settings = {'image_size': 16, 'image_format': 'png', 'workers': 1}
  variables = s3_server.variables(os.environ['AWS_ENDPOINT_URL'], tmp_path / 'cache')
  with monkeypatch.context() as patch:
    for name in variables:
      patch.delenv(name, raising=False)
    audionet_tf.build_records(folder / 'clips/a.mkv', tmp_path / 'before', **settings)  # begins what forks processes
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  s3fs.S3FileSystem.clear_instance_cache()
  system.put_file(str(folder / 'clips/a.mkv'), 'sounds/more/a.mkv')
  first = audionet_tf.build_records('s3://sounds/more', 's3://sounds/second', **settings)
  system.put_file(str(folder / 'clips/b.mkv'), 'sounds/more/sub/b.mkv')
  system.pipe_file('sounds/more/c.mkv', b'no video')
  second = audionet_tf.build_records('s3://sounds/more', 's3://sounds/second', **settings)
  assert (first.built, second.built, second.kept) == (1, 1, 1) and list(second.failures) == ['c.mkv']
  (folder / 'both/sub').mkdir(parents=True)
  shutil.copy(folder / 'clips/a.mkv', folder / 'both')
  shutil.copy(folder / 'clips/b.mkv', folder / 'both/sub')
  built_records.build(folder / 'both', tmp_path / 'local')
  stored = {path.rpartition('/')[2]: system.cat_file(path) for path in system.glob('sounds/second/*.tfrecord')}
  assert stored == built_records.shard_bytes(tmp_path / 'local')


@pytest.mark.parametrize(
  'pattern, expected',
  [
    ('sounds/found', ['a.mkv', 'sub/b.mkv']),
    ('sounds/found/*', ['a.mkv', 'sub/b.mkv']),
    ('sounds/found/*.mkv', ['a.mkv']),
    ('sounds/found/**/*.mkv', ['a.mkv', 'sub/b.mkv']),
    ('sounds/found/sub/b.mkv', ['b.mkv']),
  ],
)
def test_videos_in_a_store_have_the_ids_of_local_ones(place, tmp_path, monkeypatch, pattern, expected):
  _, system, *_ = place
  from tfrecords import videos

  for name in ('a.mkv', 'sub/b.mkv', 'sub/notes.txt', '.hidden/c.mkv'):
    system.pipe_file(f'sounds/found/{name}', b'x')
    (tmp_path / 'sounds/found' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'sounds/found' / name).write_bytes(b'x')
  monkeypatch.chdir(tmp_path)
  local = [video.id for video in videos.find([pattern])]
  assert [video.id for video in videos.find([f's3://{pattern}'])] == local == expected


def test_a_video_that_changes_after_it_was_listed_is_skipped(place, tmp_path):
  _, system, *_ = place
  system.pipe_file('sounds/changing/a.mkv', b'one')
  from audionet_tf.core.stores import object_store
  from tfrecords import jobs, worker

  stored = object_store.stat('s3://sounds/changing/a.mkv')
  system.pipe_file('sounds/changing/a.mkv', b'another')
  job = jobs.Job(
    'a.mkv', 's3://sounds/changing/a.mkv', str(tmp_path / 'p.tfrecord'), built_records.PNG, 1 << 32, stored
  )
  with pytest.raises(object_store.Changed, match='a.mkv: has changed since'), worker.at_hand(job, lambda count: None):
    pass
  assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_before_anything_else(tmp_path):
  (tmp_path / 's3fs.py').write_text('raise ImportError')
  code = "import runpy, sys; sys.argv = ['x', *sys.argv[1:]]; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
  for words in (['audionet_tf.infer', '--model=s3://b/run', __file__],
                ['audionet_tf.train', '--records=s3://b/data', '--run_dir=run'],
                ['tfrecords.build', '--videos=s3://b/clips']):  # fmt: skip
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
      [sys.executable, '-c', code, *words],
      env=os.environ | {'PYTHONPATH': paths}, text=True, capture_output=True, cwd=tmp_path, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith('error: s3:// needs s3fs'), done.stderr
    assert done.stderr.count('\n') == 1


def test_verification_in_a_store(place, tmp_path):
  folder, system, _, faults = place
  built_records.build(folder / 'clips', tmp_path / 'whole')
  for path in (tmp_path / 'whole').iterdir():
    if path.is_file() and not path.name.startswith('.'):
      system.put_file(str(path), f'sounds/whole/{path.name}')
  done = run(place, 'v', 'tfrecords.verify', 's3://sounds/whole')
  assert done.stdout == '' and done.stderr.endswith('s3://sounds/whole: 2 shards, 60 windows, 3 videos: whole\n')
  assert len(faults.next) < len(FAULTS)
  (shard, *_) = system.glob('sounds/whole/*.tfrecord')
  content = bytearray(system.cat_file(shard))
  content[100] ^= 1
  system.pipe_file(shard, bytes(content))
  done = commands.run('tfrecords.verify', 's3://sounds/whole', environment=environment(place, 'v'))
  assert done.returncode == 1 and done.stdout.startswith(f's3://{shard}: record at byte 0'), done.stdout
  assert done.stderr == 'error: s3://sounds/whole: 1 faults\n'
