"""A process that hangs or crashes affects its own video only."""

import os
import signal
import time

import built_records

from tfrecords import pool, worker


def hang(connection, job, environment):
  connection.send(1)
  time.sleep(0 if job.video_id == 'good' else 60)
  connection.send(worker.Outcome(windows=2))


def crash(connection, job, environment):
  os.kill(os.getpid(), signal.SIGSEGV)


def exit_early(connection, job, environment):
  os._exit(3)


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
