"""A student listens to sound files: decoded in one thread, heard in another, written as it goes.

Sound comes from `decoding.decode_audio` and `timeline.cut_windows`, as in the records that the student was trained on.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import durations, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.data import params
from audionet_tf.inference import steps as inference_steps
from audionet_tf.inference import windows, writers
from audionet_tf.media import integrity
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry

# Samples that the student hears in one call: more is no faster, and needs more memory.
BATCH_SAMPLES = 1 << 19
MAX_BATCH_SIZE = 512


@dataclasses.dataclass(frozen=True)
class FilePredictor:
  """How files are listened to.

  Attributes:
    steps: None, or an steps.StepPredictor: the sound is heard as a whole, and a row is a step of the network.
      Then `hear`, `cut` and `batch_size` are not used.
    repeat: sound shorter than a window is repeated, not padded with silence.
    repeats: how often the student hears a window in a row, as where windows are too short for it.
    least_rest: see `windows`.
    hear: (int16 [batch_size, samples], windows that count) to a dict of NumPy arrays, `sum` of the probabilities, f32
      [classes], and what the formats need.
    served: serving.Served.
    cut: Framing: window, hop, rate and mono of the sound.
    batch_size: windows in a call.
    top: classes in a row of CSV.
    formats: keys of inference_files.FORMATS.
    head: of the student, whose classes these are; None for the first.
  """

  hear: object
  served: object
  cut: params.Framing
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
class FileSummary:
  """A file in short: `windows` (or steps) heard; `seconds` that they cover; `probabilities` f64 [classes], their mean;
  `repeats`: how often the sound, or each window of it, was heard in a row to be long enough.
  """

  windows: int
  seconds: float
  probabilities: np.ndarray
  repeats: int = 1


def file_predictor(
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
    to_the_end: `least_rest` of Listener is 0, else what `least_rest_of` says; of steps see `steps.step_predictor`.
    head: which of the student's heads answers, and so which teacher's classes; None for the first.

  Raises:
    UserError: a window or hop out of range, no such head, or an export from before its student's steps were in it.
  """
  settings, heads = served.settings, list(served.settings.classes)
  head = heads[0] if head is None else head
  if head not in heads:
    raise UserError(f'head is {head!r}, allowed is one of {", ".join(heads)}')
  top = min(top, len(settings.classes[head]))
  stepwise = window_seconds is None and hop_seconds is None and bool(registry.network(settings.student).layer_windows)
  if stepwise and inference_steps.SIGNATURE not in served.signatures:
    raise UserError(
      f'{served.path}: an export that lacks the signature {inference_steps.SIGNATURE}, which gives the steps of '
      f'{settings.student}; export the student again, or hear windows of it with --window_ms'
    )
  least_rest = 0.0 if to_the_end else windows.least_rest_of(settings.student, window_seconds, hop_seconds)
  window_seconds = window_seconds or settings.window_seconds
  cut = params.Framing(
    window_seconds=window_seconds,
    hop_seconds=hop_seconds or window_seconds,
    sample_rate_hz=settings.sample_rate_hz,
    mono=settings.mono,
  )
  batch_size = batch_size or max(1, min(MAX_BATCH_SIZE, BATCH_SAMPLES // cut.window_samples))
  if stepwise:
    steps = inference_steps.step_predictor(served, top, to_the_end, head)
    return FilePredictor(None, served, cut, 1, top, tuple(formats), steps, head=head)
  repeat = registry.network(settings.student).short_input == 'repeat'
  repeats = max(repeats, -(-registry.shortest_samples(settings.student) // cut.window_samples))
  wanted = {name for key in formats for name in writers.FORMATS[key][1]} | {'sum'}
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

  return FilePredictor(hear, served, cut, batch_size, top, tuple(formats), None, repeat, repeats, least_rest, head)


def predict_file(listener, path, folder, model_file, watch=None):
  """Listens to one file and writes `folder/<its name>.<format>` for every format of the listener.

  Args:
    listener: Listener.
    path: of a sound or video file, or of one packed as .gz.
    folder: exists; None writes nothing.
    model_file: str, as the results name the model.
    watch: None, or a function that takes every block of rows too.

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
    'sample_period_msec': durations.msec(listener.steps.hop_seconds if listener.steps else cut.hop_seconds),
    'window_msec': durations.msec(listener.steps.hop_seconds if listener.steps else cut.window_seconds),
    'class_names': listener.class_names,
    'top': listener.top,
  }
  with contextlib.ExitStack() as stack:
    try:
      sound = stack.enter_context(integrity.decompressed(path))
      adders = [
        stack.enter_context(writers.FORMATS[key][0](folder / f'{path.name}.{key}', about))
        for key in (listener.formats if folder else ())
      ]
      adders += [watch] if watch else []
      return write_blocks(blocks(listener, sound), adders, path.name)
    except MediaError as error:
      raise MediaError(path, error.reason) from None


def blocks(listener, sound):
  """Yields blocks of rows (`inference_files`) of a sound, the path of a file or a waveforms.Waveform, in order.

  Each has beside what the formats read `sum` f32 [classes], of the probabilities, and `sound_seconds`, where the sound
  starts and where what is decoded of it ends: only a row that was padded ends behind it.

  Raises:
    MediaError: unreadable, damaged or without sound.
    UserError: the student gives numbers that are not finite.
  """
  for block in listener.steps.blocks(sound) if listener.steps else windows.window_blocks(listener, sound):
    if not np.isfinite(block['sum']).all():
      raise UserError('the student gives numbers that are not finite: its training diverged')
    yield block


def write_blocks(blocks, adders, name):
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
  return FileSummary(count, float(end - first), total / count, repeats)
