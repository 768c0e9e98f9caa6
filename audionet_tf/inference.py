"""A student listens to sound files: decoded in one thread, heard in another, written as it goes.

Sound comes from `media.sound_chunks` and `audio.cut_windows`, as in the records that the student was trained on.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf import audio, inference_files, inference_steps, local_files, media, params, students, text
from audionet_tf.errors import MediaError, UserError
from audionet_tf.records import PCM_SCALE

# Samples that the student hears in one call: more is no faster, and needs more memory.
BATCH_SAMPLES = 1 << 19
MAX_BATCH_SIZE = 512
LEAST_REST = 0.1  # of a window: a codec's padding, of some milliseconds, is no reason to hear a window twice


@dataclasses.dataclass(frozen=True)
class Listener:
  """How files are listened to.

  Attributes:
    steps: None, or an inference_steps.StepListener: the sound is heard as a whole, and a row is a step of the network.
      Then `hear`, `cut` and `batch_size` are not used.
    repeat: sound shorter than a window is repeated, not padded with silence.
    repeats: how often the student hears a window in a row, as where windows are too short for it.
    least_rest: see `windows`.
    hear: (int16 [batch_size, samples], windows that count) to a dict of NumPy arrays, `sum` of the probabilities, f32
      [classes], and what the formats need.
    served: serving.Served.
    cut: RecordParams: window, hop, rate and mono of the sound.
    batch_size: windows in a call.
    top: classes in a row of CSV.
    formats: keys of inference_files.FORMATS.
    head: of the student, whose classes these are; None for the first.
  """

  hear: object
  served: object
  cut: params.RecordParams
  batch_size: int
  top: int
  formats: tuple
  steps: object = None
  repeat: bool = False
  repeats: int = 1
  least_rest: float | None = None
  head: str | None = None

  @property
  def class_names(self):
    """list of str, of the head."""
    return self.served.settings.classes[self.head] if self.head else self.served.class_names


@dataclasses.dataclass(frozen=True)
class Heard:
  """A file in short: `windows` (or steps) heard; `seconds` that they cover; `probabilities` f64 [classes], their mean;
  `repeats`: how often the sound, or each window of it, was heard in a row to be long enough.
  """

  windows: int
  seconds: float
  probabilities: np.ndarray
  repeats: int = 1


def listener(
  served, formats, window_seconds=None, hop_seconds=None, top=3, batch_size=None, repeats=1, to_the_end=False, head=None
):
  """A Listener.

  Args:
    served: serving.Served.
    formats: keys of inference_files.FORMATS.
    window_seconds: None for that of the student's training; with no hop either, a student that has steps in time hears
      the sound as a whole.
    hop_seconds: from window to window; None for no overlap.
    top: classes in a row of CSV; all where the student knows fewer.
    batch_size: windows in a call; None chooses.
    repeats: see Listener; windows too short for the student are repeated more often.
    to_the_end: `least_rest` of Listener is 0, else what `least_rest_of` says; of steps see `inference_steps.listener`.
    head: which of the student's heads answers, and so which teacher's classes; None for the first.

  Raises:
    UserError: a window or hop out of range, no such head, or an export from before its student's steps were in it.
  """
  settings, heads = served.settings, list(served.settings.classes)
  head = heads[0] if head is None else head
  if head not in heads:
    raise UserError(f'head is {head!r}, allowed is one of {", ".join(heads)}')
  top = min(top, len(settings.classes[head]))
  stepwise = window_seconds is None and hop_seconds is None and bool(students.network(settings.student).layers)
  if stepwise and inference_steps.SIGNATURE not in served.signatures:
    raise UserError(
      f'{served.path}: an export that lacks the signature {inference_steps.SIGNATURE}, which gives the steps of '
      f'{settings.student}; export the student again, or hear windows of it with --window_ms'
    )
  least_rest = 0.0 if to_the_end else least_rest_of(settings.student, window_seconds, hop_seconds)
  window_seconds = window_seconds or settings.window_seconds
  cut = params.RecordParams(
    window_seconds=window_seconds,
    hop_seconds=hop_seconds or window_seconds,
    sample_rate_hz=settings.sample_rate_hz,
    mono=settings.mono,
  )
  batch_size = batch_size or max(1, min(MAX_BATCH_SIZE, BATCH_SAMPLES // cut.window_samples))
  if stepwise:
    steps = inference_steps.listener(served, top, to_the_end, head)
    return Listener(None, served, cut, 1, top, tuple(formats), steps, head=head)
  repeat = students.network(settings.student).short == 'repeat'
  repeats = max(repeats, -(-students.shortest_samples(settings.student) // cut.window_samples))
  wanted = {name for key in formats for name in inference_files.FORMATS[key][1]} | {'sum'}
  default = served.signatures['serving_default']

  @tf.function(input_signature=[tf.TensorSpec([batch_size, cut.window_samples], tf.int16), tf.TensorSpec([], tf.int32)])
  def heard(pcm, count):
    outputs = default(waveform=tf.tile(tf.cast(pcm, tf.float32) / PCM_SCALE, [1, repeats]))
    if len(heads) > 1:
      outputs['probabilities'] = outputs[f'{head}/probabilities']
    outputs['sum'] = tf.reduce_sum(outputs['probabilities'][:count], 0)
    outputs['top_probabilities'], outputs['top'] = tf.math.top_k(outputs['probabilities'], top)
    return {name: outputs[name] for name in wanted}  # what nobody asks for is not computed

  def hear(pcm, count):
    return {name: output.numpy() for name, output in heard(pcm, count).items()}

  return Listener(hear, served, cut, batch_size, top, tuple(formats), None, repeat, repeats, least_rest, head)


def least_rest_of(student, window_seconds, hop_seconds=None):
  """`least_rest` of `windows` where nobody asks: LEAST_REST of students that repeat short sound, on their own grid."""
  unasked = window_seconds is None and hop_seconds is None
  return LEAST_REST if unasked and students.network(student).short == 'repeat' else None


def windows(chunks, cut, repeat=False, least_rest=None):
  """Windows of a file's sound, of at least one: sound too short for any is padded with zeros at its end, or repeated.

  Args:
    chunks: from `media.sound_chunks`.
    cut: RecordParams.
    repeat: bool.
    least_rest: part of a window; where the grid leaves more than this, a last window ends with the sound. None: never.

  Yields:
    (index, int16 [window_samples]): the window starts at index x hop; a float where that is no window of the grid.
  """
  begin, held, count, end = 0, [], 0, 0
  tail = np.zeros(0, np.int16)

  def watched():
    nonlocal begin, tail, end
    missing = cut.window_samples
    for start, pcm in chunks:
      end = start + len(pcm)
      tail = np.concatenate([tail, pcm])[-cut.window_samples :] if least_rest is not None else tail
      begin = begin if held else start
      if missing > 0:
        held.append(pcm[:missing])
        missing -= len(pcm)
      yield start, pcm

  for index, pcm in audio.cut_windows(watched(), cut.window_seconds, cut.hop_seconds, cut.sample_rate_hz):
    count += 1
    yield index, pcm
  rest = end - cut.start_sample(index) - cut.window_samples if count else 0
  if least_rest is not None and rest > least_rest * cut.window_samples:
    yield (end - cut.window_samples) / cut.sample_rate_hz / cut.hop_seconds, tail
  if not count:
    if not held:
      raise UserError('no sound in it')
    pcm = np.concatenate(held)
    missing = {'mode': 'wrap'} if repeat else {}
    yield begin / cut.sample_rate_hz / cut.hop_seconds, np.pad(pcm, [0, cut.window_samples - len(pcm)], **missing)


def batches(pairs, batch_size, window_samples):
  """Groups (index, pcm) pairs as (f64 [n], int16 [batch_size, window_samples]), n = batch_size but for the last."""
  indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  for index, samples in pairs:
    pcm[len(indices)] = samples
    indices.append(index)
    if len(indices) == batch_size:
      yield np.array(indices, np.float64), pcm
      indices, pcm = [], np.zeros([batch_size, window_samples], np.int16)
  if indices:
    yield np.array(indices, np.float64), pcm


def times(indices, cut):
  """(start, end) f64 [n] seconds of windows, without the rounding of a sum: 0.32, not 0.32000000000000006."""
  hop, window = params.exact(cut.hop_seconds), params.exact(cut.window_seconds)
  whole = hop.denominator * window.denominator
  starts = indices * (hop.numerator * window.denominator)
  return starts / whole, (starts + window.numerator * hop.denominator) / whole


def listen(listener, path, folder, model_file):
  """Listens to one file and writes `folder/<its name>.<format>` for every format of the listener.

  Args:
    listener: Listener.
    path: of a sound or video file, or of one packed as .gz.
    folder: exists.
    model_file: str, as the results name the model.

  Returns:
    Heard.

  Raises:
    MediaError: unreadable, damaged or without sound. No file is written then.
    UserError: the student gives numbers that are not finite.
  """
  path, cut = pathlib.Path(path), listener.cut
  about = {
    'video_file': str(path),
    'model_file': model_file,
    'sample_period_msec': params.msec(listener.steps.hop_seconds if listener.steps else cut.hop_seconds),
    'window_msec': params.msec(listener.steps.hop_seconds if listener.steps else cut.window_seconds),
    'class_names': listener.class_names,
    'top': listener.top,
  }
  with contextlib.ExitStack() as stack:
    try:
      sound = stack.enter_context(local_files.unpacked(path))
      adders = [
        stack.enter_context(inference_files.FORMATS[key][0](folder / f'{path.name}.{key}', about))
        for key in listener.formats
      ]
      return heard_blocks(blocks(listener, sound), adders, path.name)
    except MediaError as error:
      raise MediaError(path, error.reason) from None


def blocks(listener, path):
  """Yields blocks of rows (`inference_files`) of the sound at `path`, in order.

  Each has beside what the formats read `sum` f32 [classes], of the probabilities, and `sound_seconds`, where the sound
  starts and where what is decoded of it ends: only a row that was padded ends behind it.

  Raises:
    MediaError: unreadable, damaged or without sound.
    UserError: the student gives numbers that are not finite.
  """
  for block in listener.steps.blocks(path) if listener.steps else window_blocks(listener, path):
    if not np.isfinite(block['sum']).all():
      raise UserError('the student gives numbers that are not finite: its training diverged')
    yield block


def heard_blocks(blocks, adders, name):
  """Gives every block of rows to the adders, under a progress bar; returns Heard."""
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
  return Heard(count, float(end - first), total / count, repeats)


def window_blocks(listener, path):
  """Yields a block (`blocks`) for every batch of windows of the sound at `path`."""
  cut, begin, end = listener.cut, None, 0

  def watched():
    nonlocal begin, end
    for start, pcm in media.sound_chunks(path, cut.sample_rate_hz, cut.mono):
      begin, end = start if begin is None else begin, start + len(pcm)
      yield start, pcm

  pairs = windows(watched(), cut, listener.repeat, listener.least_rest)
  for indices, pcm in inference_steps.ahead(batches(pairs, listener.batch_size, cut.window_samples)):
    n = len(indices)
    block = {key: value[:n] if key != 'sum' else value for key, value in listener.hear(pcm, n).items()}
    block['start_seconds'], block['end_seconds'] = times(indices, cut)
    sound_seconds = begin / cut.sample_rate_hz, end / cut.sample_rate_hz
    repeats = listener.repeats
    if listener.repeat:
      repeats *= fillings(end - begin, cut)
      block['end_seconds'] = np.minimum(block['end_seconds'], sound_seconds[1])
    yield block | {'repeats': repeats, 'sound_seconds': sound_seconds}


def fillings(samples, cut):
  """How often sound of so many samples is in a window that repeats it, begun ones counted; 1 where it fills one."""
  return -(-cut.window_samples // min(samples, cut.window_samples))
