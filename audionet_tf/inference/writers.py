"""Writes predictions: JSON (with the keys of the original program), CSV for people, npz for programs.

Each file is written while the sound is read, in memory that does not grow with its length, and gets its name only when
it is complete. A writer is a context manager `(path, about) -> add`; `add(block)` takes the windows in order:

    start_seconds, end_seconds     f64 [n]
    probabilities                  f32 [n, classes]
    embedding                      f32 [n, width]
    top, top_probabilities         int32, f32 [n, top], descending
    repeats                        number of repetitions of sound, or of each window, that is too short

of which a writer reads what FORMATS says. `about` is a dict: `video_file`, `model_file`, `sample_period_msec` (from the
start of a window to the next), `window_msec`, `class_names`, `top`.
"""

import contextlib
import csv
import json
import shutil
import tempfile

import numpy as np

from audionet_tf.core import array_files, files

COPY_BYTES = 1 << 20


@contextlib.contextmanager
def json_file(path, about):
  """Writes the keys of `about` except `top`; `frame_probabilities` with seven digits, one row per line;
  `window_start_seconds`, `window_end_seconds`; `repeats`.
  """
  head = {key: value for key, value in about.items() if key != 'top'}
  row_format = '[' + ', '.join(['%.7g'] * len(about['class_names'])) + ']'
  with contextlib.ExitStack() as stack:
    file = stack.enter_context(files.atomic_write(path))
    keys = 'start_seconds', 'end_seconds'
    times = {key: stack.enter_context(tempfile.TemporaryFile('w+', dir=path.parent)) for key in keys}
    file.write(json.dumps(head)[:-1] + ', "frame_probabilities": [')
    separator, repeats = '\n', 1

    def add(block):
      nonlocal separator, repeats
      for row in block['probabilities'].tolist():
        file.write(separator + row_format % tuple(row))
        separator = ',\n'
      repeats = block['repeats']
      for key, spool in times.items():
        spool.write(''.join(f', {seconds!r}' for seconds in block[key].tolist()))

    yield add
    file.write('\n]')
    for key, spool in times.items():
      file.write(f', "window_{key}": [')
      spool.seek(len(', '))
      shutil.copyfileobj(spool, file, COPY_BYTES)
      file.write(']')
    file.write(f', "repeats": {repeats}}}\n')


@contextlib.contextmanager
def csv_file(path, about):
  """Writes RFC 4180, one row per window: start_seconds, end_seconds, class_1, probability_1, ..., repeats."""
  names = np.array(about['class_names'], object)
  ranks = range(1, about['top'] + 1)
  with files.atomic_write(path) as file:
    writer = csv.writer(file)
    ranked = [f'{key}_{n}' for n in ranks for key in ('class', 'probability')]
    writer.writerow(['start_seconds', 'end_seconds', *ranked, 'repeats'])

    def add(block):
      columns = [block['start_seconds'].tolist(), block['end_seconds'].tolist()]
      for top, values in zip(block['top'].T, block['top_probabilities'].T, strict=True):
        columns += [names[top].tolist(), ['%.7g' % value for value in values.tolist()]]  # noqa: UP031, the faster
      writer.writerows((*row, block['repeats']) for row in zip(*columns, strict=True))

    yield add


@contextlib.contextmanager
def npz_file(path, about):
  """Writes the arrays of a block, for all windows: times, probabilities and embedding; `repeats`, int [1];
  `class_names`, str [classes].
  """
  with array_files.npz(path) as write:
    repeats = 1

    def add(block):
      nonlocal repeats
      repeats = block['repeats']
      for key in ('start_seconds', 'end_seconds', 'probabilities', 'embedding'):
        write(key, block[key])

    yield add
    write('repeats', np.array([repeats]))
    write('class_names', np.array(about['class_names'], str))


# Format to (writer, the arrays that it needs besides the times).
FORMATS = {
  'json': (json_file, ('probabilities',)),
  'csv': (csv_file, ('top', 'top_probabilities')),
  'npz': (npz_file, ('probabilities', 'embedding')),
}
