"""JSON files with a checksum of their content, so that a change by hand or a flipped bit is noticed.

The checksum is that of the values: a file may be formatted anew. Files of older versions have none, and are read too.
"""

import json
import pathlib

from audionet_tf.core import digests, files, text
from audionet_tf.core.errors import UserError

KEY = 'checksum'


def write(path, content, **options):
  """Writes a dict atomically, with its checksum. `options`: of json.dump."""
  files.write_json(path, sealed(content), **options)


def sealed(content):
  """The dict with its checksum."""
  return content | {KEY: checksum(content)}


def checksum(content):
  """BLAKE2b of a dict that JSON can hold, in a form that depends on its values only."""
  return digests.blake2b(json.dumps(content, sort_keys=True).encode())


def read(path, kind, advice):
  """Reads a dict, without its checksum.

  Args:
    path: of the file.
    kind: what the file should be, for the message, such as 'a manifest'.
    advice: what to do about a damaged file, for the message.

  Raises:
    UserError: the file holds no dict, or another one than was written.
    FileNotFoundError: there is no file.
  """
  try:
    content = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    if not isinstance(content, dict):
      raise TypeError(f'it holds a {type(content).__name__}')
    stored = content.pop(KEY, None)
    actual = stored and checksum(content)
  except (ValueError, TypeError, RecursionError) as error:
    raise UserError(f'{path}: not {kind} ({text.brief(error)}); {advice}') from None
  if stored != actual:
    raise UserError(f'{path}: was changed after it was written (its checksum differs); {advice}')
  return content
