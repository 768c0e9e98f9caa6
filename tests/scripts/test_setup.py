"""scripts/setup, scripts/demo and the search for a Python, with stand-ins for Python and pip: nothing is installed."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from packaging import specifiers

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = ['python', 'python3', 'python3.11', 'python3.12', 'python3.13']

# A Python of another version: programs given by -c are told that they run in it. `-m venv` copies it, `-m pip` takes a
# moment, and keeps a file meanwhile that a second one must not find.
STAND_IN = """#!/usr/bin/env bash
case "$1 $2" in
  "-V ") echo "Python 3.{minor}.7" ;;
  "-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "-m pip")
    echo "$0 ${{*: -3}}" >>installed.txt
    [ ! -e at_work ] || echo "two at once" >>installed.txt
    touch at_work; sleep 0.5; rm at_work ;;
  "-c "*) exec {real} -c "import sys; sys.version_info = (3, {minor}, 7); $2" ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
  """What scripts/setup needs, in a folder of its own."""
  for name in ('setup.cfg', 'pyproject.toml', 'constraints.txt', 'constraints-latest.txt', 'scripts'):
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, tmp_path / name)
  return tmp_path


def stand_in(path, minor):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(STAND_IN.format(minor=minor, real=sys.executable))
  path.chmod(0o755)


def make_pythons(clone, pythons, pyenv=()):
  """Puts these Pythons, minor version numbers, on the PATH and into the ~/.pyenv that `started` gives.

  All other names are pyenv's commands of versions that are not chosen: they are there, and fail.
  """
  for name in COMMANDS:
    (clone / 'bin').mkdir(exist_ok=True)
    (clone / 'bin' / name).write_text('#!/bin/sh\necho "pyenv: $0: command not found" >&2\nexit 127\n')
    (clone / 'bin' / name).chmod(0o755)
  for minor in pythons:
    stand_in(clone / f'bin/python3.{minor}', minor)
  for minor in pyenv:
    stand_in(clone / f'.pyenv/versions/3.{minor}.7/bin/python3.{minor}', minor)


def started(clone, *words, **variables):
  """A script of the clone as a process that sees the Pythons of `make_pythons` alone."""
  environment = {'PATH': f'{clone / "bin"}:/usr/bin:/bin', 'HOME': str(clone), **variables}
  streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
  return subprocess.Popen([clone / words[0], *words[1:]], env=environment, cwd=clone, **streams)


def run(clone, *words, pythons, pyenv=(), **variables):
  """(exit code, stdout, stderr)."""
  make_pythons(clone, pythons, pyenv)
  child = started(clone, *words, **variables)
  out, errors = child.communicate(timeout=60)
  return child.returncode, out, errors


def installed(clone):
  path = clone / 'installed.txt'
  return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
  'pythons, pyenv, arguments, venv, version',
  [
    ([11, 13], [], [], '.venv', '3.11'),
    ([12, 13], [], [], '.venv', '3.12'),
    ([], [12, 13], [], '.venv', '3.12'),  # none on PATH starts
    ([13], [], [], '.venv-latest', '3.13'),
    ([12, 13], [], ['--latest'], '.venv-latest', '3.13'),
    ([11], [12], ['--latest'], '.venv-latest', '3.12'),
  ],
)
def test_the_set_of_versions_follows_from_the_pythons_there_are(clone, pythons, pyenv, arguments, venv, version):
  for _ in range(2):  # the second time nothing is to be done
    code, out, errors = run(clone, 'scripts/setup', *arguments, pythons=pythons, pyenv=pyenv)
    assert (code, out) == (0, f'{venv}\n'), errors
  constraints = 'constraints-latest.txt' if venv == '.venv-latest' else 'constraints.txt'
  assert installed(clone) == [f'{venv}/bin/python .[serve] -c {constraints}']  # the page works after any setup
  done = subprocess.run([clone / venv / 'bin/python', '-V'], capture_output=True, text=True, check=True)
  assert done.stdout.startswith(f'Python {version}.')


@pytest.mark.parametrize(
  'pythons, arguments, variables, named',
  [
    ([10], [], {}, '3.11,3.12,3.13'),
    ([11], ['--latest'], {}, '3.13,3.12'),
    ([11], [], {'PYTHON': 'python3.10'}, 'looked at python3.10'),
  ],
)
def test_without_a_python_one_line_says_which(clone, pythons, arguments, variables, named):
  code, out, errors = run(clone, 'scripts/setup', *arguments, pythons=pythons, **variables)
  assert code == 1 and not out and errors.count('\n') == 1
  assert errors.startswith('error: no Python') and named in errors
  assert not installed(clone)


def test_two_setups_at_once_take_turns_and_extras_add_up(clone):
  make_pythons(clone, [11])
  children = [started(clone, 'scripts/setup', extra) for extra in ('torch', 'dev', 'torch')]
  for child in children:
    assert child.wait(60) == 0, child.stderr.read()
    child.communicate()
  lines = installed(clone)
  assert 2 <= len(lines) <= 3 and 'two at once' not in lines
  assert lines[-1] == '.venv/bin/python .[dev,serve,torch] -c constraints.txt'


def test_an_unknown_extra_is_named(clone):
  code, _, errors = run(clone, 'scripts/setup', 'srve', pythons=[11])
  assert code == 1 and errors.startswith("error: extra 'srve' is not known") and not installed(clone)


@pytest.mark.parametrize('flag', ['--help', '-h', '--helpfull'])
def test_the_demos_help_installs_nothing_and_names_its_flags(clone, flag):
  code, out, errors = run(clone, 'scripts/demo', 'films', flag, pythons=[11])
  assert (code, errors) == (0, '') and not installed(clone) and not (clone / '.venv').exists()
  defined = re.findall(r"flags\.DEFINE_\w+\(\s*'(\w+)'", (ROOT / 'scripts/lib/demo/main.py').read_text())
  assert defined and [name for name in defined if f'--{name}' not in out] == []


def test_unconstrained_ranges_hold_the_tested_versions():
  """What `pip install .` may choose holds what is tested, on both ends."""
  required = (ROOT / 'setup.cfg').read_text().partition('[options.extras_require]')[0]  # an extra may want newer ones
  ranges = dict(re.findall(r'^    ([\w-]+)(>=[^;\n]+)', required, re.MULTILINE))
  for path in ('constraints.txt', 'constraints-latest.txt'):
    pins = dict(re.findall(r'^([\w-]+)==(\S+)$', (ROOT / path).read_text(), re.MULTILINE))
    for name in ('tensorflow', 'tensorboard', 'tensorflow-serving-api', 'keras', 'numpy', 'protobuf', 'av'):
      assert specifiers.SpecifierSet(ranges[name]).contains(pins[name]), (path, name)
