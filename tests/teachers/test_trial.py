"""A teacher's file is loaded in a process of its own first: crashes and hangs are one line."""

import json
import os
import signal
import time

import commands
import evaluation_fixtures
import image_classifiers
import numpy as np
import pytest
import synthetic_records

from audionet_tf.core import array_files
from audionet_tf.core.errors import UserError
from audionet_tf.teachers import frozen_teacher, trial


@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_named(tmp_path, number):
  with pytest.raises(UserError, match=f'x.tflite: loading it crashes the process .{number.name}.'):
    trial.check(tmp_path / 'x.tflite', lambda: os.kill(os.getpid(), number))


def test_a_hang_ends(tmp_path, monkeypatch):
  monkeypatch.setattr(trial, 'SECONDS', 0)
  children = []

  def killed(child, number):
    children.append((child, number))
    kill(child, number)

  kill = os.kill
  monkeypatch.setattr(os, 'kill', killed)
  with pytest.raises(UserError, match='x.keras: not loaded within 0 s'):
    trial.check(tmp_path / 'x.keras', lambda: time.sleep(1000))
  ((child, number),) = children
  assert number == signal.SIGKILL
  with pytest.raises(ProcessLookupError):
    kill(child, 0)


def test_errors_are_left_to_the_caller_and_nothing_is_printed(tmp_path, capfd):
  def fail():
    print('loud')
    os.write(2, b'louder')
    raise ValueError('the caller meets it itself')

  trial.check(tmp_path / 'x', fail)
  trial.check(tmp_path / 'x', lambda: None)
  assert capfd.readouterr() == ('', '')


def test_large_files_get_more_time(tmp_path, monkeypatch):
  allowed = []
  monkeypatch.setattr(trial, 'forked', lambda function, seconds: allowed.append(seconds) or 0)
  (tmp_path / 'saved/variables').mkdir(parents=True)
  for name in ('saved/variables/data', 'x.tflite'):
    with open(tmp_path / name, 'wb') as file:
      file.truncate(3 * trial.BYTES_PER_SECOND)
    trial.check(tmp_path / name.partition('/')[0], None)
  assert allowed == [trial.SECONDS + 3] * 2


CRASHING = """
import importlib, os, signal, sys
from audionet_tf.core import cli  # hides TensorFlow's notices, as in every command
from audionet_tf.teachers import frozen_teacher

parent = os.getpid()

def crash(*_):
  assert os.getpid() != parent, 'the file was loaded in the process of the command'
  os.kill(os.getpid(), signal.SIGSEGV)

frozen_teacher.picture_model = crash
importlib.import_module(sys.argv.pop(1)).run()
"""


@pytest.mark.parametrize('name', ['tiny.keras', 'saved', 'tiny.tflite'])
def test_the_command_tries_every_kind_of_file(tmp_path, name):
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 3})
  if name == 'saved':
    image_classifiers.Classifier().save(tmp_path / name)
  elif name == 'tiny.keras':
    image_classifiers.keras_classifier().save(tmp_path / name)
  else:
    image_classifiers.Classifier(batch=1).to_tflite(tmp_path / name)
  (tmp_path / 'crashing.py').write_text(CRASHING)
  flags = [f'--records={tmp_path}/records', f'--run_dir={tmp_path}/run', f'--teacher={tmp_path}/{name}']
  done = commands.run(tmp_path / 'crashing.py', 'audionet_tf.train', *flags)
  assert (done.returncode, done.stderr.count('\n')) == (1, 1), done.stderr
  assert f'{name}: loading it crashes the process (SIGSEGV)' in done.stderr


def test_the_command_tries_the_teacher_of_an_evaluation(tmp_path):
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 3})
  (tmp_path / 'crashing.py').write_text(CRASHING)
  named = frozen_teacher.load(synthetic_records.colour_teacher(tmp_path / 'named.keras'))
  evaluation_fixtures.known_student(tmp_path / 'run', teacher=named)
  image_classifiers.Classifier(batch=1).to_tflite(tmp_path / 'tiny.tflite')
  flags = ['audionet_tf.evaluate', f'--model={tmp_path}/run', f'--records={tmp_path}/records']
  for name, more in (('tiny.tflite', [f'--teacher={tmp_path}/tiny.tflite']), ('named.keras', [])):
    done = commands.run(tmp_path / 'crashing.py', *flags, *more)
    assert (done.returncode, done.stderr.count('\n')) == (1, 1), done.stderr
    assert f'{name}: loading it crashes the process (SIGSEGV)' in done.stderr
    assert (repr(named.description['source']) in done.stdout) == (not more)  # told before it is loaded


def test_the_command_tries_the_teacher_of_a_map(tmp_path):
  flags = [f'--teacher={tmp_path}/tiny.tflite', f'--clips={tmp_path}', f'--output={tmp_path}/map.png']
  (tmp_path / 'features').mkdir()
  for name in ('a.wav', 'b.wav', 'c.wav', 'd.wav'):
    (tmp_path / name).write_bytes(b'RIFF')
    with array_files.npz(tmp_path / 'features' / f'{name}.npz') as add:
      add('x', np.random.default_rng(len(name)).normal(size=(1, 4)).astype(np.float32))
      add('x/center_seconds', np.zeros(1))
      add('about', np.array([json.dumps({'source': name, 'layers': ['x']})]))
  image_classifiers.Classifier(batch=1).to_tflite(tmp_path / 'tiny.tflite')
  (tmp_path / 'crashing.py').write_text(CRASHING)
  flags += [f'--features={tmp_path}/features', '--layer=x']
  done = commands.run(tmp_path / 'crashing.py', 'audionet_tf.plot', 'tsne', *flags)
  assert (done.returncode, done.stderr.count('\n')) == (1, 1), done.stderr
  assert 'tiny.tflite: loading it crashes the process (SIGSEGV)' in done.stderr
