"""Teachers' answers that exist already: distributions read from a file, as SoundNet's authors kept theirs.

| file        | holds                                                                                              |
|-------------|----------------------------------------------------------------------------------------------------|
| `.npz`      | for every video id (`manifest.json`: `videos`, `id`) an array of that name, float [frames, classes] |
| `.npy`      | float [all frames, classes]: the videos one after another, in the order of the manifest's `videos`  |
|             | (sorted by id), each with all its frames                                                           |
| `.tfrecord` | an Example a video: `video/id` (bytes), `probabilities` (floats, frames x classes), `classes`       |
|             | (int64; needless where class names are given)                                                      |

Frame k T + i belongs to picture i of window k, T being the pictures a window (one answer where it has none), counted
from window 0, also where a video's first windows are not in the records. Windows must follow each other without
overlap. A video that was shorter than a window and repeated may come with its n < T frames: they are repeated alike.
"""

import dataclasses
import functools
import zipfile
from collections.abc import Callable

import numpy as np
import tqdm
from google.protobuf.message import DecodeError

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists, tfrecord_io

SUM_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class PrecomputedTargets:
  """Answers from a file.

  Attributes:
    classes: how many.
    class_names: list of str, or None where the file does not tell.
    digest: sha256 of the file, hex.
    answers: manifest of records -> function (video id, window index) -> f32 [A, classes], A of
      RecordParams.answers_per_window. Raises UserError where the file does not fit the records.
  """

  classes: int
  class_names: list | None
  digest: str
  answers: Callable


def load(path, classes=None):
  """The Given of a file.

  Args:
    path: pathlib.Path, of a suffix in READERS.
    classes: how many there are, where that is known.

  Raises:
    UserError: no such file, damaged, or not of its form.
  """
  check_file(path)
  try:
    classes, frames_of = READERS[path.suffix](path, classes)
  except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, DecodeError) as error:
    raise UserError(f'{path}: not readable as {path.suffix} ({text.brief(error)})') from None
  if not 0 < classes <= class_lists.MAX_CLASSES:
    raise UserError(f'{path}: {classes} classes, allowed is 1 to {class_lists.MAX_CLASSES}')
  return PrecomputedTargets(classes, None, digests.of_file(path), functools.partial(answers, path, classes, frames_of))


def check_file(path):
  """UserError unless `path` is a regular file."""
  if not path.is_file():
    raise UserError(f'{path}: no such file of answers')


def answers(path, classes, frames_of, manifest):
  """`Given.answers`: checks every video of the manifest, then gives its rows window by window."""
  params = manifest['params']
  if params.hop_seconds != params.window_seconds:
    raise UserError(
      f'{path}: answers from files need windows one after another; these are of {params.window_seconds} s, one every '
      f'{params.hop_seconds} s'
    )
  found = frames_of(manifest)
  check_counts(path, found, manifest)
  for video in tqdm.tqdm(manifest['videos'], desc='checking answers', unit=' videos', delay=2):
    check_rows(path, video['id'], read(path, found, video['id']), classes)
  wanted = {video['id']: frames_wanted(video, params) for video in manifest['videos']}
  size = params.answers_per_window

  @functools.lru_cache(maxsize=64)
  def rows(video):
    frames = read(path, found, video)
    return frames[np.arange(wanted[video]) % len(frames)]

  return lambda video, index: rows(video)[index * size : (index + 1) * size]


def frames_wanted(video, params):
  """Frames of a video of the manifest, from window 0 on."""
  return (video['first_window'] + video['windows']) * params.answers_per_window


def check_counts(path, found, manifest):
  """UserError that names the videos without frames, or with a number of them that does not fit."""
  params = manifest['params']
  missing = [video['id'] for video in manifest['videos'] if video['id'] not in found]
  if missing:
    raise UserError(f'{path}: no answers for {text.first_of(missing)}')
  wrong = []
  for video in manifest['videos']:
    frames, wanted = found[video['id']][0], frames_wanted(video, params)
    repeated = params.short_videos == 'repeat' and video['windows'] == 1 and 0 < frames < wanted
    if frames != wanted and not repeated:
      wrong.append(f'{video["id"]} ({frames}, expected {wanted})')
  if wrong:
    raise UserError(f'{path}: not {params.answers_per_window} frames a window in {text.first_of(wrong)}')


def read(path, found, video):
  """f32 [frames, classes] of a video. UserError where the file is damaged."""
  try:
    return np.asarray(found[video][1](), np.float32)
  except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, DecodeError) as error:
    raise UserError(f'{path}: {video}: damaged ({text.brief(error)})') from None


def check_rows(path, video, rows, classes):
  """UserError unless the rows are distributions over `classes` classes."""
  if rows.ndim != 2 or rows.shape[1] != classes:
    raise UserError(f'{path}: {video}: answers are {list(rows.shape)}, expected [frames, {classes}]')
  sums = rows.sum(1, dtype=np.float64)
  for what, bad in (
    ('a number that is not finite', ~np.isfinite(rows).all(1)),
    ('a negative number', (rows < 0).any(1)),
    ('a sum other than 1', ~(np.abs(sums - 1) <= SUM_TOLERANCE)),
  ):
    if bad.any():
      row = int(bad.argmax())
      raise UserError(f'{path}: {video}: row {row} has {what} (sum {sums[row]:.4g}); expected are probabilities')


def check_array(shape, dtype):
  """ValueError unless an array's header says float [frames, classes]."""
  if len(shape) != 2 or dtype.kind != 'f':
    raise ValueError(f'{dtype} {list(shape)}, expected float [frames, classes]')


def read_npz(path, classes):
  """(classes, manifest -> dict of video id to (frames, function that reads them)) of a zip of arrays."""
  shapes = {}
  with zipfile.ZipFile(path) as members:
    for name in members.namelist():
      with members.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
      check_array(shape, dtype)
      shapes[name.removesuffix('.npy')] = shape
  counts = {shape[1] for shape in shapes.values()}
  if len(counts) != 1:
    raise ValueError(f'arrays of {sorted(counts)} classes, expected is one number of them')
  arrays = np.load(path, allow_pickle=False)
  found = {video: (shape[0], functools.partial(arrays.__getitem__, video)) for video, shape in shapes.items()}
  return counts.pop(), lambda manifest: found


def read_npy(path, classes):
  """As `read_npz`, of one array for all videos."""
  array = np.load(path, mmap_mode='r', allow_pickle=False)
  check_array(array.shape, array.dtype)

  def frames_of(manifest):
    counts = [frames_wanted(video, manifest['params']) for video in manifest['videos']]
    if sum(counts) != len(array):
      raise UserError(f'{path}: {len(array)} frames, the {len(counts)} videos of the records have {sum(counts)}')
    parts = np.split(array, np.cumsum(counts)[:-1])
    return {
      video['id']: (len(part), functools.partial(np.array, part))
      for video, part in zip(manifest['videos'], parts, strict=True)
    }

  return array.shape[1], frames_of


def read_tfrecord(path, classes):
  """As `read_npz`, of one Example a video."""
  found, said = {}, set() if classes is None else {classes}
  for start, length in tqdm.tqdm(tfrecord_io.record_offsets(path), desc=path.name, unit=' videos', delay=2):
    feature = example_at(path, start, length)
    said |= set(feature['classes'].int64_list.value) if 'classes' in feature else set()
    if len(said) != 1 or min(said) < 1:
      raise ValueError(f'classes are {sorted(said)}; expected is one number, in `classes` or by --teacher_labels')
    numbers = len(feature['probabilities'].float_list.value)
    (width,) = said
    if not numbers or numbers % width:
      raise ValueError(f'{numbers} probabilities in an Example, expected is a multiple of {width}')
    video = feature['video/id'].bytes_list.value[0].decode()
    found[video] = (numbers // width, functools.partial(probabilities_at, path, start, length, width))
  if not found:
    raise ValueError('no Examples in it')
  return said.pop(), lambda manifest: found


def example_at(path, start, length):
  """The features of the Example in a framed record. ValueError where it is damaged or is not as described."""
  with open(path, 'rb') as file:
    file.seek(start)
    framed = file.read(length)
  payload = framed[12:-4]
  if tfrecord_io.framed(payload) != framed:
    raise ValueError(f'record at byte {start} does not have its checksum')
  feature = tfrecord_io.example_class().FromString(payload).features.feature
  if 'probabilities' not in feature or 'video/id' not in feature or not feature['video/id'].bytes_list.value:
    raise ValueError(f'the Example at byte {start} has no video/id or no probabilities')
  return feature


def probabilities_at(path, start, length, classes):
  """f32 [frames, classes] of the Example at `start`."""
  return np.array(example_at(path, start, length)['probabilities'].float_list.value, np.float32).reshape(-1, classes)


READERS = {'.npz': read_npz, '.npy': read_npy, '.tfrecord': read_tfrecord, '.tfrecords': read_tfrecord}
