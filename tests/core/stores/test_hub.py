"""Students on the Hugging Face Hub, with a stand-in for its library: nothing leaves the machine."""

import importlib.util
import pathlib
import shutil
import sys
import types

import commands
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub
from audionet_tf.models import student_paths
from audionet_tf.training import run_checks


@pytest.fixture
def library(monkeypatch, tmp_path):
  """huggingface_hub whose repositories are folders in tmp_path/hub; `calls` lists what it was asked."""
  calls = []

  class HfApi:
    def create_repo(self, name, exist_ok):
      assert exist_ok
      (tmp_path / 'hub' / name).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, repo_id, folder_path, revision, delete_patterns):
      calls.append((repo_id, revision, delete_patterns))
      shutil.copytree(folder_path, tmp_path / 'hub' / repo_id, dirs_exist_ok=True)

  def snapshot_download(name, revision, allow_patterns):
    calls.append((name, revision))
    if not (tmp_path / 'hub' / name).is_dir():
      raise ConnectionError('404 Client\nError')
    return str(tmp_path / 'hub' / name)

  stand_in = types.SimpleNamespace(HfApi=HfApi, snapshot_download=snapshot_download, calls=calls)
  monkeypatch.setitem(sys.modules, 'huggingface_hub', stand_in)
  hub.download.cache_clear()
  yield stand_in
  hub.download.cache_clear()


@pytest.mark.parametrize('address', ['hf://me/dogs', 'hf://me/dogs@v1.0'])
def test_an_address_is_a_run_wherever_a_model_is_loaded(library, tmp_path, address):
  run = tmp_path / 'hub/me/dogs'
  (run / 'export/1').mkdir(parents=True)
  for file in ('student.keras', 'student.json', 'export/1/saved_model.pb'):
    (run / file).touch()
  assert student_paths.resolve(address) == student_paths.find(address) == run / 'student.keras'
  assert student_paths.find_export(address) == student_paths.find_for_files(address) == run / 'export/1'
  assert student_paths.find(pathlib.Path(address)) == run / 'student.keras'  # which has one slash
  assert run_checks.initial_student(address) == run / 'student.keras'  # of --init
  assert {call[1] for call in library.calls} == {'v1.0' if '@' in address else None}


def test_a_failure_is_one_line(library):
  with pytest.raises(UserError, match=r'^hf://me/cats: cannot be downloaded \(ConnectionError: 404 Client Error\)$'):
    student_paths.find('hf://me/cats')


@pytest.mark.parametrize('address', ['hf://dogs', 'hf://', 'hf://a/b/c', 'hf://a/../b'])
def test_other_addresses_are_refused(library, address):
  with pytest.raises(UserError, match='expected is hf://user/repository'):
    hub.download(address)
  assert not library.calls


def test_a_folder_is_uploaded_and_old_versions_go(library, tmp_path):
  (tmp_path / 'run/export/1').mkdir(parents=True)
  for file in ('student.keras', 'student.json'):
    (tmp_path / 'run' / file).touch()
  hub.upload(tmp_path / 'run', 'hf://me/dogs@main')
  assert library.calls == [('me/dogs', 'main', 'export/*')]
  assert student_paths.find('hf://me/dogs').is_file()


@pytest.mark.skipif(importlib.util.find_spec('huggingface_hub') is not None, reason='huggingface_hub is installed')
def test_a_missing_library_is_named_before_anything_is_loaded():
  for arguments in (['--model=hf://me/dogs', '--output=out'], ['--model=starter', '--output=hf://me/dogs']):
    done = commands.run('audionet_tf.export', *arguments)
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert 'needs huggingface_hub' in done.stderr and '[hub]' in done.stderr
