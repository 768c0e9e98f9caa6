"""Models on the Hugging Face Hub, with a stand-in for its library: nothing leaves the machine."""

import importlib.util
import inspect
import pathlib

import commands
import hub_stand_in
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, object_store, store_cache
from audionet_tf.models import student_paths
from audionet_tf.python_api import training
from audionet_tf.teachers import described
from audionet_tf.training import run_checks

RUN = ('student.keras', 'student.json', 'export/1/saved_model.pb')


@pytest.fixture
def repositories(monkeypatch, tmp_path):
  """The folder of the stand-in's repositories."""
  hub_stand_in.install(monkeypatch, tmp_path / 'hub')
  hub._download.cache_clear()
  yield tmp_path / 'hub'
  hub._download.cache_clear()


def make(folder, *names):
  """Files in a folder, each with its name as content."""
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name)
  return folder


def names_in(folder):
  return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('address', ['hf://me/dogs', 'hf://me/dogs@v1.0'])
def test_an_address_is_a_run_wherever_a_student_is_loaded(repositories, address):
  make(repositories / 'me/dogs', *RUN, 'other.safetensors', 'checkpoints/ckpt-1.index')
  student = student_paths.resolve(address)
  assert names_in(student.parent) == {*RUN} and student.name == 'student.keras'
  assert student_paths.find(address) == run_checks.initial_student(address) == student
  assert student_paths.find_export(address) == student_paths.find_for_files(address) == student.parent / 'export/1'
  assert student_paths.find(pathlib.Path(address)) == student  # which has one slash
  assert {revision for _, revision in hub_stand_in.calls} == {'v1.0' if '@' in address else None}


def test_a_student_within_a_repository(repositories):
  make(repositories / 'me/zoo', 'cats/old.keras', 'cats/old.json', 'cats/new.keras')
  student = student_paths.find('hf://me/zoo@main/cats/old.keras')
  assert names_in(student.parent) == {'old.keras', 'old.json'}


@pytest.mark.parametrize('prefix', ['', 'eyes=', 'embedding:', 'clip:', 'sound@22050:'])
def test_teachers_are_fetched_and_told_by_their_address(repositories, prefix):
  make(repositories / 'me/eyes', 'model.tflite', 'saved_model.pb', 'pytorch_model.bin')
  whole, file = (
    training._teachers({'source': f'{prefix}{address}'}, {})[0][0].source
    for address in ('hf://me/eyes', 'hf://me/eyes@refs/pr/1/model.tflite')
  )
  shown = prefix.removeprefix('eyes=')
  assert store_cache.addressed(whole) == f'{shown}hf://me/eyes'
  assert store_cache.addressed(file) == f'{shown}hf://me/eyes@refs/pr/1/model.tflite'
  assert names_in(pathlib.Path(whole.removeprefix(shown))) == {'model.tflite', 'saved_model.pb'}
  assert pathlib.Path(file.removeprefix(shown)).read_text() == 'model.tflite'
  assert [revision for _, revision in hub_stand_in.calls] == [None, 'refs/pr/1']


@pytest.mark.parametrize('key', described.PLACES)
def test_an_address_that_a_student_names_is_not_followed(repositories, key):
  with pytest.raises(UserError, match='has its .* at clip:hf://me/eyes; give it'):
    described.refuse_addresses({key: 'clip:hf://me/eyes'}, 'give it')
  assert not hub_stand_in.calls


def test_a_branch_with_a_slash_is_named_as_in_the_tools_of_the_hub(repositories):
  make(repositories / 'me/eyes', 'model.tflite')
  store_cache.fetched('hf://me/eyes@feature%2Fbetter/model.tflite')
  assert hub_stand_in.calls == [('me/eyes', 'feature/better')]


def test_what_was_uploaded_is_what_is_loaded_next(repositories, tmp_path):
  for content in ('one', 'two'):
    run = make(tmp_path / content, *RUN)
    (run / 'student.json').write_text(content)
    hub.upload(run, 'hf://me/dogs')
    assert student_paths.find('hf://me/dogs').with_suffix('.json').read_text() == content


@pytest.mark.skipif(importlib.util.find_spec('huggingface_hub') is None, reason='huggingface_hub is not installed')
def test_the_stand_in_takes_what_the_library_takes():
  import huggingface_hub

  pairs = [(huggingface_hub.snapshot_download, hub_stand_in.snapshot_download)]
  for name in ('whoami', 'create_repo', 'file_exists', 'upload_folder'):
    pairs.append((getattr(huggingface_hub.HfApi, name), getattr(hub_stand_in.HfApi, name)))
  for real, ours in pairs:
    parameters = inspect.signature(ours).parameters.values()
    by_name = {each.name: None for each in parameters if each.kind == each.KEYWORD_ONLY}
    inspect.signature(real).bind(*[None] * (len(parameters) - len(by_name)), **by_name)


def test_failures_are_one_line(repositories):
  with pytest.raises(UserError, match=r'^hf://me/cats: cannot be downloaded \(ConnectionError: 404 Client Error\)$'):
    student_paths.find('hf://me/cats')
  make(repositories / 'me/eyes', 'model.tflite')
  with pytest.raises(UserError, match='^hf://me/eyes: there is no model.keras in this repository$'):
    store_cache.fetched('hf://me/eyes/model.keras')


@pytest.mark.parametrize(
  'address',
  ['hf://dogs', 'hf://', 'hf://a/../b', 'hf://a/..', 'hf://a/b/../c', 'hf://a/b//c', 'hf://a/b/*', 'hf://a/b@', 'hf://a/b/',
   'hf://a/b@.', 'hf://a/b@..', 'hf://a/b@x%2F..'],
)  # fmt: skip
def test_other_addresses_are_refused(repositories, address):
  assert object_store.is_elsewhere(address) and not object_store.is_address(address)
  for function in (hub.student, store_cache.fetched):
    with pytest.raises(UserError, match='expected is hf://user/repository'):
      function(address)
  assert not hub_stand_in.calls


def test_a_run_is_uploaded_without_what_only_training_needs_and_old_versions_go(repositories, tmp_path):
  make(repositories / 'me/dogs', 'export/1/old', 'export/2/old', 'notes.txt')
  run = make(tmp_path / 'run', *RUN, 'README.md', 'export/.lock', 'checkpoints/ckpt-1.index', 'metrics.jsonl')
  hub.upload(run, 'hf://me/dogs@main')
  assert hub_stand_in.calls == [('me/dogs', 'main')]
  assert names_in(repositories / 'me/dogs') == {*RUN, 'README.md', 'notes.txt'}
  assert student_paths.find('hf://me/dogs').is_file()
  with pytest.raises(UserError, match='hf://me/dogs/old: a path in a repository'):
    hub.upload(run, 'hf://me/dogs/old')


@pytest.mark.skipif(importlib.util.find_spec('huggingface_hub') is not None, reason='huggingface_hub is installed')
@pytest.mark.parametrize(
  'words',
  [
    ['audionet_tf.export', '--model=hf://me/dogs', '--output=out'],
    ['audionet_tf.export', '--model=starter', '--output=hf://me/dogs'],
    ['audionet_tf.convert', '--from=sound8.npy', '--student=soundnet8', '--output=hf://me/dogs'],
    ['audionet_tf.train', '--records=data', '--run_dir=hf://me/dogs'],
    ['audionet_tf.train', '--records=data', '--run_dir=run', '--teacher=hf://me/eyes'],
  ],
)
def test_a_missing_library_is_named_before_anything_is_loaded(words):
  done = commands.run(*words)
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert 'needs huggingface_hub' in done.stderr and '[hub]' in done.stderr
