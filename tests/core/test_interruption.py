"""Signals as exceptions: which are handled, and when."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from audionet_tf.core import interruption


@pytest.mark.parametrize(('number', 'exit_code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_are_raised_only_within_the_context(number, exit_code):
  before = signal.getsignal(number)
  with pytest.raises(interruption.Interrupted) as caught, interruption.raised():
    os.kill(os.getpid(), number)
    signal.pause()
  assert caught.value.exit_code == exit_code and isinstance(caught.value, KeyboardInterrupt)
  assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background jobs
  try:
    with interruption.raised():
      assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
      assert signal.getsignal(signal.SIGTERM) is interruption.interrupt
  finally:
    signal.signal(signal.SIGINT, before)


def test_other_threads_do_not_handle_signals():
  handlers = []

  def work():
    with interruption.raised():
      handlers.append(signal.getsignal(signal.SIGTERM))

  thread = threading.Thread(target=work)
  before = signal.getsignal(signal.SIGTERM)
  thread.start()
  thread.join()
  assert handlers == [before]


SLOW_MODULE = """
import os, signal
try:
  os.kill(os.getpid(), signal.SIGINT)
  for _ in range(1000):
    pass
except BaseException as error:  # as some packages do while they are imported
  raise ImportError('something else') from error
"""


@pytest.mark.parametrize(
  ('module', 'imported'),
  [
    ('audionet_tf.infer', 'absl.flags'),  # by the command's own modules, before it runs
    ('audionet_tf', 'absl.flags'),
    ('tfrecords.build', 'numpy'),
    ('audionet_tf.train', 'tensorflow'),  # by the library, later; stderr is redirected meanwhile
    ('audionet_tf.infer', 'tensorflow'),
  ],
)
def test_ctrl_c_during_imports_is_one_line(tmp_path, module, imported):
  path = pathlib.Path(tmp_path, *imported.split('.')).with_suffix('.py')
  path.parent.mkdir(exist_ok=True)
  (path.parent / '__init__.py').touch()
  path.write_text(SLOW_MODULE)
  sound = pathlib.Path(__file__).resolve().parents[1] / 'artifacts'
  arguments = {
    'audionet_tf.infer': [f'--model={sound}/exported', f'{sound}/sound.wav'],
    'audionet_tf.train': [
      f'--records={sound}/recorded',
      f'--run_dir={tmp_path}/run',
      f'--teacher={sound}/teacher.keras',
    ],
    'tfrecords.build': [f'--videos={sound}', f'--output={tmp_path}/records'],
    'audionet_tf': ['infer'],
  }
  environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}
  words = [sys.executable, '-m', module, *arguments[module]]
  done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=100)
  assert (done.returncode, done.stderr, done.stdout) == (130, 'error: interrupted\n', '')


AT_IMPORT = """
import os, signal, sys
sys.addaudithook(lambda event, values: event == 'import' and values[0] == os.environ['AT'] and os.kill(os.getpid(), 2))
"""


@pytest.mark.parametrize('at', ['audionet_tf.core', 'audionet_tf.core.interruption', 'absl', 'audionet_tf.core.cli'])
@pytest.mark.parametrize('words', [['-m', 'audionet_tf.export'], ['-um', 'audionet_tf'], ['-m', 'tfrecords.build'], []])
def test_ctrl_c_from_the_first_module_of_the_package_on(tmp_path, at, words):
  (tmp_path / 'sitecustomize.py').write_text(AT_IMPORT)
  script = tmp_path / 'audionet-export'  # as pip writes it
  script.write_text('import sys\nfrom audionet_tf.export import run\nif __name__ == "__main__":\n  sys.exit(run())\n')
  environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path]), 'AT': at}
  done = subprocess.run(
    [sys.executable, *(words or [script]), '--help'], capture_output=True, text=True, env=environment, timeout=100
  )
  assert (done.returncode, done.stderr) == (130, 'error: interrupted\n')


def test_a_program_that_uses_the_library_keeps_its_handler():
  code = 'import signal, audionet_tf; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)'
  for words in (['-m'], ['-m', 'audionet_tf.train'], ['-form', 'tfrecords.build']):
    done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, text=True, check=True)
    assert done.stdout == 'True\n'


def test_ignored_ctrl_c_stays_ignored_in_commands(tmp_path):
  code = """import os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, '-m', 'audionet_tf.train', '--help'])"""
  (tmp_path / 'absl').mkdir()
  (tmp_path / 'absl/__init__.py').write_text('import os, signal; os.kill(os.getpid(), signal.SIGINT); print("alive")')
  environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=environment, timeout=100)
  assert done.stdout.startswith('alive') and done.returncode != 130
