"""The Hugging Face Hub: `hf://user/repository`, perhaps with `@revision`, in place of the path of a folder."""

import functools
import pathlib
import re

from audionet_tf.core import text
from audionet_tf.core.errors import UserError, missing_extra

ADDRESS = re.compile(r'hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?')  # one slash: what pathlib makes of it
PATTERNS = ['student.keras', 'student.json', 'export/**']  # of a run
LEFT_OVER = 'export/*'  # of the version before


def is_address(path):
  """Whether a path means a repository on the Hub."""
  return str(path).startswith('hf:/')


def repository(address):
  """(name, revision or None) of an address. UserError: it is none."""
  match = ADDRESS.fullmatch(str(address))
  if not match:
    raise UserError(f'{address}: not a place on the Hub, expected is hf://user/repository or with @revision')
  return match.groups()


def library():
  """The package huggingface_hub. UserError: it is not installed."""
  try:
    import huggingface_hub
  except ImportError:
    raise missing_extra('hf://', 'huggingface_hub', 'hub') from None
  return huggingface_hub


@functools.cache
def download(address):
  """The pathlib.Path of a folder with the student of a repository: a run, without what only training needs.

  Raises:
    UserError: no such address, the library is not installed, or the download fails.
  """
  name, revision = repository(address)
  try:
    return pathlib.Path(library().snapshot_download(name, revision=revision, allow_patterns=PATTERNS))
  except UserError:
    raise
  except Exception as error:  # of the network, of the Hub, of the library
    raise UserError(f'hf://{name}: cannot be downloaded ({text.brief(error)})') from error


def upload(folder, address):
  """Puts the files of a folder into a repository, made if missing. Errors are those of `download`."""
  name, revision = repository(address)
  try:
    hub = library().HfApi()
    hub.create_repo(name, exist_ok=True)
    hub.upload_folder(repo_id=name, folder_path=str(folder), revision=revision, delete_patterns=LEFT_OVER)
  except UserError:
    raise
  except Exception as error:  # as above
    raise UserError(f'hf://{name}: cannot be uploaded ({text.brief(error)})') from error
