r"""Finds the moments in a collection of sounds that fit a text, a sound or a picture best.

  python -m audionet_tf.search --model=runs/space --query="dog barking" recordings

lists the moments of all sound and video files in the folder `recordings`, the best first. --query is a text; the path
of a sound or video file, whose mean is looked for; or of a picture (.jpg, .png, ...). Texts and pictures need a student
that learned embeddings of pictures, --teacher=embedding:clip:PRESET (docs/words.md); a sound file is enough for any
student, the starter too:

  python -m audionet_tf.search --query=bark.wav --output=found recordings

also writes found/index.html, a page that plays the moments where they are, and found/moments.json. With
--classes=words.npz, a table of vectors, the query is one of its classes, and no text model is needed.

The vectors of all windows are kept in an index, by default recordings/audionet-search.npz: it is made once, and
extended by files that are new or have changed. A damaged index, or one of another student, is made again. A file that
cannot be read is named, the others are searched, and the exit code is 1.
"""

import dataclasses
import mimetypes
import os
import pathlib

from absl import flags

from audionet_tf.core import cli, durations, system, text
from audionet_tf.data.tables import word_tables
from audionet_tf.models import starter, student_paths

MODEL = flags.DEFINE_string('model', None, 'A run, an export or a student.keras; default: the starter.')
QUERY = flags.DEFINE_string('query', None, 'A text, or the path of a sound, a video or a picture.')
CLASSES = flags.DEFINE_string('classes', None, 'A .npz table of vectors; the query is the name of one of its classes.')
INDEX = flags.DEFINE_string('index', None, 'File of the index; default: audionet-search.npz in the first FOLDER.')
WINDOW_MS = flags.DEFINE_float(
  'window_ms', None, 'Length of a window, milliseconds; default: as in training, at least a second.', lower_bound=1
)
HOP_MS = flags.DEFINE_float('hop_ms', None, 'From window to window; default: half a window.', lower_bound=1)
TOP = flags.DEFINE_integer('top', 10, 'Number of moments.', lower_bound=1)
PER_FILE = flags.DEFINE_integer('per_file', 3, 'Moments of one file, at most.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for index.html and moments.json; default: only print them.')

TOPICS = {'model': 'Student', 'query': 'Query', 'index': 'Index', 'top': 'Results'}
NEEDS = (('--query',), ('FOLDER or FILE after the flags',))
INDEX_NAME = 'audionet-search.npz'
COLUMNS = ('moment', 'cosine', 'file')


def check_arguments(paths):
  """(path of the student, of the index). Raises UserError for mistakes that show before anything is loaded."""
  for path in paths:
    cli.require(pathlib.Path(path).exists(), f'{path}: no such file or folder')
  if CLASSES.value:
    cli.require(word_tables.is_table(CLASSES.value), f'--classes={CLASSES.value}: expected is a .npz table of vectors')
    word_tables.read(CLASSES.value)
  elif not os.path.isfile(QUERY.value):  # of pathlib, a long text would be an error
    is_folder = os.path.isdir(QUERY.value)
    cli.require(
      not is_folder, f'--query={QUERY.value}: a folder; expected is a text, or a sound, video or picture file'
    )
    kind = (mimetypes.guess_type(QUERY.value)[0] or '').partition('/')[0]
    problem = 'not a regular file' if os.path.exists(QUERY.value) else 'no such file'
    cli.require(kind not in ('audio', 'video', 'image'), f'--query={QUERY.value}: {problem}')
  folder = pathlib.Path(paths[0])
  index = pathlib.Path(INDEX.value or (folder if folder.is_dir() else folder.parent) / INDEX_NAME)
  writable = index.parent.is_dir() and os.access(index.parent, os.W_OK)
  cli.require(writable or index.is_file(), f'{index}: the index cannot be written there; choose another --index=FILE')
  from audionet_tf.retrieval import index as index_files

  index_files.check(index)
  return student_paths.find_for_files(starter.chosen(MODEL.value)), index


def query_vector(predictor):
  """f32 [width] of --query: that of a file if there is one, else of a text."""
  from audionet_tf.retrieval import vectors

  settings, path = predictor.served.settings, pathlib.Path(QUERY.value)
  if CLASSES.value or not os.path.isfile(path):
    return vectors.of_text(settings, QUERY.value, CLASSES.value)
  return vectors.of_picture(settings, path) if vectors.is_picture(path) else vectors.of_sound(predictor, path)


def write(moments, folder):
  """Writes index.html and moments.json into a folder, made if missing."""
  from audionet_tf.core import files
  from audionet_tf.retrieval import page

  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(
    folder / 'moments.json', {'query': QUERY.value, 'moments': [dataclasses.asdict(moment) for moment in moments]}
  )
  with files.atomic_write(folder / 'index.html') as out:
    out.write(page.page(QUERY.value, moments, folder))
  print(folder / 'index.html')


def main(argv):
  model, index_path = check_arguments(argv[1:])
  system.keep_freed_memory()
  import functools

  from audionet_tf.retrieval import index, vectors
  from audionet_tf.retrieval import moments as found_moments
  from audionet_tf.saved_model import for_files
  from audionet_tf.units import search as media_search

  served = for_files.load(model, names=False)
  predictor = vectors.predictor(served, durations.seconds(WINDOW_MS.value), durations.seconds(HOP_MS.value))
  query = query_vector(predictor)
  paths = [path.resolve() for path in media_search.media_files(argv[1:])]
  embed = functools.partial(vectors.of_file, predictor)
  entries, unreadable = index.extended(index_path, vectors.identity(model, predictor), len(query), paths, embed)
  own = str(pathlib.Path(QUERY.value).resolve())  # a sound is nearest to itself
  others = {path: entry for path, entry in entries.items() if path != own}
  cli.require(others, f'nothing to search: {QUERY.value} is the only sound here')
  moments = found_moments.nearest(others, query, TOP.value, PER_FILE.value)
  rows = [
    [f'{m.start_seconds:.1f} to {m.end_seconds:.1f} s', f'{m.cosine:.3f}', text.printable(m.path)] for m in moments
  ]
  print(text.aligned([list(COLUMNS), *rows], text_columns=(2,)))
  if OUTPUT.value:
    write(moments, pathlib.Path(OUTPUT.value))
  return 1 if unreadable else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
