"""The Hugging Face Hub: `hf://user/repository`, in place of the path of a folder, or a file in it.

The whole form is hf://user/repository@revision/path, as the Hub's own tools have it: a slash in the name of a branch is
%2F.
"""

import functools
import pathlib
import re

from audionet_tf.core import text
from audionet_tf.core.errors import UserError, missing_extra

FORM = 'hf://user/repository, perhaps with @revision, and /path of a file in it'
ADDRESS = re.compile(  # with one slash, as pathlib has it
  r'hf:/{1,2}([\w.-]+/[\w.-]+)(?:@(refs/(?:pr|convert)/[\w.-]+|(?:[\w.-]|%2F)+))?(?:/([^*?[\]\0]+))?'
)
STUDENT = ('student.keras', 'student.json', 'export/**')  # of a run, what is of use without training
CARD = 'README.md'
LEFT_OVER = 'export/*'  # of the version before
OTHERS = ('*.safetensors', '*.bin', '*.pt', '*.pth', '*.ckpt', '*.msgpack', '*.onnx', '*.gguf')  # of other libraries


def is_address(path):
  """Whether a path means a repository on the Hub."""
  return str(path).startswith('hf:/')


def place(address):
  """(name of the repository, revision or None, path in it or '') of an address. UserError: it is none."""
  match = ADDRESS.fullmatch(str(address))
  name, revision, path = match.groups() if match else ('', None, None)
  revision = revision and revision.replace('%2F', '/')
  if {'', '.', '..'} & {part for text in (name, revision or 'x', path or 'x') for part in text.split('/')}:
    raise UserError(f'{address}: not a place on the Hub, expected is {FORM}')
  return name, revision, path or ''


def repository(address):
  """(name, revision or None) of the address of a whole repository. UserError: it is none."""
  name, revision, path = place(address)
  if path:
    raise UserError(f'{address}: a path in a repository; what is written fills a whole one, hf://{name}')
  return name, revision


def library():
  """The package huggingface_hub. UserError: it is not installed."""
  try:
    import huggingface_hub
  except ImportError:
    raise missing_extra('hf://', 'huggingface_hub', 'hub') from None
  return huggingface_hub


def student(address):
  """pathlib.Path of a folder with the student of a repository: a run, without what only training needs.

  Of an address with a path it is the local copy of that, a .keras file with its .json beside it.

  Raises:
    UserError: no such address, the library is not installed, or the download fails.
  """
  return _download(*place(address), STUDENT)


def fetched(address):
  """pathlib.Path of the local copy of a file, or of a whole repository without weights of other libraries.

  Errors are those of `student`.
  """
  return _download(*place(address), None)


@functools.cache
def _download(name, revision, path, patterns):
  """As `student`, of a `place`. `patterns`: of the files of a whole repository; None: all but OTHERS."""
  if path:
    patterns = (path, f'{path}/**', f'{path.removesuffix(".keras")}.json')
  choice = {'allow_patterns': [*patterns]} if patterns else {'ignore_patterns': [*OTHERS]}
  try:
    root = library().snapshot_download(name, revision=revision, **choice)
  except UserError:
    raise
  except Exception as error:  # of the network, of the Hub, of the library
    raise UserError(f'hf://{name}: cannot be downloaded ({text.brief(error)})') from error
  local = pathlib.Path(root, path)
  if not local.exists():
    raise UserError(f'hf://{name}: there is no {path} in this repository')
  return local


def holds(address, file):
  """Whether a repository exists and has a file of that name. Errors are those of `student`."""
  name, revision = repository(address)
  try:
    return bool(library().HfApi().file_exists(name, file, revision=revision))
  except UserError:
    raise
  except Exception as error:  # as above
    raise UserError(f'hf://{name}: cannot be read ({text.brief(error)})') from error


def check_signed_in():
  """UserError unless somebody is signed in: who cannot save finds it out before the work, and nothing is made yet."""
  try:
    library().HfApi().whoami()
  except UserError:
    raise
  except Exception as error:  # as above
    raise UserError(f'hf://: nobody is signed in ({text.brief(error)}); hf auth login does it') from error


def upload(run, address):
  """Puts the student, the export and the card in the folder of a run into a repository, made if missing.

  Errors are those of `student`.
  """
  name, revision = repository(address)
  try:
    hub = library().HfApi()
    hub.create_repo(name, exist_ok=True)
    hub.upload_folder(
      repo_id=name,
      folder_path=str(run),
      revision=revision,
      allow_patterns=[*STUDENT, CARD],
      ignore_patterns=['*/.lock'],
      delete_patterns=LEFT_OVER,
    )
  except UserError:
    raise
  except Exception as error:  # as above
    raise UserError(f'hf://{name}: cannot be uploaded ({text.brief(error)})') from error
  _download.cache_clear()  # what was loaded before is no longer what is there
