r"""Reviews detected events on a page: plays each, the most doubtful first, and one key accepts, rejects or relabels it.

  python -m audionet_tf.review --model=runs/clips --output=reviewed clip.mp4 song.flac

detects events by the rules and flags of audionet_tf.caption, cuts their sounds into reviewed/sounds, and serves the
page at http://127.0.0.1:8502, to this machine alone. Each decision is written at once; the same command without files
goes on with what is left. reviewed/metadata.csv has the sounds that were given a label: train on them by

  python -m audionet_tf.train --sounds=reviewed --init=runs/clips

Ctrl-C ends the page. It needs the extra `serve`.
"""

import pathlib

from absl import flags

from audionet_tf import event_flags
from audionet_tf.captioning import review_place
from audionet_tf.core import cli, system
from audionet_tf.core.stores import object_store
from audionet_tf.data.tables import clip_tables
from audionet_tf.teachers import student_words

MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export (a version or the folder of versions), or a student.keras; default: the starter.'
)
HEAD = flags.DEFINE_string('head', None, "Of several heads, the teacher's name of the one to use; default: the first.")
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'For a student of embeddings: classes in your own words, one per line, or a .npz table of their vectors.',
)
OUTPUT = flags.DEFINE_string('output', 'reviewed', 'Folder of the review: new, or one to go on with.')
PORT = flags.DEFINE_integer('port', 8502, 'Port to bind to; 0 for any that is free.', lower_bound=0, upper_bound=65535)

flags.adopt_module_key_flags(event_flags)

TOPICS = {'model': 'Student', 'output': 'Results', **event_flags.TOPICS}
EXTRA = ('fastapi', 'orjson', 'prometheus_client', 'uvicorn')


def check_arguments(paths):
  """Raises UserError for mistakes that show before anything is loaded."""
  cli.require_installed(EXTRA, 'serve')
  cli.require(
    not object_store.is_address(OUTPUT.value), f'--output={OUTPUT.value}: a review is kept in a folder of this machine'
  )
  is_begun = (pathlib.Path(OUTPUT.value) / review_place.EVENTS).is_file()
  cli.require(
    not (is_begun and paths),
    f'{OUTPUT.value}: holds a review; leave the files out to go on with it, or choose another --output',
  )
  cli.require(is_begun or paths, f'review needs FILE after the flags ({OUTPUT.value} holds no review to go on with)')
  if paths:
    review_place.check_new(pathlib.Path(OUTPUT.value))
    clip_tables.check_names([pathlib.Path(path).name for path in paths])
    event_flags.require_files()
    cli.require_any_file(paths)


def begun(paths, model):
  """The review_folder.Review of new files. `model`: path of the student."""
  system.keep_freed_memory()
  cli.import_tensorflow()
  from audionet_tf.captioning import captioner, review_folder

  served = student_words.load(model, CLASSES.value)
  predictor = captioner.predictor(served, head=HEAD.value)
  rules = event_flags.detection_config(served.settings, predictor.class_names, HEAD.value)
  return review_folder.make(pathlib.Path(OUTPUT.value), predictor, rules, paths)


def main(argv):
  paths = argv[1:]
  check_arguments(paths)
  model = student_words.find(MODEL.value, CLASSES.value) if paths else None
  with review_place.locked(pathlib.Path(OUTPUT.value)):
    check_arguments(paths)  # again: another review may have come and gone
    return serve(paths, model)


def serve(paths, model):
  """Serves the page of a review, of new files and a student or one to go on with; returns the exit code."""
  from audionet_tf.service import server, settings

  listening = server.bind_socket('127.0.0.1', PORT.value)
  if paths:
    review = begun(paths, model)
  else:
    from audionet_tf.captioning import review_folder

    review = review_folder.read(OUTPUT.value)
  from audionet_tf.service import review_app

  app = review_app.application(review, settings.allowed_host_names('127.0.0.1', []))
  left = len(review.events) - len(review.decided)
  return server.run(app, listening, f'{left} of {len(review.events)} events of {OUTPUT.value} to review')


def run():
  cli.run(main, TOPICS, addresses=('output',))


if __name__ == '__main__':
  run()
