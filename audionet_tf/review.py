r"""Reviews detected events on a page: plays each, the most doubtful first, and one key accepts, rejects or relabels it.

  python -m audionet_tf.review --model=runs/clips --output=reviewed clip.mp4 song.flac

detects events by the rules and flags of audionet_tf.caption, cuts their sounds into reviewed/sounds, and serves the
page at http://127.0.0.1:8502, to this machine alone. Each decision is written at once; the same command without files
goes on with what is left. reviewed/metadata.csv has the sounds that were given a label: train on them by

  python -m audionet_tf.train --sounds=reviewed --init=runs/clips

Ctrl-C ends the page. It needs the extra `serve`.
"""

import contextlib
import pathlib

from absl import flags

from audionet_tf import event_flags
from audionet_tf.core import cli, files, system
from audionet_tf.core.errors import UserError
from audionet_tf.data import clip_tables
from audionet_tf.models import starter, student_paths

MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export (a version or the folder of versions), or a student.keras; default: the starter.'
)
HEAD = flags.DEFINE_string('head', None, "Of several heads, the teacher's name of the one to use; default: the first.")
OUTPUT = flags.DEFINE_string('output', 'reviewed', 'Folder of the review: new, or one to go on with.')
PORT = flags.DEFINE_integer('port', 8502, 'Port to bind to; 0 for any that is free.', lower_bound=0, upper_bound=65535)

flags.adopt_module_key_flags(event_flags)

TOPICS = {'model': 'Student', 'output': 'Results', **event_flags.TOPICS}
EXTRA = ('fastapi', 'orjson', 'prometheus_client', 'uvicorn')
EVENTS_NAME, DECIDED_NAME = 'events.json', 'decided.json'
OF_A_REVIEW = {DECIDED_NAME, 'metadata.csv', 'sounds', files.LOCK_NAME}  # before events.json, which comes last


def check_arguments(paths):
  """Raises UserError for mistakes that show before anything is loaded."""
  cli.require_installed(EXTRA, 'serve')
  is_begun = (pathlib.Path(OUTPUT.value) / EVENTS_NAME).is_file()
  cli.require(
    not (is_begun and paths),
    f'{OUTPUT.value}: holds a review; leave the files out to go on with it, or choose another --output',
  )
  cli.require(is_begun or paths, f'review needs FILE after the flags ({OUTPUT.value} holds no review to go on with)')
  if paths:
    check_new(pathlib.Path(OUTPUT.value))
    clip_tables.check_names([pathlib.Path(path).name for path in paths])
    event_flags.require_files()
    cli.require_any_file(paths)


def check_new(folder):
  """UserError unless a new review may fill a folder: it is missing, empty, or holds a review that was interrupted."""
  cli.require(folder.is_dir() or not folder.exists(), f'{folder}: not a folder; choose another --output')
  names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
  is_unfinished = DECIDED_NAME in names and names <= OF_A_REVIEW
  cli.require(
    is_unfinished or names <= {files.LOCK_NAME},
    f'{folder}: holds something that is no review; choose a new --output',
  )


@contextlib.contextmanager
def alone(folder):
  """Holds the lock of a folder, made if missing. UserError if another review has it: each would undo the other's."""
  folder.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(files.locked(folder, wait=False))
    except BlockingIOError:
      raise UserError(f'{folder}: another review is open there; end it, or choose another --output') from None
    yield


def begun(paths):
  """The review_folder.Review of new files."""
  model = student_paths.find_for_files(starter.chosen(MODEL.value))
  system.keep_freed_memory()
  cli.import_tensorflow()
  from audionet_tf.captioning import captioner, review_folder
  from audionet_tf.saved_model import for_files

  served = for_files.load(model)
  predictor = captioner.predictor(served, head=HEAD.value)
  rules = event_flags.detection_config(served.settings, predictor.class_names, HEAD.value)
  return review_folder.make(pathlib.Path(OUTPUT.value), predictor, rules, paths)


def main(argv):
  paths = argv[1:]
  check_arguments(paths)
  with alone(pathlib.Path(OUTPUT.value)):
    return serve(paths)


def serve(paths):
  """Serves the page of a review, of new files or one to go on with; returns the exit code."""
  from audionet_tf.service import server, settings

  listening = server.bind_socket('127.0.0.1', PORT.value)
  if paths:
    review = begun(paths)
  else:
    from audionet_tf.captioning import review_folder

    review = review_folder.read(OUTPUT.value)
  from audionet_tf.service import review_app

  app = review_app.application(review, settings.allowed_host_names('127.0.0.1', []))
  left = len(review.events) - len(review.decided)
  return server.run(app, listening, f'{left} of {len(review.events)} events of {OUTPUT.value} to review')


def run():
  cli.run(main, TOPICS)


if __name__ == '__main__':
  run()
