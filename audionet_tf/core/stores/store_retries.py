"""Requests to a store that fail: repeated with growing waits while the reason may pass, then one line that tells it.

AUDIONET_STORE_SECONDS (60) is how long a request is repeated, from its first failure: bytes may flow for longer before.
"""

import contextlib
import errno
import os
import re
import sys
import time

from audionet_tf.core import files, text
from audionet_tf.core.errors import DiskFullError, UserError

PATIENCE_SECONDS, LONGEST_WAIT_SECONDS = 60.0, 10.0
LASTING = (
  FileNotFoundError,
  PermissionError,
  FileExistsError,
  NotADirectoryError,
  IsADirectoryError,
  ImportError,
  ValueError,
)
LASTING_NUMBERS = (errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG, errno.EPERM, *files.FULL)
NO_CREDENTIALS = re.compile('credential|ProfileNotFound|RefreshError', re.IGNORECASE)  # names of exceptions
HOW_TO_SIGN_IN = {
  's3': 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; FSSPEC_S3_ANON=true reads what is public',
  'gs': 'run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS',
}
SECRETS = ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')


def patience_seconds():
  """How long a failing request is repeated. UserError: AUDIONET_STORE_SECONDS is no positive number."""
  return positive('AUDIONET_STORE_SECONDS', PATIENCE_SECONDS)


def positive(variable, default):
  """The value of an environment variable, float above 0. UserError: it is something else."""
  value = os.environ.get(variable, default)
  with contextlib.suppress(ValueError):
    if 0 < float(value) < float('inf'):
      return float(value)
  raise UserError(f'{variable}={value}: expected is a number above 0')


def repeated(address, function):
  """`function()`, repeated while it fails for a reason that may pass.

  Raises:
    FileNotFoundError, FileExistsError: as the store says.
    UserError: access is denied, or the store is still failing after AUDIONET_STORE_SECONDS; it names the address.
  """
  start, wait, told = None, 0.1, False
  while True:
    try:
      return function()
    except (FileNotFoundError, FileExistsError, UserError, DiskFullError):
      raise
    except Exception as error:  # of the network, of the store, of its library
      if files.is_full(error):
        raise
      start = time.monotonic() if start is None else start
      spent = time.monotonic() - start
      if lasts(error) or spent + wait > patience_seconds():
        after = '' if lasts(error) else f', after {spent:.0f} s of trying again'
        raise UserError(f'{address}: {reason(address, error)}{after}') from error
      if spent > 2 and not told:
        told = True
        left = f'trying again for up to {patience_seconds():.0f} s'
        print(f'warning: {address}: {reason(address, error)}; {left}', file=sys.stderr)
    time.sleep(wait)
    wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def lasts(error):
  """Whether to repeat a request is useless."""
  return (
    isinstance(error, LASTING)
    or (isinstance(error, OSError) and error.errno in LASTING_NUMBERS)
    or bool(NO_CREDENTIALS.search(type(error).__name__))
  )


def reason(address, error):
  """Why a request failed, in words that hold no secret."""
  protocol = address.partition(':')[0]
  if NO_CREDENTIALS.search(type(error).__name__):
    return f'no credentials for this store; {HOW_TO_SIGN_IN.get(protocol, "sign in to it first")}'
  message = text.brief(error)
  for variable in SECRETS:
    if secret := os.environ.get(variable):
      message = message.replace(secret, '...')
  if isinstance(error, PermissionError):
    return f'access denied ({message}); the credentials in use do not allow it'
  return message
