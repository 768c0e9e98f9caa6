"""A real S3 server on this machine (moto's), in a process of its own, and the variables with which programs find it."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

CREDENTIALS = {'AWS_ACCESS_KEY_ID': 'key-of-tests', 'AWS_SECRET_ACCESS_KEY': 'secret-of-tests'}
BUCKET = 'sounds'
PLACE = f's3://{BUCKET}/folder'
PROGRAM = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running():
  """The endpoint of a server that has no buckets; it ends with the block, or with this process."""
  environment = {name: value for name, value in os.environ.items() if not name.startswith('AWS_')}
  pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL}
  with subprocess.Popen([sys.executable, '-c', PROGRAM], env=environment | CREDENTIALS, text=True, **pipes) as server:
    try:
      endpoint = f'http://127.0.0.1:{int(server.stdout.readline())}'
      end = time.monotonic() + 60
      while not answers(endpoint):
        assert time.monotonic() < end, 'the S3 server does not answer'
        time.sleep(0.01)
      yield endpoint
    finally:
      server.kill()


def answers(endpoint):
  """Whether a server answers at an endpoint."""
  try:
    urllib.request.urlopen(endpoint, timeout=5).close()
  except urllib.error.HTTPError:
    return True
  except OSError:
    return False
  return True


def variables(endpoint, cache, seconds=20):
  """dict of the environment in which programs use the server at `endpoint`, and a cache of their own."""
  return CREDENTIALS | {
    'AWS_ENDPOINT_URL': endpoint,
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_EC2_METADATA_DISABLED': 'true',
    'AUDIONET_CACHE': str(cache),
    'AUDIONET_STORE_SECONDS': str(seconds),
  }


def system():
  """An s3fs file system of the server that the environment names: for tests alone, without the code under test."""
  import s3fs

  return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


def files_in(folder):
  """dict of the names of all files below a folder to their bytes."""
  return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
