"""Training on two workers, as processes of this machine and as two hosts: network namespaces with a cable between."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import commands
import numpy as np
import pytest
import synthetic_records

from audionet_tf.models import student_file

pytestmark = pytest.mark.long
ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS = 4
TIMES = ('seconds', 'examples_per_second', 'training_time')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with records/, held_out/ and teacher.keras, and whole/, the run of one worker."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a.mp4': 9, 'b.mp4': 14, 'c.mp4': 10})
  synthetic_records.write_records(folder / 'held_out', {'d.mp4': 7, 'e.mp4': 4}, seed=5)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  commands.run(*words(folder, folder / 'whole'), check=True)
  return folder


def words(world, run_dir, *extra):
  return [
    'audionet_tf.train', f'--records={world}/records', f'--validation={world}/held_out', f'--run_dir={run_dir}',
    f'--teacher={world}/teacher.keras', f'--epochs={EPOCHS}', '--batch_size=8', '--learning_rate=1e-2', '--noprojector',
    '--checkpoint_minutes=0', '--kldiv_per_frame', *extra,
  ]  # fmt: skip


def tf_configs(hosts=('127.0.0.1', '127.0.0.1')):
  """TF_CONFIG of each of two workers."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in hosts]
    for each in sockets:
      each.bind(('127.0.0.1', 0))
    addresses = [f'{host}:{each.getsockname()[1]}' for host, each in zip(hosts, sockets, strict=True)]
  return [
    json.dumps({'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}}) for index in (0, 1)
  ]


def become(config, line, stderr, patience):
  """In the forked process of a worker. `patience`: seconds of a pause in each step, in which a test can act."""
  pathlib.Path(stderr).unlink(missing_ok=True)
  os.environ['TF_CONFIG'] = config
  if patience:
    from audionet_tf.training import callbacks

    callbacks.Progress.on_train_batch_end = lambda self, batch, logs=None: time.sleep(patience)
  commands.become(line, os.getcwd(), os.devnull, stderr)


def start(world, run_dir, *extra, patience=0.0):
  """Two workers: list of processes. The second has no use for the folder of the run."""
  children = []
  for index, config in enumerate(tf_configs()):
    line = words(world, run_dir if index == 0 else world / 'nowhere', '--distribute=multiworker', *extra)
    arguments = config, line, str(world / f'stderr{index}'), patience
    children.append(commands.SERVER.Process(target=become, args=arguments))
    children[-1].start()
  return children


def ended(children, seconds=250):
  """Exit codes of processes."""
  for child in children:
    child.join(seconds)
  codes = [child.exitcode for child in children]
  for child in children:
    child.kill()
  return codes


def errors(world):
  """The last line that each worker wrote to stderr."""
  return [['', *(world / f'stderr{index}').read_text().splitlines()][-1] for index in (0, 1)]


def wait_for_steps(run_dir, children, count):
  """Waits until so many checkpoints were written, one per step."""
  deadline = time.monotonic() + 250
  while newest(run_dir) < count:
    assert time.monotonic() < deadline and all(child.is_alive() for child in children), 'a worker ended too early'
    time.sleep(0.02)


def newest(run_dir):
  """Number of the newest checkpoint; they are numbered from 1."""
  return max((int(path.stem.rpartition('-')[2]) for path in run_dir.glob('checkpoints/ckpt-*.index')), default=0)


def weights_of(run_dir):
  return [w.numpy() for w in student_file.load(run_dir / 'student.keras')[0].weights]


def rows(run_dir):
  """The lines of metrics.jsonl and epochs.jsonl without times, as lists of numbers and names."""

  def flat(value):
    if isinstance(value, dict):
      return [x for name, item in value.items() if name not in TIMES for x in (name, *flat(item))]
    return [x for item in value for x in flat(item)] if isinstance(value, list) else [value]

  files = [(run_dir / name).read_text().splitlines() for name in ('metrics.jsonl', 'epochs.jsonl')]
  return [x for lines in files for line in lines for x in flat(json.loads(line))]


@pytest.fixture(scope='module')
def two(world):
  """The run of two workers that nothing disturbs."""
  children = start(world, world / 'two')
  assert ended(children) == [0, 0], errors(world)
  return world / 'two'


def test_two_workers_give_the_weights_and_metrics_of_one(world, two):
  for a, b in zip(weights_of(world / 'whole'), weights_of(two), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)
  for a, b in zip(rows(world / 'whole'), rows(two), strict=True):
    assert a == (b if isinstance(a, str) else pytest.approx(b, rel=1e-4, abs=1e-6))
  assert (two / 'export/1/saved_model.pb').exists() and list((two / 'tensorboard').glob('events.*'))
  assert not (world / 'nowhere').exists()


@pytest.mark.parametrize('dies', [0, 1])
def test_when_one_dies_the_other_ends_and_both_go_on_from_the_checkpoint(world, two, dies):
  run_dir = world / f'killed{dies}'
  children = start(world, run_dir, patience=0.2)
  wait_for_steps(run_dir, children, 7)  # inside the second epoch
  children[dies].kill()
  codes = ended(children)
  assert codes[dies] == -signal.SIGKILL and codes[1 - dies] == 1
  assert f'error: worker {1 - dies} of 2' in (line := errors(world)[1 - dies]) and 'another worker is gone' in line
  printed = (world / f'stderr{1 - dies}').read_text()
  assert printed.count('is gone') == 1 and 'coordination' not in printed.replace(line, '')
  children = start(world, run_dir, '--resume')
  assert ended(children) == [0, 0], errors(world)
  assert 'resuming after epoch' in (world / 'stderr0').read_text()
  for a, b in zip(weights_of(two), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
  assert rows(two) == rows(run_dir)


def test_a_signal_to_one_ends_all_after_the_same_step(world, two):
  run_dir = world / 'stopped'
  children = start(world, run_dir, patience=0.2)
  wait_for_steps(run_dir, children, 3)
  os.kill(children[1].pid, signal.SIGTERM)
  assert ended(children) == [143, 143]
  assert all('terminated; resume with: ' in line for line in errors(world))
  assert ended(start(world, run_dir, '--resume')) == [0, 0], errors(world)
  for a, b in zip(weights_of(two), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)


def test_other_flags_of_a_worker_are_named(world):
  first, second = tf_configs()
  lines = [words(world, world / 'other', '--distribute=multiworker', *extra) for extra in ((), ('--seed=3',))]
  children = [
    commands.SERVER.Process(target=become, args=(config, line, str(world / f'stderr{index}'), 0))
    for index, (config, line) in enumerate(zip((first, second), lines, strict=True))
  ]
  for child in children:
    child.start()
  assert ended(children) == [1, 1]
  assert 'other settings than the first worker (seed is 0 there, 3 here)' in errors(world)[1]


def test_workers_that_never_come_are_named_after_the_time_limit(world):
  config = tf_configs()[0]
  absent = json.loads(config)['cluster']['worker'][1]
  line = words(world, world / 'alone', '--distribute=multiworker', '--wait_seconds=3')
  child = commands.SERVER.Process(target=become, args=(config, line, str(world / 'stderr0'), 0))
  child.start()
  assert ended([child], 120) == [-signal.SIGKILL]
  assert (
    (world / 'stderr0')
    .read_text()
    .splitlines()[-1]
    .endswith(f'after 3 s these workers are not there: {absent}; start all of them')
  )


HOSTS = ('10.213.7.1', '10.213.7.2')


@pytest.fixture
def hosts():
  """Names of two network namespaces with the addresses HOSTS, joined by a virtual cable."""
  if os.geteuid() != 0 or not shutil.which('ip'):
    pytest.skip('!!!! HOSTS OF THEIR OWN NOT TESTED: network namespaces need root and iproute2')
  names = [f'audionet{os.getpid()}{side}' for side in 'ab']
  ends = [f'an{os.getpid() % 10**7}{side}' for side in 'ab']

  def ip(*arguments):
    return subprocess.run(['ip', *arguments], check=False, capture_output=True).returncode == 0

  try:
    made = all(ip('netns', 'add', name) for name in names)
    made = made and ip('link', 'add', ends[0], 'netns', names[0], 'type', 'veth', 'peer', ends[1], 'netns', names[1])
    for name, end, address in zip(names, ends, HOSTS, strict=True):
      made = made and ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', end)
      made = made and all(ip('-n', name, 'link', 'set', link, 'up') for link in ('lo', end))
    if not made:
      pytest.skip('!!!! HOSTS OF THEIR OWN NOT TESTED: no network namespaces here')
    yield names, ends
  finally:
    for name in names:
      ip('netns', 'delete', name)


def test_two_hosts_train_as_two_processes_and_stop_when_the_cable_is_cut(world, two, hosts):
  names, ends = hosts
  run_dir = world / 'hosts'

  def run(patience, *extra):
    code = f'import sys; sys.path.insert(0, {str(ROOT / "tests/training")!r}); sys.path.insert(0, '
    code += f'{str(ROOT / "tests/support")!r}); import os, json, test_workers; '
    code += 'test_workers.become(os.environ["TF_CONFIG"], json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3]))'
    children = []
    for index, config in enumerate(tf_configs(HOSTS)):
      line = words(world, run_dir if index == 0 else world / 'nowhere', '--distribute=multiworker', *extra)
      arguments = [code, json.dumps(line), str(world / f'stderr{index}'), str(patience)]
      environment = os.environ | {'TF_CONFIG': config, 'PYTHONPATH': str(ROOT)}
      children.append(
        subprocess.Popen(['ip', 'netns', 'exec', names[index], sys.executable, '-c', *arguments], env=environment)
      )
    return children

  def codes(children, seconds):
    try:
      return [child.wait(seconds) for child in children]
    finally:
      for child in children:
        child.kill()

  children = run(0.2)
  deadline = time.monotonic() + 250
  while newest(run_dir) < 7:
    assert time.monotonic() < deadline and all(child.poll() is None for child in children), errors(world)
    time.sleep(0.02)
  subprocess.run(['ip', '-n', names[1], 'link', 'set', ends[1], 'down'], check=True)
  assert codes(children, 250) == [1, 1]
  assert all('another worker is gone' in line for line in errors(world))
  subprocess.run(['ip', '-n', names[1], 'link', 'set', ends[1], 'up'], check=True)
  assert codes(run(0, '--resume'), 250) == [0, 0], errors(world)
  for a, b in zip(weights_of(two), weights_of(run_dir), strict=True):
    np.testing.assert_array_equal(a, b)
