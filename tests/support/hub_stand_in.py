"""In place of huggingface_hub: repositories are folders in STAND_IN, and nothing leaves the machine.

`install` puts it in the place of the library; as a script it runs a command with it: MODULE ARGUMENTS.
"""

import fnmatch
import os
import pathlib
import runpy
import shutil
import sys

import commands

calls = []  # (name, revision) of each call


def folder(name):
  """pathlib.Path of a repository."""
  return pathlib.Path(os.environ['STAND_IN'], name)


def is_chosen(path, allow_patterns, ignore_patterns):
  """Whether the library takes a file: as its own `filter_repo_objects`."""
  is_allowed = allow_patterns is None or any(fnmatch.fnmatch(path, pattern) for pattern in allow_patterns)
  return is_allowed and not any(fnmatch.fnmatch(path, pattern) for pattern in ignore_patterns or ())


def copy(source, target, *patterns):
  """Copies the chosen files."""
  for path in source.rglob('*'):
    name = path.relative_to(source).as_posix()
    if path.is_file() and is_chosen(name, *patterns):
      (target / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(path, target / name)


def snapshot_download(name, *, revision=None, allow_patterns=None, ignore_patterns=None):
  calls.append((name, revision))
  if not folder(name).is_dir():
    raise ConnectionError('404 Client\nError')
  target = folder(f'.cache/{len(calls)}-{os.getpid()}')
  target.mkdir(parents=True)
  copy(folder(name), target, allow_patterns, ignore_patterns)
  return str(target)


class HfApi:
  def whoami(self):
    if 'SIGNED_OUT' in os.environ:
      raise ConnectionError('401 Client Error')
    return {'name': 'me'}

  def create_repo(self, name, *, exist_ok):
    assert exist_ok
    folder(name).mkdir(parents=True, exist_ok=True)

  def file_exists(self, name, file, *, revision=None):
    calls.append((name, revision))
    return (folder(name) / file).is_file()

  def upload_folder(self, *, repo_id, folder_path, revision, allow_patterns, ignore_patterns, delete_patterns):
    calls.append((repo_id, revision))
    for path in [path for path in folder(repo_id).rglob('*') if path.is_file()]:
      if fnmatch.fnmatch(path.relative_to(folder(repo_id)).as_posix(), delete_patterns):
        path.unlink()
    copy(pathlib.Path(folder_path), folder(repo_id), allow_patterns, ignore_patterns)


def install(monkeypatch, root):
  """Takes the library's place in this process, with repositories below `root`."""
  monkeypatch.setenv('STAND_IN', str(root))
  monkeypatch.setitem(sys.modules, 'huggingface_hub', sys.modules[__name__])
  calls.clear()


def run(root, *words, **variables):
  """A command as `commands.run` has it, with repositories below `root`, a cache beside them, and more variables."""
  environment = variables | {'STAND_IN': str(root), 'AUDIONET_CACHE': f'{root}-cache'}
  return commands.run(__file__, *words, environment=environment)


if __name__ == '__main__':
  sys.modules['huggingface_hub'] = sys.modules['__main__']
  sys.argv = sys.argv[1:]
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
