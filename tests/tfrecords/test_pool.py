"""A process that hangs or crashes affects its own video only."""

import os
import signal
import time

import built_records

from audionet_tf.core.stores import object_store
from tfrecords import pool, worker


def hang(connection, job, environment):
  connection.send(1)
  time.sleep(0 if job.video_id == 'good' else 60)
  connection.send(worker.Outcome(windows=2))


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
  jobs = [worker.Job(name, name, str(tmp_path / name), built_records.PNG, 1 << 32) for name in ('bad', 'good')]
  outcomes = {}
  for work in (hang, crash, exit_early):
    monkeypatch.setattr(worker, 'work', work)
    for job, event in pool.run(jobs, 2, timeout_seconds=1.5 if work is hang else 20):
      if isinstance(event, worker.Outcome):
        outcomes[work.__name__, job.video_id] = event
  assert outcomes['hang', 'good'].windows == 2
  assert 'within 1.5 s' in outcomes['hang', 'bad'].reason
  assert 'SIGSEGV' in outcomes['crash', 'bad'].reason
  assert 'exit code 3' in outcomes['exit_early', 'good'].reason


def test_a_process_that_is_stopped_leaves_no_copy_of_its_video(tmp_path, monkeypatch):
  monkeypatch.setattr(worker, 'work', fetch_forever)
  stored = object_store.Stored('1', 5)
  job = worker.Job('a', 's3://b/a.mkv', str(tmp_path / 'part'), built_records.PNG, 1 << 32, stored)
  events = pool.run([job], 1, timeout_seconds=200)
  assert next(events) == (job, 0) and list(tmp_path.iterdir())
  events.close()
  assert not list(tmp_path.iterdir())
