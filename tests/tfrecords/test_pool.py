"""A process that hangs or crashes affects its own video only."""

import gzip
import os
import signal
import time

import built_records
import media_clips
import pytest

from audionet_tf.core.stores import object_store
from tfrecords import jobs, pool, worker


def hang(connection, job, environment):
  connection.send(1)
  time.sleep(0 if job.video_id == 'good' else 60)
  connection.send(jobs.Outcome(windows=2))


def crash(connection, job, environment):
  os.kill(os.getpid(), signal.SIGSEGV)


def exit_early(connection, job, environment):
  os._exit(3)


def fetch_forever(connection, job, environment):
  def fetch(address, stored, target, alive):
    target.with_name(f'.partial.{target.name}').write_bytes(b'half')
    target.write_bytes(b'half')
    alive()
    time.sleep(600)

  worker.object_store.fetch = fetch
  with worker.at_hand(job, connection.send):
    pass


def test_a_hanging_or_crashing_worker_costs_one_video(tmp_path, monkeypatch):
  asked = [jobs.Job(name, name, str(tmp_path / name), built_records.PNG, 1 << 32) for name in ('bad', 'good')]
  outcomes = {}
  for work in (hang, crash, exit_early):
    monkeypatch.setattr(pool, 'work', work)
    for job, event in pool.run(asked, 2, timeout_seconds=1.5 if work is hang else 20):
      if isinstance(event, jobs.Outcome):
        outcomes[work.__name__, job.video_id] = event
  assert outcomes['hang', 'good'].windows == 2
  assert 'within 1.5 s' in outcomes['hang', 'bad'].reason
  assert 'SIGSEGV' in outcomes['crash', 'bad'].reason
  assert 'exit code 3' in outcomes['exit_early', 'good'].reason


def test_only_decoders_start_without_threads_of_openblas(monkeypatch):
  name = 'OPENBLAS_NUM_THREADS'
  for own in (None, '4'):
    monkeypatch.setenv(name, own) if own else monkeypatch.delenv(name, raising=False)
    with pool._one_blas_thread():
      assert os.environ[name] == (own or '1')
    assert os.environ.get(name) == own


def unpack_and_wait(connection, job, environment):
  def report(count):
    connection.send(count)
    time.sleep(600)

  worker.write_part(job, report)


class Script:
  """A clock, and a decoder whose messages come as a list says: (seconds that pass meanwhile, message or None)."""

  def __init__(self, monkeypatch, *steps):
    self.now, self.steps, self.message = 0.0, list(steps), None
    monkeypatch.setattr(pool.time, 'monotonic', lambda: self.now)
    monkeypatch.setattr(pool, '_start', lambda context, job: pool._Running(job, None, 'receiver', self.now))
    monkeypatch.setattr(pool, '_message', lambda running: self.message)
    monkeypatch.setattr(pool, '_stop', lambda running: None)
    monkeypatch.setattr(pool.connection, 'wait', self.wait)

  def wait(self, receivers, timeout):
    seconds, self.message = self.steps.pop(0) if self.steps else (timeout, None)
    self.now += seconds
    return receivers if self.message else []


@pytest.mark.parametrize('steps', [
  [(3600, None), (1, 2)],  # Ctrl-Z and fg: parent and children do nothing for an hour
  [(0.5, 1), (3600, None), (1, 2), (3600, 3)],
  [(100, None), (1, None), (100, None)],  # each shorter than the timeout
], ids=str)  # fmt: skip
def test_the_time_in_which_all_are_stopped_does_not_count(tmp_path, monkeypatch, steps):
  job = jobs.Job('a', 'a', str(tmp_path / 'a'), built_records.PNG, 1 << 32)
  Script(monkeypatch, *steps, (1, jobs.Outcome(windows=4)))
  *_, (_, outcome) = pool.run([job], 1, timeout_seconds=120)
  assert outcome == jobs.Outcome(windows=4)


def test_the_time_in_which_the_caller_is_stopped_does_not_count(tmp_path, monkeypatch):
  job = jobs.Job('a', 'a', str(tmp_path / 'a'), built_records.PNG, 1 << 32)
  script = Script(monkeypatch, (1, 1), (0, None), (1, jobs.Outcome(windows=4)))
  events = []
  for _, event in pool.run([job], 1, timeout_seconds=120):
    events.append(event)
    script.now += 3600
  assert events == [1, jobs.Outcome(windows=4)]


def test_the_timeout_is_counted_from_the_last_window(tmp_path, monkeypatch):
  job = jobs.Job('a', 'a', str(tmp_path / 'a'), built_records.PNG, 1 << 32)
  script = Script(monkeypatch, (1, 1), (1, 2))
  *_, (_, outcome) = pool.run([job], 1, timeout_seconds=120)
  assert outcome.reason == 'no window finished within 120 s' and script.now == 122


def test_a_process_that_is_stopped_leaves_no_copy_of_its_video(tmp_path, monkeypatch):
  monkeypatch.setattr(pool, 'work', fetch_forever)
  stored = object_store.Stored('1', 5)
  job = jobs.Job('a', 's3://b/a.mkv', str(tmp_path / 'part'), built_records.PNG, 1 << 32, stored)
  events = pool.run([job], 1, timeout_seconds=200)
  assert next(events) == (job, 0) and list(tmp_path.iterdir())
  events.close()
  assert not list(tmp_path.iterdir())


def test_a_process_that_is_stopped_leaves_no_unpacked_video(tmp_path, monkeypatch):
  monkeypatch.setattr(pool, 'work', unpack_and_wait)
  path, parts = tmp_path / 'a.mkv.gz', tmp_path / 'parts'
  path.write_bytes(gzip.compress(media_clips.write(tmp_path / 'a.mkv').read_bytes()))
  parts.mkdir()
  job = jobs.Job('a', str(path), str(parts / 'part'), built_records.PNG, 1 << 32)
  events = pool.run([job], 1, timeout_seconds=200)
  assert next(events) == (job, 1) and list(parts.rglob('unpacked-*'))
  events.close()
  assert not list(parts.iterdir())
