"""Reads the files that `writers` writes, with NumPy only.

The original program's files (Bryce 2018), which hold neither times nor class names, are read too.
"""

import dataclasses
import json
import math
import pathlib
import re

import numpy as np
import tqdm

from audionet_tf.core import array_files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists

ROWS_BEGIN = re.compile(r'"frame_probabilities"\s*:\s*\[')  # inside a JSON string its quotes would be escaped
CHUNK_CHARACTERS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Inference:
  """The predictions of a student for one file.

  Attributes:
    probabilities: float [windows, classes].
    start_seconds, end_seconds: f64 [windows], presentation times.
    class_names: list of str [classes].
  """

  probabilities: np.ndarray
  start_seconds: np.ndarray
  end_seconds: np.ndarray
  class_names: list


def read_inference(path, label_file=None):
  """Reads an Inference.

  Args:
    path: of a .json or .npz file.
    label_file: path of a file of class names, which replace those in the file; None for these.

  Raises:
    UserError: another kind of file, or shapes or numbers that do not fit together.
  """
  path = pathlib.Path(path)
  readers = {'.json': read_json, '.npz': read_npz}
  if path.suffix not in readers:
    raise UserError(f'{path}: unknown kind of inference file, allowed are {" and ".join(readers)}')
  if not path.is_file():
    raise UserError(f'{path}: no such inference file; audionet_tf.infer writes them')
  try:
    probabilities, start, end, names = readers[path.suffix](path)
  except Exception as error:  # NumPy, zipfile and json raise whatever damaged bytes hit
    raise UserError(f'{path}: not an inference file ({text.brief(error)})') from None
  is_table = probabilities.ndim == 2 and probabilities.size and probabilities.dtype.kind in 'fiu'
  if not is_table or not np.isfinite(probabilities).all():
    raise UserError(f'{path}: its probabilities are not a table of finite numbers with at least one window')
  windows, classes = probabilities.shape
  if start.shape != (windows,) or end.shape != (windows,):
    raise UserError(f'{path}: {windows} windows, but {start.size} start times and {end.size} end times')
  if not (np.isfinite(start).all() and np.isfinite(end).all() and (start <= end).all()):
    raise UserError(f'{path}: its times are not finite, or a window ends before it starts')
  if label_file:
    names = class_lists.read_class_names(label_file)
  names = names or class_lists.numbered_class_names(classes)
  if len(names) != classes:
    raise UserError(f'{label_file or path}: {len(names)} class names for {classes} classes')
  return Inference(probabilities, start, end, names)


def read_json(path):
  """(f32 [windows, classes], f64 [windows], f64 [windows], names or None) of an inference JSON."""
  text_without_rows, rows = split_json(path)
  document = json.loads(text_without_rows)
  probabilities = np.stack(rows) if rows else np.zeros([0, 0], np.float32)  # [windows, classes]
  period_msec = document['sample_period_msec']  # from one start to the next
  window_msec = document.get('window_msec', period_msec)
  if not all(0 < float(msec) < math.inf for msec in (period_msec, window_msec)):
    raise ValueError(f'sample_period_msec {period_msec}, window_msec {window_msec}')
  start = document.get('window_start_seconds')
  start = np.arange(len(probabilities)) * period_msec / 1000 if start is None else np.asarray(start, np.float64)
  end = document.get('window_end_seconds')
  end = start + window_msec / 1000 if end is None else np.asarray(end, np.float64)
  names = document.get('class_names')
  return probabilities, start, end, names and [str(name) for name in names]


def split_json(path):
  """(text of an inference JSON without its frame probabilities, these as a list of f32 [classes]).

  The JSON of an hour is about a gigabyte, and would be three as Python numbers, so it is read row by row.
  """
  size = path.stat().st_size
  bar = tqdm.tqdm(total=size, desc=f'reading {path.name}', unit='B', unit_scale=True, delay=2)
  with open(path, encoding='utf-8') as file, bar:

    def more():
      chunk = file.read(CHUNK_CHARACTERS)
      bar.update(len(chunk))
      if not chunk:
        raise ValueError('no frame_probabilities, or it ends inside them')
      return chunk

    text = more()
    while not (begin := ROWS_BEGIN.search(text)):
      text += more()
    head, position, rows = text[: begin.end()], begin.end(), []
    while True:
      row_end = text.find(']', position)
      if row_end < 0:
        text, position = text[position:] + more(), 0
        continue
      row_begin = text.find('[', position, row_end)
      if row_begin < 0:  # the bracket that closes the list of rows
        return head + text[row_end:] + file.read(), rows
      rows.append(np.array(json.loads(text[row_begin : row_end + 1]), np.float32))
      position = row_end + 1


def read_npz(path):
  """As `read_json`, from the arrays `probabilities`, `start_seconds`, `end_seconds`, `class_names` if any."""
  with array_files.load_npz(path) as file:
    names = [str(name) for name in file['class_names']] if 'class_names' in file else None
    times = (file[key].astype(np.float64) for key in ('start_seconds', 'end_seconds'))
    return np.asarray(file['probabilities']), *times, names  # what is no array in a damaged archive comes as bytes
