"""Commands hide TensorFlow's start-up notices and nothing else."""

import os
import subprocess
import sys

import pytest

from audionet_tf.core import notices

NOTICES = (
  b'WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n'
  b'I0000 00:00:1795953457.689769   10740 port.cc:153] oneDNN custom operations are on.\n'
  b'2026-11-29 12:00:01.1: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on.\n'
  b'W0000 00:00:1795953457.690071   10740 cudart_stub.cc:31] Could not find cuda drivers on your machine.\n'
)
OTHERS = b'E0000 00:00:1795953457.7   10740 loader.cc:1] cannot load\nRuntimeWarning: numpy is too old\nno newline'


def noisy(fails):
  os.write(2, NOTICES + OTHERS)
  if fails:
    raise ImportError('no such library')
  return 'done'


def test_only_notices_are_hidden(capfd):
  assert notices.quietly(noisy, False) == 'done'
  with pytest.raises(ImportError):
    notices.quietly(noisy, True)
  os.write(2, b'afterwards')
  assert capfd.readouterr().err == f'{OTHERS.decode()}{OTHERS.decode()}afterwards'


def test_while_workers_train_only_python_writes(capfd):
  lost = b'E0000 00:00:1795985352.367553 19894 coordination_service_agent.cc:779] Coordination agent is set to ERROR\n'
  before = sys.stderr
  with pytest.raises(ImportError), notices.hidden():
    os.write(2, lost + OTHERS + b'\n')
    print('a bar', file=sys.stderr)
    noisy(True)
  assert sys.stderr is before
  assert capfd.readouterr().err == f'a bar\n{OTHERS.decode()}\n{OTHERS.decode()}'


@pytest.mark.parametrize('level', ['3', '0'])
def test_importing_tensorflow_is_quiet_unless_the_log_level_is_0(level):
  code = 'from audionet_tf.core import cli; import tensorflow as tf; print(float(tf.square(3.0)))'
  environment = os.environ | {'TF_CPP_MIN_LOG_LEVEL': level}
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment, check=True)
  assert done.stdout == '9.0\n'
  assert bool(done.stderr) == (level == '0')
