"""Predicts sound files: one thread decodes, another predicts, and results are written while the sound is read.

Sound comes from `decoding.decode_audio` and `timeline.cut_windows`, as in the records that the student was trained on.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np
import tqdm

from audionet_tf.core import durations, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.core.stores import store_cache
from audionet_tf.data import params
from audionet_tf.inference import lite_student, windows, writers
from audionet_tf.media import waveforms

# Samples per call of the student: more are no faster, and need more memory.
BATCH_SAMPLES = 1 << 19
MAX_BATCH_SIZE = 512
MOST_BATCH_SAMPLES = 1 << 26  # half a gigabyte, before the student's own layers


@dataclasses.dataclass(frozen=True)
class FilePredictor:
  """A student, ready to predict files in windows or in steps. `file_predictor` makes one.

  Attributes:
    predict: function (int16 [batch_size, samples], number of windows that count) -> dict of NumPy arrays: `sum` of the
      probabilities, f32 [classes], and what the formats need. None if there are `steps`.
    served: loader.LoadedExport, or lite_student.LiteStudent.
    framing: params.Framing: window, hop, sample rate and mixdown of the sound.
    batch_size: number of windows per call.
    top: number of classes in a row of CSV.
    formats: keys of writers.FORMATS.
    steps: None, or a steps.StepPredictor: then a row is a step of the network over the whole sound, and `predict` and
      `batch_size` are not used.
    repeat: whether sound shorter than a window is repeated; else it is padded with silence.
    repeats: number of repetitions of each window, for windows that are too short for the student.
    min_remainder: as for `windows.windows`.
    head: name of the head that predicts; None for the first.
  """

  predict: object
  served: object
  framing: params.Framing
  batch_size: int
  top: int
  formats: tuple
  steps: object = None
  repeat: bool = False
  repeats: int = 1
  min_remainder: float | None = None
  head: str | None = None

  @property
  def class_names(self):
    """list of str, the classes of the head."""
    return self.served.settings.classes[self.head] if self.head else self.served.class_names


@dataclasses.dataclass(frozen=True)
class FileSummary:
  """Summary of the predictions for a file.

  Attributes:
    windows: number of windows or steps.
    seconds: length of the sound that they cover.
    probabilities: f64 [classes], their mean.
    repeats: number of repetitions of sound, or of each window, that is too short for the student.
  """

  windows: int
  seconds: float
  probabilities: np.ndarray
  repeats: int = 1


def file_predictor(
  served, formats, window_seconds=None, hop_seconds=None, top=3, batch_size=None, repeats=1, to_the_end=False, head=None
):
  """Makes a FilePredictor.

  Args:
    served: loader.LoadedExport, or lite_student.LiteStudent.
    formats: keys of writers.FORMATS.
    window_seconds: length of a window; None for that of training, or if `hop_seconds` is None too, for the steps of a
      student that has steps in time.
    hop_seconds: from the start of a window to the next; None for no overlap.
    top: number of classes in a row of CSV, at most those of the head.
    batch_size: number of windows per call; None chooses.
    repeats: least number of repetitions of each window; windows too short for the student are repeated more often.
    to_the_end: whether the last window or step ends with the sound, however short the remainder; else as in
      `windows.default_min_remainder` and `steps.step_predictor`.
    head: name of the head that predicts; None for the first.

  Returns:
    FilePredictor.

  Raises:
    UserError: a window or hop out of range, no such head, or an export without the signature for steps.
  """
  settings, heads = served.settings, list(served.settings.classes)
  head = heads[0] if head is None else head
  if head not in heads:
    raise UserError(f'head is {head!r}, allowed is one of {", ".join(heads)}')
  top = min(top, len(settings.classes[head]))
  stepwise = window_seconds is None and hop_seconds is None and bool(served.network.layer_windows)
  min_remainder = (
    0.0 if to_the_end else windows.default_min_remainder(served.network.short_input, window_seconds, hop_seconds)
  )
  window_seconds = window_seconds or settings.window_seconds
  framing = params.Framing(
    window_seconds=window_seconds,
    hop_seconds=hop_seconds or window_seconds,
    sample_rate_hz=settings.sample_rate_hz,
    mono=settings.mono,
  )
  fast = lite_student.BATCH_SAMPLES if is_lite(served) else BATCH_SAMPLES
  batch_size = batch_size or max(1, min(MAX_BATCH_SIZE, fast // framing.window_samples))
  most = max(1, MOST_BATCH_SAMPLES // framing.window_samples)
  if not stepwise and batch_size > most:
    raise UserError(f'batch_size is {batch_size}, allowed is 1 to {most} windows of {window_seconds:g} s')
  if stepwise:
    from audionet_tf.inference import steps

    step_predictor = steps.step_predictor(served, top, to_the_end, head)
    return FilePredictor(None, served, framing, 1, top, tuple(formats), step_predictor, head=head)
  repeat = served.network.short_input == 'repeat'
  repeats = max(repeats, -(-served.shortest_samples // framing.window_samples))
  predict = window_function(served, [batch_size, framing.window_samples], formats, top, repeats, head)
  return FilePredictor(
    predict, served, framing, batch_size, top, tuple(formats), None, repeat, repeats, min_remainder, head
  )


def is_lite(served):
  """Whether a student is a lite_student.LiteStudent."""
  return isinstance(served, lite_student.LiteStudent)


def window_function(served, shape, formats, top, repeats, head):
  """The function of a FilePredictor of windows, int16 `shape`. Other arguments are those of `file_predictor`."""
  names = {name for key in formats for name in writers.FORMATS[key][1]} | {'sum'}
  if is_lite(served):
    return lite_student.window_function(served, names, top, repeats, head)
  from audionet_tf.inference import graph_function

  return graph_function.window_function(served, shape, names, top, repeats, head)


def live_predictor(served, window_seconds=None, hop_seconds=None, head=None):
  """The FilePredictor of `live_blocks`: one window at a time, also of students with steps in time.

  Args and errors are those of `file_predictor`; the default window is that of training.
  """
  if served.network.layer_windows:
    window_seconds = window_seconds or served.settings.window_seconds
  return file_predictor(served, ('json',), window_seconds, hop_seconds, batch_size=1, head=head)


def predict_file(predictor, path, folder, model_file, watch=None):
  """Predicts one file and writes `folder/<its name>.<format>` for every format of the predictor.

  Args:
    predictor: FilePredictor.
    path: of a sound or video file, which may be compressed as .gz; or a pipe.Pipe.
    folder: existing folder for the results; None writes nothing.
    model_file: str, the name of the model in the results.
    watch: None, or a function that is called with every block of rows.

  Returns:
    FileSummary.

  Raises:
    MediaError: the file is unreadable, damaged or without sound. Then nothing is written.
    UserError: the student's outputs are not finite.
  """
  name, framing = pathlib.Path(str(path)).name, predictor.framing
  about = {
    'video_file': store_cache.addressed(str(path)),
    'model_file': model_file,
    'sample_period_msec': durations.msec(predictor.steps.hop_seconds if predictor.steps else framing.hop_seconds),
    'window_msec': durations.msec(predictor.steps.hop_seconds if predictor.steps else framing.window_seconds),
    'class_names': predictor.class_names,
    'top': predictor.top,
  }
  with contextlib.ExitStack() as stack:
    try:
      sound = stack.enter_context(waveforms.unpacked(path))
      adders = [
        stack.enter_context(writers.FORMATS[key][0](folder / f'{name}.{key}', about))
        for key in (predictor.formats if folder else ())
      ]
      adders += [watch] if watch else []
      return write_blocks(blocks(predictor, sound), adders, name)
    except MediaError as error:
      raise MediaError(path, error.reason) from None


def blocks(predictor, sound):
  """Predicts a sound block by block.

  Args:
    predictor: FilePredictor.
    sound: path of a file, or a waveforms.Waveform.

  Yields:
    dict, a block of rows as in `writers`, with also `sum` f32 [classes], the sum of the probabilities, and
    `sound_seconds`, the start of the sound and the end of what is decoded so far; only a padded row ends after it.

  Raises:
    MediaError: the file is unreadable, damaged or without sound.
    UserError: the student's outputs are not finite.
  """
  return finite(predictor.steps.blocks(sound) if predictor.steps else windows.window_blocks(predictor, sound))


def live_blocks(predictor, chunks):
  """Predicts sound as it comes: as `blocks`, a block for every window, as soon as its sound is there.

  Args:
    predictor: FilePredictor of windows, with a batch size of 1.
    chunks: iterator over (start_sample, int16 [n]), contiguous; nothing reads ahead.
  """
  return finite(windows.chunk_blocks(predictor, chunks))


def finite(blocks):
  """Yields the blocks. UserError: the student's outputs are not finite."""
  for block in blocks:
    if not np.isfinite(block['sum']).all():
      raise UserError('the outputs of the student are not finite: its training diverged; use another student')
    yield block


def write_blocks(blocks, adders, name):
  """Passes every block of rows to the functions `adders`, under a progress bar called `name`; returns a FileSummary."""
  total, count, first, end, repeats = 0, 0, None, 0, 1
  shown = '{desc}: {n:.0f} s of sound in {elapsed}{postfix}'
  with tqdm.tqdm(desc=text.printable(name), bar_format=shown, delay=1) as bar:
    for block in blocks:
      for add in adders:
        add(block)
      first = block['start_seconds'][0] if first is None else first
      count, total = count + len(block['start_seconds']), total + block['sum'].astype(np.float64)
      end, repeats = block['end_seconds'][-1], block['repeats']
      bar.set_postfix_str(f'{end / bar.format_dict["elapsed"]:.0f} x real time', refresh=False)
      bar.update(end - bar.n)
  return FileSummary(count, float(end - first), total / count, repeats)
