"""A real S3 server behind a proxy that fails when it is told to."""

import faulty_proxy
import pytest
import s3_server
from s3_server import BUCKET


@pytest.fixture(scope='module')
def upstream():
  with s3_server.running() as endpoint:
    yield endpoint


@pytest.fixture(scope='module')
def proxy(upstream):
  with faulty_proxy.running(upstream) as (address, faults):
    yield address, faults


@pytest.fixture
def store(upstream, proxy, tmp_path, monkeypatch):
  """(an s3fs file system of its own, the Faults between the server and the code under test); the bucket is empty."""
  import s3fs

  for name, value in s3_server.variables(upstream, tmp_path / 'cache', seconds=24).items():
    monkeypatch.setenv(name, value)
  system = s3_server.system()
  if system.exists(BUCKET):
    system.rm(BUCKET, recursive=True)
  system.mkdir(BUCKET)
  address, faults = proxy
  monkeypatch.setenv('AWS_ENDPOINT_URL', address)
  s3fs.S3FileSystem.clear_instance_cache()
  faults.__init__()
  yield system, faults
  s3fs.S3FileSystem.clear_instance_cache()
