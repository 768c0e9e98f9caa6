"""The service of a student that knows two tones, as the tests over HTTP ask it."""

import contextlib

import httpx
import running_service
import tones

from audionet_tf.saved_model import export as saved_model_export
from audionet_tf.service.settings import Limits

NAMES = ['silence', 'low', 'high <b>tone</b> --> & more']
LIMITS = Limits(request_bytes=1 << 20, upload_bytes=4 << 20, sound_seconds=130, captions_at_once=1, captions_waiting=1)


def export(folder):
  """Folder of the student's export, a version in `folder`."""
  student = tones.student(NAMES)
  return saved_model_export.export(student.module, student.settings, folder)


@contextlib.contextmanager
def client(made):
  """An httpx.Client of a app.Service that runs meanwhile."""
  with (
    running_service.running(made, host_names=('127.0.0.1',)) as address,
    httpx.Client(base_url=address, timeout=60) as client,
  ):
    yield client


@contextlib.contextmanager
def nothing_is_left(made, tmp_path, monkeypatch):
  """Afterwards: no file, no process, no place taken."""
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
  (tmp_path / 'temporary').mkdir()
  before = running_service.children()  # other tests' too, which run commands
  yield
  running_service.wait(lambda: made.jobs.admitted == 0)
  running_service.wait(lambda: not [n for n, name in new_children(before).items() if 'python' in name])
  assert not [path for path in (tmp_path / 'temporary').iterdir() if 'autograph' not in path.name]
  running_service.wait(lambda: not [path for path in running_service.open_unnamed() if 'temporary' in path])


def new_children(before):
  return {number: name for number, name in running_service.children().items() if number not in before}
