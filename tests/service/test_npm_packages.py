"""The packages of the page without a service: none but those that are expected, with a stand-in for npm."""

import base64
import hashlib
import io
import os
import re
import tarfile

import commands
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.service import npm_packages
from audionet_tf.service.npm_packages import Package


def archive(**members):
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode='w:gz') as tar:
    for name, content in members.items():
      info = tarfile.TarInfo(f'package/{name}')
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))
  return file.getvalue()


@pytest.fixture
def package(monkeypatch):
  """(Package, its archive), the only one that is wanted."""
  content = archive(**{'main.js': b'import { x } from "@litertjs/wasm-utils"', 'LICENSE': b'free', 'other.js': b'no'})
  integrity = base64.b64encode(hashlib.sha512(content).digest()).decode()
  made = Package('@some/thing', '1.2.3', integrity, 'MIT', {'main.js': 'thing.js', 'LICENSE': 'MIT.txt'})
  monkeypatch.setattr(npm_packages, 'PACKAGES', (made,))
  return made, content


@pytest.fixture
def npm(tmp_path, monkeypatch):
  """A function that puts a stand-in for npm, a shell script, into the PATH; '' for none."""

  def put(script):
    programs = tmp_path / 'bin'
    programs.mkdir()
    if script:
      (programs / 'npm').write_text(f'#!/bin/sh\n{script}\n')
      (programs / 'npm').chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}{os.pathsep}/usr/bin{os.pathsep}/bin' if script else str(programs))

  return put


def test_the_listed_files_of_a_package_are_written(package, npm, tmp_path):
  made, content = package
  (tmp_path / 'made').write_bytes(content)
  npm(f'cp {tmp_path}/made "${{3#--pack-destination=}}/some-thing-1.2.3.tgz"; echo "$@" > {tmp_path}/line')
  out = tmp_path / 'out'
  out.mkdir()
  npm_packages.write(out)
  assert {path.name: path.read_text() for path in (out / 'vendor').iterdir()} == {
    'thing.js': 'import { x } from "./wasm-utils.js"',
    'MIT.txt': 'free',
    'LICENSES.txt': '@some/thing 1.2.3, MIT, source: npm pack @some/thing@1.2.3\n',
  }
  assert (tmp_path / 'line').read_text().startswith('pack @some/thing@1.2.3 ')


def test_a_folder_stands_in_for_npm(package, npm, tmp_path):
  npm('')
  (tmp_path / 'some-thing-1.2.3.tgz').write_bytes(package[1])
  npm_packages.check(tmp_path)
  npm_packages.write(tmp_path, tmp_path)
  assert (tmp_path / 'vendor/thing.js').is_file()
  (tmp_path / 'some-thing-1.2.3.tgz').unlink()
  with pytest.raises(UserError, match='some-thing-1.2.3.tgz: no such file; npm pack @some/thing@1.2.3 writes it'):
    npm_packages.check(tmp_path)


def test_another_content_is_refused(package, tmp_path):
  (tmp_path / 'some-thing-1.2.3.tgz').write_bytes(archive(**{'main.js': b'evil', 'LICENSE': b''}))
  with pytest.raises(UserError, match='its SHA-512 differs'):
    npm_packages.write(tmp_path, tmp_path)
  assert not (tmp_path / 'vendor/thing.js').exists()


@pytest.mark.parametrize(
  ('script', 'message'),
  [
    ('', 'npm, which fetches @some/thing@1.2.3, is not installed; .*--web_packages'),
    (
      'echo "npm error code ENOTFOUND" >&2; exit 1',
      r'npm cannot fetch @some/thing@1.2.3 \(exit code 1: code ENOTFOUND\)',
    ),
    ('exit 0', 'what npm pack @some/thing@1.2.3 writes'),
  ],
)
def test_what_cannot_be_fetched_is_one_line(package, npm, tmp_path, script, message):
  npm(script)
  with pytest.raises(UserError, match=message) as caught:
    npm_packages.write(tmp_path)
  assert '\n' not in str(caught.value)


def test_the_packages_are_fixed():
  for package in npm_packages.PACKAGES:
    assert re.fullmatch(r'\d+\.\d+\.\d+', package.version) and len(base64.b64decode(package.integrity)) == 64
  assert npm_packages.PACKAGES[0].archive == f'litertjs-core-{npm_packages.PACKAGES[0].version}.tgz'


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--web_packages=x', '--output=y', '--model=starter'], '--web_packages goes with --web'),
    (['--web=site', '--web_packages=nowhere'], f'nowhere/{npm_packages.PACKAGES[0].archive}: no such file'),
    (['--web=site', '--tflite'], '--tflite goes with --output'),
    (['--web=memory://site'], '--web=memory://site: expected is a folder on this machine'),
    (['--web=hf://me/site'], '--web=hf://me/site: expected is a folder on this machine'),
    (['--web=.'], '.: holds something else; choose a new folder'),
    (['--output=x'], 'export needs --model'),
    ([], 'export needs --output or --web'),
  ],
)
def test_mistakes_on_the_command_line_are_one_line(tmp_path, arguments, message):
  (tmp_path / 'mine.txt').write_text('mine')
  done = commands.run('audionet_tf.export', *arguments, cwd=tmp_path)
  assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1
  assert not (tmp_path / 'site').exists()
