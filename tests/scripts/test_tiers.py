"""Which tests run when, and Chromium for those in a browser, with stand-ins for the system's programs."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

TESTS = """
import pytest

def test_quick(): pass

@pytest.mark.long
def test_long(seed, share): assert (seed, share(50), share(1)) == (7, 5, 1)

@pytest.mark.long
def test_that_fails(): assert False

@pytest.mark.skip('!!!! TEA NOT TESTED: no kettle')
@pytest.mark.parametrize('cup', range(2))
def test_tea(cup): pass

@pytest.mark.skip('no milk')
def test_milk(): pass
"""
SKIPPED = ('test_tea[0]', 'test_tea[1]', 'test_milk')


def outcome(folder, *arguments):
  """(exit code, names of the tests that ran, last line) of pytest with the project's conftest and settings."""
  shutil.copy(ROOT / 'tests/conftest.py', folder)
  shutil.copy(ROOT / 'setup.cfg', folder)
  (folder / 'test_tiers.py').write_text(TESTS)
  line = [sys.executable, '-m', 'pytest', '-vv', '-p', 'no:cacheprovider', '-c', 'setup.cfg', '.', *arguments]
  done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=100)
  names = [word.partition('::')[2] for word in done.stdout.split() if '.py::' in word]
  return done.returncode, set(names), done.stdout


def test_loud_skips_are_shown_once(tmp_path):
  code, _, shown = outcome(tmp_path, '--quiet', '--quiet', '-k', 'tea or milk')
  assert code == 0 and shown.splitlines().count('!!!! TEA NOT TESTED: no kettle') == 1
  assert 'no milk' not in shown


@pytest.mark.long
def test_long_tests_run_on_request_and_failures_name_the_seed(tmp_path):
  code, names, _ = outcome(tmp_path)
  assert (code, names) == (0, {'test_quick', *SKIPPED})
  code, names, shown = outcome(tmp_path, '--all', '--seed=7', '--share=0.1')
  assert code == 1 and names == {'test_quick', 'test_long', 'test_that_fails', *SKIPPED}
  assert '--seed=7' in shown and '1 failed' in shown  # test_long has got its numbers


def install(folder, *, user=0, system='debian', works=True):
  """(stdout, whether Chromium is there) of scripts/lib/install_chromium on a system of such programs."""
  programs = folder / 'bin'
  programs.mkdir()
  for name in ('bash', 'grep', 'timeout', 'cp', 'chmod', 'true'):
    (programs / name).symlink_to(shutil.which(name))
  installs = (
    f'case "$*" in *"install -y"*chromium) cp {programs}/true {programs}/chromium ;; esac' if works else 'exit 100'
  )
  for name, body in (('id', f'echo {user}'), ('apt-get', installs)):
    (programs / name).write_text(f'#!/bin/bash\n{body}\n')
    (programs / name).chmod(0o755)
  (folder / 'os-release').write_text(f'NAME=x\nID={system}\n')
  environment = {'PATH': str(programs), 'OS_RELEASE': str(folder / 'os-release')}
  line = [ROOT / 'scripts/lib/install_chromium']
  done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
  return done.stdout, (programs / 'chromium').exists()


def test_chromium_is_installed_on_debian_by_root(tmp_path):
  assert install(tmp_path) == ('', True)


@pytest.mark.parametrize(
  ('options', 'reason'),
  [
    ({'user': 1000}, 'only root may install it'),
    ({'system': 'ubuntu'}, 'on Debian only'),  # whose package is an empty one
    ({'works': False}, 'apt-get could not install it'),
  ],
)
def test_without_chromium_the_reason_is_one_line(tmp_path, options, reason):
  shown, there = install(tmp_path, **options)
  assert reason in shown and shown.count('\n') == 1 and not there


@pytest.mark.parametrize('npm', [True, False])
@pytest.mark.parametrize('reason', ['', 'there is none'])
def test_the_last_line_says_what_was_not_tested_and_the_exit_code_is_that_of_the_tests(tmp_path, reason, npm):
  stubs = {
    'scripts/setup': 'echo .venv',
    'scripts/lib/install_chromium': f'echo "{reason}"',
    '.venv/bin/ruff': '',
    '.venv/bin/python': 'echo "$@"; exit 3',
    'bin/npm' if npm else 'bin/other': '',
  }
  for name, body in stubs.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(f'#!/bin/bash\n{body}\n')
    (tmp_path / name).chmod(0o755)
  shutil.copy(ROOT / 'scripts/test', tmp_path / 'scripts')
  for name in ('bash', 'dirname', 'getconf'):
    (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
  line, environment = [tmp_path / 'scripts/test', '--all'], {'PATH': str(tmp_path / 'bin')}
  done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 3 and '-m pytest' in done.stdout and '--all' in done.stdout
  missing = [f'the page and the extension in a browser, as {reason}'] if reason else []
  missing += [] if npm else ['the page without a service, as there is no npm']
  last = done.stdout.splitlines()[-1]
  assert last == f'!!!! NOT TESTED: {"; ".join(missing)}' if missing else '-m pytest' in last
