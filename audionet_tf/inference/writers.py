"""What a student heard, as files: JSON (the original program's keys), CSV for people, npz for programs.

Each is written while the sound is read, in memory that does not grow with its length, and takes its name only when it
is whole. A writer is a context manager `(path, about) -> add`; `add(block)` takes the windows in order:

    start_seconds, end_seconds     f64 [n]
    probabilities                  f32 [n, classes]
    embedding                      f32 [n, width]
    top, top_probabilities         int32, f32 [n, top], falling
    repeats                        how often the sound, or each window of it, was heard in a row to be long enough

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
  """Keys of `about` but `top`; `frame_probabilities`, seven digits, one row a line; `window_start_seconds`,
  `window_end_seconds`; `repeats`.
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
  """RFC 4180, one row a window: start_seconds, end_seconds, class_1, probability_1, ... (falling), repeats."""
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
  """Arrays named as in a block: times, probabilities and embedding of all windows; `repeats`, int [1]; `class_names`,
  str [classes].
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


# Format to its writer and what that reads beside the times.
FORMATS = {
  'json': (json_file, ('probabilities',)),
  'csv': (csv_file, ('top', 'top_probabilities')),
  'npz': (npz_file, ('probabilities', 'embedding')),
}
