"""Listens to sound or video files with an exported student and writes what it heard, window by window or step by step.

  python -m audionet_tf.infer --model=runs/paper/export --output=heard clip.mp4 song.flac

writes heard/clip.mp4.json, .csv and .npz, the same for song.flac, and prints the classes heard most in each file:

  json  every class of every window, with the keys of the original program
  csv   the --top classes of every window, one row a window
  npz   every class and the student's embedding, for NumPy

--format=csv writes that alone. A student of several teachers has a head for each: --head=NAME chooses whose classes are
written, else they are those of the first, and that is said.

AudioNet hears windows, which follow one another unless --hop_ms says otherwise; sound shorter than one window is padded
with silence, a rest behind the last one is dropped. logmel networks hear windows too, but repeat sound that is too
short for one, and with neither --window_ms nor --hop_ms a last window ends with the sound and overlaps the one before
it, where more than a tenth of a window is left. A SoundNet, or a network of log-mel patches (yamnet, vggish,
Hershey's), hears a file as a whole, however long, and a row is one of its steps or patches; yamnet's last is filled up
with silence, what fills no patch of the others is dropped. With --window_ms or --hop_ms it hears windows as well. Sound
that is too short for a SoundNet is repeated, as its own code does. Repeated sound is one row, as long as the sound;
that is said, and how often as `repeats` in every format. A file that cannot be read is named, the others are listened
to, and the exit code is 1.
"""

import collections
import pathlib
import sys

from absl import flags

from audionet_tf.core import cli, durations, system, text
from audionet_tf.core.errors import UserError

flags.DEFINE_string('model', None, 'a run, or a SavedModel of audionet_tf.export: a version or the folder of versions')
flags.DEFINE_string('output', None, 'folder for the results; made when missing')
flags.DEFINE_string('head', None, "of several: the teacher's name whose classes are written; default: the first")
flags.DEFINE_list('format', 'json,csv,npz', 'what to write, one or more of json, csv and npz')
flags.DEFINE_float(
  'window_ms',
  None,
  'length of a window; default: as the student was trained, 40 for AudioNet; steps or patches where it has such',
)
flags.DEFINE_float('hop_ms', None, 'from the start of a window to the next; default: the window')
flags.DEFINE_integer('top', 3, 'classes on the screen and in a row of CSV')
flags.DEFINE_integer('batch_size', None, 'windows in a call; default: as many as are fast')

COLUMNS = ('file', 'seconds', 'class', 'probability')
TEXT_COLUMNS = (0, 2)


def check_arguments(values, paths):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  from audionet_tf.inference import writers

  for name in ('model', 'output'):
    cli.require(values[name], f'infer needs --{name}')
  cli.require(paths, 'infer needs the files to listen to, after the flags')
  for key in values['format'] or ['']:
    known = ', '.join(writers.FORMATS)
    cli.require(key in writers.FORMATS, f'format is {key!r}, allowed is one or more of {known}')
  for name in ('window_ms', 'hop_ms', 'top', 'batch_size'):
    value = values[name]
    cli.require(value is None or value > 0, f'{name} is {value}, allowed is more than 0')
  names = collections.Counter(pathlib.Path(path).name for path in paths)
  name, count = names.most_common(1)[0]
  cli.require(count == 1, f'{count} inputs are called {name}: their results would be one file; use two --output')


def summary(name, heard, class_names, top):
  """Table rows of one file: its most probable classes over all windows."""
  best = (-heard.probabilities).argsort(kind='stable')[:top]
  rows = [['', '', class_names[i], f'{heard.probabilities[i]:.4f}'] for i in best]
  rows[0][:2] = name, f'{heard.seconds:.1f}'
  return rows


def main(argv):
  values, paths = cli.flag_values(__name__), argv[1:]
  check_arguments(values, paths)
  system.keep_freed_memory()
  # Keras would import both for features that nothing here uses: two fifths of the time until the first window.
  with cli.pretend_missing('sklearn', 'matplotlib'):
    from audionet_tf.inference import predict
    from audionet_tf.saved_model import loader

  served = loader.load(values['model'])
  window_seconds, hop_seconds = (durations.seconds(values[name]) for name in ('window_ms', 'hop_ms'))
  listener = predict.file_predictor(
    served, values['format'], window_seconds, hop_seconds, values['top'], values['batch_size'], head=values['head']
  )
  folder = pathlib.Path(values['output'])
  folder.mkdir(parents=True, exist_ok=True)
  rows, notes, failed = [list(COLUMNS)], [], 0
  for path in paths:
    try:
      heard = predict.predict_file(listener, path, folder, values['model'])
      name = pathlib.Path(path).name
      rows += summary(name, heard, listener.class_names, values['top'])
      if heard.repeats > 1:
        notes.append(
          f'{text.printable(name)}: too short for {served.settings.student}, heard {heard.repeats} times over'
        )
    except (UserError, OSError) as error:
      failed += 1
      told = str(error) if str(path) in str(error) else f'{path}: {error}'
      print(f'error: {text.printable(" ".join(told.split()))}', file=sys.stderr)
  if len(rows) > 1:
    print(text.aligned(rows, TEXT_COLUMNS))
    first, *others = served.settings.classes
    if others and values['head'] is None:
      told = f'classes of {first}, the first head; --head names another: {", ".join(others)}'
      notes.append(text.printable(told))
  for note in notes:
    print(note)
  return 1 if failed else 0


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
