"""The command `python -m tfrecords.build`."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import built_records
import media_clips
import pytest

from audionet_tf.data import records
from audionet_tf.data.params import RecordParams


def command(*arguments):
  """Runs the command in a process of its own."""
  return subprocess.run(
    [sys.executable, '-m', 'tfrecords.build', *map(str, arguments)], capture_output=True, text=True, timeout=60
  )


def test_command(tmp_path):
  videos = built_records.three(tmp_path / 'videos')
  media_clips.write(videos / 'silent.mkv', sounds=[])
  places = ['--videos', videos / 'a.mkv', '--videos', videos / '[bs]*', '--output', tmp_path / 'out']
  sizes = ['--window_ms=80', '--hop_ms=33.3', '--sample_rate=8000', '--image_size=32']
  done = command(*places, *sizes, '--mono=first', '--jpeg_quality=80')
  assert done.returncode == 0, done.stderr
  assert 'skipped silent.mkv: no sound' in done.stderr
  assert '2 videos' in done.stderr
  params = records.read_manifest(tmp_path / 'out')['params']
  assert params == RecordParams(
    0.08, 0.0333, sample_rate_hz=8000, mono='first', image_size=32, image_format='jpeg', jpeg_quality=80
  )


def test_default_output_is_that_of_flags_txt(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  built_records.three(tmp_path / 'videos')
  assert command('--videos=videos', '--image_size=32').returncode == 0
  flags_txt = (pathlib.Path(__file__).resolve().parents[2] / 'flags.txt').read_text()
  assert '--records=data/clips\n' in flags_txt and records.read_manifest('data/clips')['videos']


def test_command_mistakes_are_one_line(tmp_path):
  media_clips.write(tmp_path / 'silent.mkv', sounds=[])
  out = f'--output={tmp_path / "out"}'
  cases = {
    'silent.mkv': [f'--videos={tmp_path}/silent.mkv', out],
    'build needs --videos': [out],
    'unexpected': [f'--videos={tmp_path}', out, 'more'],
    'no such video': ['--videos=/nowhere/at/all', out],
    'window_ms=nan: must be a finite': [f'--videos={tmp_path}', out, '--window_ms=nan'],
    'jpeg_quality is 0': [f'--videos={tmp_path}', out, '--jpeg_quality=0'],
  }
  for message, arguments in cases.items():
    done = command(*arguments)
    assert done.returncode == 1, (message, done.stderr)
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out/manifest.json').exists()


def test_help_and_builder_do_not_import_tensorflow():
  program = (
    'import sys, tfrecords.build, tfrecords.builder\n'
    'assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules), sorted(sys.modules)\n'
  )
  subprocess.run([sys.executable, '-c', program], check=True)
  shown = command('--help')
  assert 'python -m tfrecords.build --videos' in shown.stdout
  assert '--images_per_window' in shown.stdout


def test_ctrl_c_leaves_no_partial_files_and_no_process(tmp_path):
  media_clips.write(tmp_path / 'long.mkv', seconds=60, size=(320, 240))
  process = subprocess.Popen(
    [sys.executable, '-m', 'tfrecords.build', f'--videos={tmp_path}/long.mkv', f'--output={tmp_path}/out'],
    stderr=subprocess.PIPE, text=True, start_new_session=True,
  )  # fmt: skip
  deadline = time.monotonic() + 120
  while not list((tmp_path / 'out').glob('.parts/*.partial')) and time.monotonic() < deadline:
    time.sleep(0.02)
  os.killpg(process.pid, signal.SIGINT)
  _, shown = process.communicate(timeout=20)
  assert process.returncode == 130
  assert shown.strip().endswith('error: interrupted'), shown
  assert 'Traceback' not in shown
  assert [path.name for path in (tmp_path / 'out').rglob('*') if path.is_file()] == ['.lock']
  with contextlib.suppress(ProcessLookupError):
    while time.monotonic() < deadline + 10:
      os.killpg(process.pid, 0)
      time.sleep(0.05)
    pytest.fail('a process is still running')
