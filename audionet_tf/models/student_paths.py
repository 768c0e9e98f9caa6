"""What a path to a student means: a run, its .keras file, an export, one of these in a store or on the Hub, starter.

All are found without TensorFlow.
"""

import pathlib

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, object_store, store_cache
from audionet_tf.models import stored_student

STUDENT_FILE = 'student.keras'
EXPORT_FOLDER = 'export'
STARTER = 'starter'  # in place of a path: the student that the package contains
STARTER_FOLDER = pathlib.Path(__file__).parents[1] / 'starter'


def named(path):
  """The path of the starter for the word STARTER, unless something here is called that; a local copy of what an address
  on the Hub or in a store means; any other path as it is.
  """
  if hub.is_address(path):
    local = hub.student(path)
    store_cache.name_at(local, str(path))
    return local
  if object_store.is_address(path):
    return stored_student.fetched(str(path))
  path = pathlib.Path(path)
  return STARTER_FOLDER / STUDENT_FILE if path == pathlib.Path(STARTER) and not path.exists() else path


def resolve(path):
  """The .keras file of a run or of the starter; any other path as it is. pathlib.Path."""
  path = named(path)
  student = path / STUDENT_FILE
  return student if student.is_file() else path


def require_student(path):
  """UserError unless there is a student at `path` (.keras) with the .json that belongs beside it."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such student; training writes it as RUN/{STUDENT_FILE}')
  if not path.with_suffix('.json').is_file():
    raise UserError(f'{path.with_suffix(".json")}: missing; it belongs beside {path.name}')


def find_export(path):
  """The version folder that `path` means: itself, the highest version in it, or that of the run at `path`.

  Raises:
    UserError: no SavedModel there, or TensorFlow cannot read it as its path is not UTF-8.
  """
  path = named(path)
  path = path / EXPORT_FOLDER if (path / EXPORT_FOLDER).is_dir() else path
  if (path / 'saved_model.pb').is_file():
    files.require_utf8(path)
    return path
  if path.suffix == '.keras' and path.is_file():
    raise UserError(f'{path}: weights alone; audionet_tf.export --model={path} --output=DIR makes a SavedModel of them')
  numbers = versions(path) if path.is_dir() else []
  if not numbers:
    raise UserError(f'{path}: no SavedModel here; audionet_tf.export writes one, training too, as RUN/export/1')
  return find_export(path / str(numbers[-1]))


def versions(folder):
  """The version numbers below `folder`, a pathlib.Path, rising."""
  return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def find_for_files(path):
  """What predicts files: the export that `path` means, or the .keras file of a student that has none.

  Raises:
    UserError: there is neither.
  """
  path = named(path)
  path = path if (path / EXPORT_FOLDER).is_dir() else resolve(path)
  if path.suffix != '.keras' or path.is_dir():
    return find_export(path)
  require_student(path)
  return path


def find(path):
  """The student that `path` means: the .keras file of a run before its export. UserError where there is neither."""
  path = resolve(path)
  if path.suffix != '.keras':
    return find_export(path)
  require_student(path)
  return path
