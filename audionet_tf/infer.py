r"""Predicts what sound and video files sound like, window by window or step by step.

  python -m audionet_tf.infer clip.mp4 song.flac

prints a table of each file over time and its most probable classes, as the starter hears them: a student in the package
that knows ten kinds of sound and calls all others `unknown`. --model takes your own student, and --output=DIR

  python -m audionet_tf.infer --model=runs/clips --output=predictions clip.mp4 song.flac

also writes predictions/clip.mp4.json, .csv and .npz, the same for song.flac, and prints the most probable classes:

  json  every class of every window, with the keys of the original program
  csv   the --top classes of every window, one row per window
  npz   every class and the student's embedding, for NumPy

--format=csv writes that alone. A student that learned embeddings of pictures (docs/words.md) predicts the classes of
--classes=words.txt, in your own words, without training again.

A student of several teachers has a head for each: --head=NAME chooses the head;
by default it is the first, and the others are named. The starter's second has its teacher's thousand classes.

AudioNet predicts windows, which follow one another unless --hop_ms says otherwise; sound shorter than one window is
padded with silence, and a remainder at the end is dropped. logmel networks predict windows too, but repeat sound that
is too short for one, and with neither --window_ms nor --hop_ms a last window ends with the sound and overlaps the one
before it, if more than a tenth of a window is left. A SoundNet, or a network of log-mel patches (yamnet, vggish,
Hershey's), takes a file as a whole, however long: each row is one of its steps or patches; yamnet's last patch is
padded with silence, what fills no patch of the others is dropped. With --window_ms or --hop_ms they predict windows as
well. Sound that is too short for a SoundNet is repeated, as in its authors' code. Repeated sound gives a single row
spanning the file; the number of repetitions is reported as `repeats` in every format. A file that cannot be read is
named, the others are predicted, and the exit code is 1. The file - is WAV from a pipe, to its end; audionet_tf.stream
answers while it comes.
"""

import pathlib
import sys

from absl import flags

from audionet_tf.core import cli, durations, system, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables
from audionet_tf.inference import writers
from audionet_tf.models import student_paths
from audionet_tf.teachers import student_words

PIPE = '-'  # in place of a file
MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export (a version or the folder of versions), or a student.keras; default: the starter.'
)
HEAD = flags.DEFINE_string('head', None, "Of several heads, the teacher's name of the one to use; default: the first.")
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'For a student of embeddings: classes in your own words, one per line, or a .npz table of their vectors.',
)
WINDOW_MS = flags.DEFINE_float(
  'window_ms',
  None,
  'Length of a window, milliseconds; default: as in training, or the steps or patches of students that have them.',
  lower_bound=1,
)
HOP_MS = flags.DEFINE_float('hop_ms', None, 'From window to window; default: the length of a window.', lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer('batch_size', None, 'Windows per call; default: as many as are fast.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the results, made if missing; default: only print them.')
FORMAT = cli.restricted(
  flags.DEFINE_list('format', list(writers.FORMATS), 'What to write, one or more of json, csv and npz.'),
  writers.FORMATS,
)
TOP = flags.DEFINE_integer('top', 3, 'Classes per row, on the screen and in CSV.', lower_bound=1)

TOPICS = {'model': 'Student', 'window_ms': 'Windows', 'output': 'Results'}
NEEDS = (('FILE after the flags',),)
COLUMNS = ('file', 'seconds', 'class', 'probability')
TEXT_COLUMNS = (0, 2)


def check_arguments(paths):
  """Path of the student. Raises UserError for mistakes that show before anything is loaded."""
  clip_tables.check_names([pathlib.Path(path).name for path in paths])
  cli.require(paths.count(PIPE) <= 1, f'{PIPE}, the sound that is piped in, can be read once')
  cli.require(
    PIPE not in paths or not sys.stdin.isatty(), f'{PIPE}: nothing is piped in, such as ffmpeg -i FILE -f wav -'
  )
  if PIPE not in paths:
    cli.require_any_file(paths)
  return student_words.find(MODEL.value, CLASSES.value)


def summary(name, predictions, class_names):
  """Table rows of one file: its most probable classes over all windows. `predictions`: predict.FileSummary."""
  best = (-predictions.probabilities).argsort(kind='stable')[: TOP.value]
  rows = [['', '', class_names[i], f'{predictions.probabilities[i]:.4f}'] for i in best]
  rows[0][:2] = name, f'{predictions.seconds:.1f}'
  return rows


def shown_name(path):
  """The name of a file, or of PIPE, on the screen."""
  return 'stdin' if str(path) == PIPE else pathlib.Path(str(path)).name


def model_name():
  """The name of the student in the results."""
  return MODEL.value or student_paths.STARTER


def predict_file(predictor, path):
  """Writes or prints the predictions of a file or of PIPE; returns its predict.FileSummary."""
  from audionet_tf.inference import predict, table
  from audionet_tf.media import pipe

  path = pipe.Pipe(sys.stdin.buffer) if path == PIPE else path
  if OUTPUT.value:
    return predict.predict_file(predictor, path, pathlib.Path(OUTPUT.value), model_name())
  rows = table.Table()
  predictions = predict.predict_file(predictor, path, None, model_name(), rows.add)
  print(f'{text.printable(shown_name(path))}\n{rows.text(predictor.class_names, TOP.value)}\n')
  return predictions


def main(argv):
  paths = argv[1:]
  model = check_arguments(paths)
  system.keep_freed_memory()
  from audionet_tf.inference import lite_student, predict

  served = lite_student.load(model, CLASSES.value)
  window_seconds, hop_seconds = durations.seconds(WINDOW_MS.value), durations.seconds(HOP_MS.value)
  formats = FORMAT.value if OUTPUT.value else ('json',)  # every probability, which the table on the screen needs
  predictor = predict.file_predictor(
    served, formats, window_seconds, hop_seconds, TOP.value, BATCH_SIZE.value, head=HEAD.value
  )
  if OUTPUT.value:
    pathlib.Path(OUTPUT.value).mkdir(parents=True, exist_ok=True)
  rows, notes, failed = [list(COLUMNS)], [], 0
  for path in paths:
    try:
      predictions = predict_file(predictor, path)
    except (UserError, OSError) as error:
      failed += 1
      cli.fail_file(path, error)
      continue
    name = shown_name(path)
    rows += summary(name, predictions, predictor.class_names)
    if predictions.repeats > 1:
      short = f'{name}: too short for {served.settings.student}, repeated {predictions.repeats} times'
      notes.append(text.printable(short))
  if len(rows) > 1:
    print(text.aligned(rows, TEXT_COLUMNS))
    first, *others = served.settings.classes
    if others and HEAD.value is None:
      notes.append(text.printable(f'classes of {first}, the first head; --head chooses another: {", ".join(others)}'))
  for note in notes:
    print(note)
  return 1 if failed else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
