"""Precomputed teacher outputs: distributions from a file, as SoundNet's authors stored theirs.

| file        | holds                                                                                              |
|-------------|----------------------------------------------------------------------------------------------------|
| `.npz`      | for every video id (`manifest.json`: `videos`, `id`) an array of that name, float [frames, classes] |
| `.npy`      | float [all frames, classes]: the videos one after another, in the order of the manifest's `videos`  |
|             | (sorted by id), each with all its frames                                                           |
| `.tfrecord` | an Example per video: `video/id` (bytes), `probabilities` (floats, frames x classes), `classes`     |
|             | (int64; optional if class names are given)                                                         |

Frame k T + i belongs to picture i of window k; T is the number of pictures per window (1 if there are none). Frames
count from window 0, even if the records lack a video's first windows. Windows must follow each other without overlap.
A video shorter than a window, which is repeated, may have n < T frames: they are repeated likewise.
"""

import dataclasses
import functools
import os
import zipfile
from collections.abc import Callable

import numpy as np
import tqdm

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, records
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.data.tables import class_lists

SUM_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class PrecomputedTargets:
  """Targets from a file of outputs or labels.

  Attributes:
    classes: number of classes.
    class_names: list of str, or None if the file has none.
    digest: sha256 of the file, hex.
    targets: manifest of records -> function (video id, window index) -> f32 [A, classes], with A =
      RecordParams.answers_per_window. Raises UserError if the file does not fit the records.
    multi_label: whether classes do not exclude each other: rows are 0 and 1 and may have any sum.
  """

  classes: int
  class_names: list | None
  digest: str
  targets: Callable
  multi_label: bool = False


def load(path, classes=None, kind='probabilities'):
  """Loads the PrecomputedTargets of a file.

  Args:
    path: pathlib.Path with a suffix in READERS.
    classes: number of classes, or None if unknown.
    kind: 'probabilities', or batch_keys.EMBEDDING for vectors of any length above 0, which are normalized.

  Raises:
    UserError: there is no such file, or it is damaged or in another form.
  """
  classes, frames_of = opened(path, classes)
  return PrecomputedTargets(
    classes, None, digests.of_file(path), functools.partial(targets, path, classes, frames_of, kind)
  )


def opened(path, classes=None):
  """(classes, manifest -> dict of video id to (frames, function that reads them)); arguments and errors of `load`."""
  check_file(path)
  try:
    classes, frames_of = READERS[path.suffix](path, classes)
  except Exception as error:  # NumPy, zipfile and protobuf raise whatever damaged bytes hit
    raise UserError(f'{path}: not readable as {path.suffix} ({text.brief(error)})') from None
  if not 0 < classes <= class_lists.MAX_CLASSES:
    raise UserError(f'{path}: {classes} classes, allowed is 1 to {class_lists.MAX_CLASSES}')
  return classes, frames_of


def check_file(path):
  """UserError unless `path` is a regular file."""
  if not os.path.isfile(path):  # pathlib's raises for a name that is too long
    raise UserError(f'{path}: no such file of outputs or labels')


def targets(path, classes, frames_of, kind, manifest):
  """`PrecomputedTargets.targets`: checks every video of the manifest, then returns a function of its rows by window."""
  params = manifest['params']
  frames = checked_frames(path, frames_of, manifest)
  for video in tqdm.tqdm(manifest['videos'], desc='checking outputs', unit=' videos', delay=2):
    check = check_vectors if kind == batch_keys.EMBEDDING else check_rows
    check(path, video['id'], read(path, frames, video['id']), classes)
  counts = {video['id']: expected_frames(video, params) for video in manifest['videos']}
  size = params.answers_per_window

  @functools.lru_cache(maxsize=64)
  def rows(video):
    values = read(path, frames, video)
    if kind == batch_keys.EMBEDDING:
      values = values / np.linalg.norm(values, axis=1, keepdims=True)
    return values[np.arange(counts[video]) % len(values)]

  return lambda video, index: rows(video)[index * size : (index + 1) * size]


def checked_frames(path, frames_of, manifest):
  """`frames_of(manifest)`. UserError if the windows of the records or the numbers of frames do not fit."""
  params = manifest['params']
  if params.hop_seconds != params.window_seconds:
    raise UserError(
      f'{path}: precomputed outputs need windows that follow one another; these last {params.window_seconds} s, with a '
      f'hop of {params.hop_seconds} s'
    )
  frames = frames_of(manifest)
  check_counts(path, frames, manifest)
  return frames


def expected_frames(video, params):
  """Number of frames of a video of the manifest, from window 0 on."""
  return (video['first_window'] + video['windows']) * params.answers_per_window


def check_counts(path, frames, manifest):
  """UserError that names the videos without frames, or with a number of frames that does not fit."""
  params = manifest['params']
  missing = [video['id'] for video in manifest['videos'] if video['id'] not in frames]
  if missing:
    raise UserError(f'{path}: no outputs for {text.first_of(missing)} of the records')
  wrong = []
  for video in manifest['videos']:
    count, expected = frames[video['id']][0], expected_frames(video, params)
    repeated = params.short_videos == 'repeat' and video['windows'] == 1 and 0 < count < expected
    if count != expected and not repeated:
      wrong.append(f'{video["id"]} ({count}, expected {expected})')
  if wrong:
    raise UserError(f'{path}: not {params.answers_per_window} frames per window in {text.first_of(wrong)}')


def read(path, frames, video):
  """f32 [frames, classes] of a video. UserError if the file is damaged."""
  try:
    return np.asarray(frames[video][1](), np.float32)
  except Exception as error:  # as above
    raise UserError(f'{path}: {video}: damaged ({text.brief(error)})') from None


def check_rows(path, video, rows, classes):
  """UserError unless the rows are distributions over `classes` classes."""
  if rows.ndim != 2 or rows.shape[1] != classes:
    raise UserError(f'{path}: {video}: outputs are {list(rows.shape)}, expected [frames, {classes}]')
  sums = rows.sum(1, dtype=np.float64)
  for what, bad in (
    ('a number that is not finite', ~np.isfinite(rows).all(1)),
    ('a negative number', (rows < 0).any(1)),
    ('a sum other than 1', ~(np.abs(sums - 1) <= SUM_TOLERANCE)),
  ):
    if bad.any():
      row = int(bad.argmax())
      raise UserError(f'{path}: {video}: row {row} has {what} (sum {sums[row]:.4g}); expected are probabilities')


def check_vectors(path, video, rows, width):
  """UserError unless the rows are finite vectors of `width` numbers, none of them zero."""
  if rows.ndim != 2 or rows.shape[1] != width:
    raise UserError(f'{path}: {video}: vectors are {list(rows.shape)}, expected [frames, {width}]')
  lengths = np.linalg.norm(rows, axis=1)
  bad = ~np.isfinite(lengths) | (lengths == 0)
  if bad.any():
    raise UserError(f'{path}: {video}: row {int(bad.argmax())} is zero or not finite; expected are vectors')


def check_array(shape, dtype):
  """ValueError unless the header of an array says float [frames, classes]."""
  if len(shape) != 2 or dtype.kind != 'f':
    raise ValueError(f'{dtype} {list(shape)}, expected float [frames, classes]')


def add_once(rows, video, row):
  """Adds the row of a video to a dict. ValueError where it has one."""
  if video in rows:
    raise ValueError(f'{video} is there twice')
  rows[video] = row


def read_npz(path, classes):
  """(classes, manifest -> dict of video id to (number of frames, function that reads them)) of a zip of arrays."""
  shapes = {}
  with zipfile.ZipFile(path) as members:
    for name in members.namelist():
      with members.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
      check_array(shape, dtype)
      add_once(shapes, name.removesuffix('.npy'), shape)
  counts = {shape[1] for shape in shapes.values()}
  if len(counts) != 1:
    raise ValueError(f'arrays of {sorted(counts)} classes, expected is the same number in all')
  arrays = np.load(path, allow_pickle=False)
  frames = {video: (shape[0], functools.partial(arrays.__getitem__, video)) for video, shape in shapes.items()}
  return counts.pop(), lambda manifest: frames


def read_npy(path, classes):
  """As `read_npz`, from one array for all videos."""
  array = np.load(path, mmap_mode='r', allow_pickle=False)
  check_array(array.shape, array.dtype)

  def frames_of(manifest):
    counts = [expected_frames(video, manifest['params']) for video in manifest['videos']]
    if sum(counts) != len(array):
      raise UserError(f'{path}: {len(array)} frames, the {len(counts)} videos of the records have {sum(counts)}')
    parts = np.split(array, np.cumsum(counts)[:-1])
    return {
      video['id']: (len(part), functools.partial(np.array, part))
      for video, part in zip(manifest['videos'], parts, strict=True)
    }

  return array.shape[1], frames_of


def read_tfrecord(path, classes):
  """As `read_npz`, from one Example per video."""
  frames, counts = {}, set() if classes is None else {classes}
  for start, length in tqdm.tqdm(tfrecord_io.record_offsets(path), desc=path.name, unit=' videos', delay=2):
    feature = example_at(path, start, length)
    counts |= set(feature['classes'].int64_list.value) if 'classes' in feature else set()
    if len(counts) != 1 or min(counts) < 1:
      raise ValueError(f'classes are {sorted(counts)}; expected is one number, in `classes` or by --teacher_labels')
    numbers = len(feature['probabilities'].float_list.value)
    (width,) = counts
    if not numbers or numbers % width:
      raise ValueError(f'{numbers} probabilities in an Example, expected is a multiple of {width}')
    video = feature['video/id'].bytes_list.value[0].decode()
    add_once(frames, video, (numbers // width, functools.partial(probabilities_at, path, start, length, width)))
  if not frames:
    raise ValueError('it holds no Examples')
  return counts.pop(), lambda manifest: frames


def example_at(path, start, length):
  """The features of the Example in a framed record. ValueError if it is damaged or in another form."""
  feature = records.example_at(path, start, length)
  if 'probabilities' not in feature or 'video/id' not in feature or not feature['video/id'].bytes_list.value:
    raise ValueError(f'the Example at byte {start} has no video/id or no probabilities')
  return feature


def probabilities_at(path, start, length, classes):
  """f32 [frames, classes] of the Example at `start`."""
  return np.array(example_at(path, start, length)['probabilities'].float_list.value, np.float32).reshape(-1, classes)


READERS = {'.npz': read_npz, '.npy': read_npy, '.tfrecord': read_tfrecord, '.tfrecords': read_tfrecord}
