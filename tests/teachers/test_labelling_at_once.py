"""Runs of the teacher's pass at once: whole ones wait for one another, shares of the files do not."""

import dataclasses
import fcntl
import threading

import pytest
from teacher_passes import make_teacher, predict, write_records

from audionet_tf.core import files
from audionet_tf.core.stores import object_store, store_mirror
from audionet_tf.data import records, soft_labels
from audionet_tf.teachers import labelling


@pytest.mark.parametrize('kind', [fcntl.LOCK_EX, fcntl.LOCK_SH])  # of a run of its own, and of one of a share
def test_two_runs_at_once_take_turns(tmp_path, monkeypatch, kind):
  manifest, _ = write_records(tmp_path)
  teacher = make_teacher()
  folder = tmp_path / 'labels' / labelling.labels_key(manifest, [teacher])
  folder.mkdir(parents=True)
  second = threading.Thread(target=labelling.ensure, args=(tmp_path, manifest, [teacher]))
  flock, asked = fcntl.flock, threading.Event()
  monkeypatch.setattr(fcntl, 'flock', lambda *arguments: (asked.set(), flock(*arguments)))
  with open(folder / '.lock', 'w') as file:
    flock(file, kind)
    second.start()
    assert asked.wait(30), 'no lock was asked for'
    assert second.is_alive() and not list(folder.glob('*.tfrecord*')) and not list(folder.glob('.labels*'))
  second.join(30)
  assert soft_labels.read_manifest(folder)['windows'] == 21


def test_runs_of_two_shares_do_not_wait_for_one_another(tmp_path):
  manifest, _ = write_records(tmp_path)
  teacher = make_teacher()
  folder = tmp_path / 'labels' / labelling.labels_key(manifest, [teacher])
  folder.mkdir(parents=True)
  run = threading.Thread(target=labelling.ensure, args=(tmp_path, manifest, [teacher], 64, (0, 2)), daemon=True)
  with open(folder / '.lock', 'w') as file:
    fcntl.flock(file, fcntl.LOCK_SH)  # as a run of the other share has it
    run.start()
    run.join(60)
    assert len(list(folder.glob('labels-*.tfrecord'))) == 2


def test_a_lock_that_its_holder_removes_lets_one_in_at_a_time(tmp_path, monkeypatch):
  first, flock, waited = labelling.alone(tmp_path, 'a'), fcntl.flock, []
  first.__enter__()

  def flock_late(file, kind):
    if not waited:
      waited.append(first.__exit__(None, None, None))  # between the opening of the file and its lock
    flock(file, kind)

  monkeypatch.setattr(fcntl, 'flock', flock_late)
  other = files.locked(tmp_path, wait=False, name='.a.lock')
  with labelling.alone(tmp_path, 'a'), pytest.raises(BlockingIOError), other:
    pass
  assert waited and not list(tmp_path.iterdir())


def test_shares_of_records_in_a_store_that_run_at_once_complete_them(tmp_path, monkeypatch):
  write_records(tmp_path / 'records')
  for path in (tmp_path / 'records').iterdir():
    object_store.put_bytes(f'memory://shares/{path.name}', path.read_bytes())
  roots, fetched, fetch = [], [], object_store.fetch
  for name in 'ab':  # two machines
    monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / name))
    roots.append(store_mirror.mirrored('memory://shares'))
  monkeypatch.setattr(object_store, 'fetch', lambda *a, **k: fetched.append(a[0].rpartition('/')[2]) or fetch(*a, **k))
  others = []

  def run_other(images):
    if not others:
      manifest = records.read_manifest(roots[1])
      others.append(labelling.ensure(roots[1], manifest, [make_teacher()], share=(1, 2)))
    return predict(images)

  teacher = dataclasses.replace(make_teacher(), probabilities=run_other)
  folder = labelling.ensure(roots[0], records.read_manifest(roots[0]), [teacher], share=(0, 2))
  assert soft_labels.read_manifest(folder)['windows'] == 21
  assert object_store.stat(f'memory://shares/labels/{folder.name}/manifest.json')
  assert not any(name.startswith('labels-') for name in fetched)
