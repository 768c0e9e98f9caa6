"""Reads what training and inference leave behind: `stats.json` and inference files. NumPy only.

The original program's files (Bryce 2018) are read too: their statistics hold the KL of every frame instead of
the mean, their inference files neither times nor class names.
"""

import dataclasses
import json
import math
import pathlib
import re
import zipfile

import numpy as np
import tqdm

from audionet_tf import labels
from audionet_tf.errors import UserError
from audionet_tf.records import PCM_SCALE

STATS_NAME = 'stats.json'
ROWS_BEGIN = re.compile(r'"frame_probabilities"\s*:\s*\[')  # inside a JSON string its quotes would be escaped
CHUNK_CHARACTERS = 1 << 20


def epoch_range(text, trained):
  """'0:50' as range(0, 50): epochs count from 0, the end is left out; either side may be empty.

  Args:
    text: 'begin:end', 'begin:', ':end', ':' or ''.
    trained: number of epochs there are.

  Raises UserError when the range is empty or reaches past what was trained.
  """
  match = re.fullmatch(r'(\d*):(\d*)', text or ':')
  if not match:
    raise UserError(f'epochs is {text!r}, allowed is BEGIN:END, counted from 0 without END, such as 0:50')
  begin, end = int(match[1] or 0), int(match[2] or trained)
  if not 0 <= begin < end <= trained:
    raise UserError(f'epochs is {text!r}, but {trained} were trained: allowed is 0:{trained} or a part of it')
  return range(begin, end)


def read_mean_kl(run_dir, epochs=''):
  """Mean KL of every video in every epoch, from `run_dir`/stats.json (or that file itself).

  Args:
    run_dir: folder of a run.
    epochs: see `epoch_range`.

  Returns:
    (range of epochs, dict of video name to f64 [epochs]); NaN where a video is not in an epoch.
  """
  path = pathlib.Path(run_dir)
  path = path / STATS_NAME if path.is_dir() else path
  if not path.is_file():
    raise UserError(f'{path}: no statistics here; --run_dir is a folder that audionet_tf.train has written')
  try:
    listed = json.loads(path.read_text(encoding='utf-8'))['epochs']
    chosen = epoch_range(epochs, len(listed))
    table = {name: np.full(len(chosen), np.nan) for i in chosen for name in listed[i]['videos']}
    for row, i in enumerate(chosen):
      for name, video in listed[i]['videos'].items():
        if not {'kldiv', 'kldiv_per_frame'} & video.keys():
          raise UserError(f'{path}: holds no KL of {name}, but {", ".join(video) or "nothing"}')
        table[name][row] = video['kldiv'] if 'kldiv' in video else np.mean(video['kldiv_per_frame'])
  except UserError:
    raise
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path}: not statistics of a run ({type(error).__name__}: {error})') from None
  if not table:
    raise UserError(f'{path}: no videos in the epochs asked for')
  return chosen, table


@dataclasses.dataclass(frozen=True)
class Inference:
  """What a student heard in one file.

  Attributes:
    probabilities: float [windows, classes].
    start_seconds, end_seconds: f64 [windows], presentation time.
    class_names: list of str [classes].
  """

  probabilities: np.ndarray
  start_seconds: np.ndarray
  end_seconds: np.ndarray
  class_names: list


def read_inference(path, label_file=None):
  """The Inference in a .json or .npz file; `label_file` names its classes, instead of the file.

  Raises UserError: another kind of file, shapes or numbers that do not fit together.
  """
  path = pathlib.Path(path)
  readers = {'.json': read_json, '.npz': read_npz}
  if path.suffix not in readers:
    raise UserError(f'{path}: unknown kind of inference file, allowed are {" and ".join(readers)}')
  if not path.is_file():
    raise UserError(f'{path}: no such inference file; audionet_tf.infer writes them')
  try:
    probabilities, start, end, names = readers[path.suffix](path)
  except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
    raise UserError(f'{path}: not an inference file ({type(error).__name__}: {error})') from None
  if probabilities.ndim != 2 or not probabilities.size or not np.isfinite(probabilities).all():
    raise UserError(f'{path}: its probabilities are not a table of finite numbers with at least one window')
  windows, classes = probabilities.shape
  if start.shape != (windows,) or end.shape != (windows,):
    raise UserError(f'{path}: {windows} windows, but {start.size} start times and {end.size} end times')
  if label_file:
    names = labels.read_class_names(label_file)
  names = names or labels.numbered_class_names(classes)
  if len(names) != classes:
    raise UserError(f'{label_file or path}: {len(names)} class names for {classes} classes')
  return Inference(probabilities, start, end, names)


def read_json(path):
  """(f32 [windows, classes], f64 [windows], f64 [windows], names or None) of an inference JSON."""
  rest, rows = split_json(path)
  document = json.loads(rest)
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
  """An inference JSON without its frame probabilities, and these as a list of f32 [classes].

  The text of an hour is about a gigabyte, and as Python numbers it would be three: it is read row by row.
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
      if row_begin < 0:  # the bracket that closes them all
        return head + text[row_end:] + file.read(), rows
      rows.append(np.array(json.loads(text[row_begin : row_end + 1]), np.float32))
      position = row_end + 1


def read_npz(path):
  """As `read_json`, from the arrays `probabilities`, `start_seconds`, `end_seconds`, `class_names` if any."""
  with np.load(path, allow_pickle=False) as file:
    names = [str(name) for name in file['class_names']] if 'class_names' in file else None
    times = (file[key].astype(np.float64) for key in ('start_seconds', 'end_seconds'))
    return file['probabilities'], *times, names


def envelope(chunks, limit=4096):
  """Lowest and highest sample of successive equal blocks, in one pass and constant memory.

  Blocks start at one sample and double whenever `limit` of them are full, so short sound keeps every sample.

  Args:
    chunks: iterable of (start_sample, int16 array), contiguous (`media.sound_chunks`).
    limit: even; most blocks that come out.

  Returns:
    dict: `low`, `high` f32 [blocks] in [-1, 1); `start_sample` of the first; `block_samples`; `samples`.
  """
  low, high, pending = (np.zeros(0, np.int16) for _ in range(3))
  block, first, total = 1, None, 0
  for start, pcm in chunks:
    first = start if first is None else first
    total += len(pcm)
    pending = np.concatenate([pending, pcm])
    while count := min(len(pending) // block, limit - len(low)):
      blocks = pending[: count * block].reshape(count, block)
      pending = pending[count * block :]
      low, high = np.concatenate([low, blocks.min(1)]), np.concatenate([high, blocks.max(1)])
      if len(low) == limit:
        low, high, block = low.reshape(-1, 2).min(1), high.reshape(-1, 2).max(1), 2 * block
  if len(pending):
    low, high = np.append(low, pending.min()), np.append(high, pending.max())
  scaled = {name: values.astype(np.float32) / PCM_SCALE for name, values in (('low', low), ('high', high))}
  return scaled | {'start_sample': first or 0, 'block_samples': block, 'samples': total}


def read_confusions(path):
  """Every confusion matrix in a JSON file of audionet_tf.evaluate or audionet_tf.probe.

  That is every object, however deep, with `confusion` int [n][n] and its names, `categories` or `class_names`.

  Args:
    path: of the file.

  Returns:
    dict of place in the file, such as 'clips' or 'layers.pool5', to (int64 [n, n], list of str).

  Raises:
    UserError: not JSON, no matrix in it, or one that is not square, has fractions, or does not fit its names.
  """
  path = pathlib.Path(path)
  try:
    found = dict(confusions_in(json.loads(path.read_text(encoding='utf-8')), ''))
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; audionet_tf.evaluate and audionet_tf.probe write one') from None
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    raise UserError(f'{path}: no confusion matrix can be read ({type(error).__name__}: {error})') from None
  if not found:
    raise UserError(f'{path}: holds no confusion matrix')
  return found


def confusions_in(tree, place):
  """Yields (place, (counts, names)) of every confusion matrix in a JSON tree. ValueError where one is none."""
  if isinstance(tree, list):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return
  names = tree.get('categories', tree.get('class_names'))
  if 'confusion' in tree and isinstance(names, list):
    counts = np.array(tree['confusion'])
    if counts.shape != (len(names), len(names)) or not counts.size or counts.dtype.kind != 'i' or counts.min() < 0:
      raise ValueError(f'{place or "confusion"}: expected are counts, {len(names)} x {len(names)}')
    yield place, (counts, [str(name) for name in names])
    return
  for key, value in tree.items():
    yield from confusions_in(value, f'{place}.{key}' if place else str(key))


def first_kernel(variables):
  """f32 [K, filters] of the first layer that hears sound itself; None where there is none.

  Args:
    variables: Keras or TensorFlow variables of a student; a convolution over one channel is [K, 1, filters].
  """
  for variable in variables:
    if len(variable.shape) == 3 and variable.shape[1] == 1 and variable.shape[0] > 1:
      return np.asarray(variable.numpy(), np.float32)[:, 0]
  return None
