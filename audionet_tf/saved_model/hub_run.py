"""A run whose student goes to the Hugging Face Hub, which takes models, not checkpoints: the run itself stays here."""

import contextlib

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, store_cache
from audionet_tf.models import student_paths

RUNS = 'runs'  # in the cache's folder
FIGURES = 'report.json'  # of a training on sounds by class


def folder_of(address):
  """pathlib.Path of the folder of the run on this machine that stands for an address. UserError: it is none."""
  name, revision = hub.repository(address)
  return store_cache.folder() / RUNS / name / (revision or 'main').replace('/', '_')


@contextlib.contextmanager
def written(address, resume):
  """Context with the local folder of a run; at its end the student, its export and a card are uploaded.

  The folder stays, for --resume and TensorBoard. What is interrupted is not uploaded.

  Args:
    address: hf://user/repository.
    resume: whether an existing run is resumed.

  Raises:
    UserError: the repository holds a student whose run is not here, or that is not to be resumed; it cannot be reached.
  """
  folder = folder_of(address)
  is_here = folder.is_dir() and any(folder.iterdir())
  if not (resume and is_here) and hub.holds(address, student_paths.STUDENT_FILE):
    advice = f'start from it by --init={address} and another --run_dir' if resume else 'choose another --run_dir'
    where = ', whose run is not on this machine' if resume else ' already'
    raise UserError(f'{address}: holds a student{where}; {advice}')
  hub.check_signed_in()
  folder.mkdir(parents=True, exist_ok=True)
  store_cache.name_at(folder, address)
  yield folder
  try:
    publish(folder, address)
  except UserError as error:
    raise UserError(f'{error}; the trained run is kept here: --resume uploads it') from error


def publish(run, address):
  """Uploads the student in the folder of a run with its export, and a card unless there is one on the Hub.

  Errors are those of hub.upload.
  """
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import card

  (run / card.FILE).unlink(missing_ok=True)
  if not hub.holds(address, card.FILE):  # somebody may have written more into it
    model, settings = student_file.load(run / student_paths.STUDENT_FILE)
    report = run / FIGURES
    card.write(run / card.FILE, model, settings, run, card.read_figures(report) if report.is_file() else None)
  hub.upload(run, address)
