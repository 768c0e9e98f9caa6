"""Features of many clips: files are decoded in threads, sounds of equal length form batches, one file per clip."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import sys
import time
from concurrent import futures

import numpy as np
import tqdm

from audionet_tf.core import digests, durations, text
from audionet_tf.core.errors import DiskFullError, MediaError, UserError
from audionet_tf.core.prefetch import ahead
from audionet_tf.data import params
from audionet_tf.inference import chunking, windows
from audionet_tf.media import prefetch, waveforms
from audionet_tf.media.containers import integrity
from audionet_tf.models import receptive_field, registry
from audionet_tf.representations import files

BATCH_SAMPLES = 1 << 19
WAITING_SAMPLES = 1 << 23  # in all groups
SOUND_SAMPLES = 1 << 22  # of a clip that is decoded ahead as a whole; longer ones are decoded piece by piece


@dataclasses.dataclass
class Clip:
  """A clip in progress.

  Attributes:
    source: path, or a waveforms.Waveform.
    output: path of its file, or a dict that takes its arrays (`collected`).
    about: dict of `files`.
    first_sample: where its sound starts.
    chunks: iterator of int16 [n].
    writer: contextlib.ExitStack that its output file hangs on; `add` takes arrays.
    waiting: number of pieces whose activations are not written yet.
    steps: dict of layer to number of steps written.
    sums: dict of layer to (sum of steps f64 [width], number of steps), for means over time.
  """

  source: object
  output: object
  about: dict
  first_sample: int = 0
  chunks: object = None
  writer: object = None
  add: object = None
  waiting: int = 0
  steps: dict = dataclasses.field(default_factory=collections.Counter)
  sums: dict = dataclasses.field(default_factory=dict)


def extract(model, sources, folder, kind='npz', clip_seconds=None, names=None):
  """Writes `folder/<name>.<kind>` with the features of every source; reports unreadable files on stderr.

  Files that hold this model's features of a source with the same bytes are kept; those of a changed source are written
  again. A last patch is completed with silence where the student does so (`Architecture.pads_last_patch`).

  Args:
    model: layer_outputs.LayerOutputs.
    sources: paths of sound or video files, or of such files in a .gz.
    folder: existing pathlib.Path.
    kind: key of files.FORMATS.
    clip_seconds: length to which every sound is repeated or truncated; None: as it is, repeated only where it is too
      short for a layer.
    names: unique names of the outputs, perhaps with subfolders, which are made; None: the file names of the sources.

  Returns:
    dict of `outputs`, dict of source to path of its features, in the order of `sources`; `unreadable`, list of paths;
    `renewed`, list of the outputs that were written again.

  Raises:
    UserError: an output belongs to another model, `clip_seconds` is too short for a layer, or activations are not
      finite.
  """
  opener = clip_opener(model, clip_seconds)
  outputs, todo, unreadable, renewed = {}, [], [], []
  for source, name in zip(map(pathlib.Path, sources), names or [pathlib.Path(s).name for s in sources], strict=True):
    about, output = about_of(model, source, clip_seconds), folder / f'{name}.{kind}'
    try:
      integrity.check_regular(source)
      if output.exists():
        about['source_sha256'] = digest_of(source)
    except MediaError as error:
      tell(source, error, unreadable)
      continue
    outputs[source] = output
    if output.exists():
      if files.done(output, about):
        continue
      renewed.append(output)
    todo.append(Clip(source, output, about))
  with tqdm.tqdm(total=len(todo), desc='features', unit=' files', delay=1) as bar:
    opened = prefetch.opened_ahead([clip.source for clip in todo], todo, opener)
    for clip, error in write_features(model, opened, file_writer(kind), bar):
      bar.update()
      if error:
        tell(clip.source, error, unreadable)
        del outputs[clip.source]
  return {'outputs': outputs, 'unreadable': unreadable, 'renewed': renewed}


def features(model, sound, clip_seconds=None):
  """Features of one sound, as `extract` writes them, in memory.

  Args:
    model: layer_outputs.LayerOutputs.
    sound: path of a sound or video file, or of such a file in a .gz; or a waveforms.Waveform.
    clip_seconds: length to which the sound is repeated or truncated; None: as it is, repeated only where it is too
      short for a layer.

  Returns:
    dict of layer to (f32 [T, width], f64 [T] centres of the receptive fields in seconds).

  Raises:
    MediaError: the file is unreadable, damaged or without sound.
    UserError: `clip_seconds` is too short for a layer, or activations are not finite.
  """
  opener, clip = clip_opener(model, clip_seconds), Clip(sound, {}, about_of(model, sound, clip_seconds))
  if isinstance(sound, waveforms.Waveform):
    opened = [(clip, completed(opener, clip, (sound.sample_rate_hz, sound.samples)))]
  else:
    integrity.check_regular(sound)
    opened = prefetch.opened_ahead([sound], [clip], opener)
  with tqdm.tqdm(disable=True) as bar:
    ((_, error),) = write_features(model, opened, collected, bar)
  if error:
    raise error
  arrays = {name: np.concatenate(parts) for name, parts in clip.output.items()}
  return {layer: (arrays[layer], arrays[f'{layer}/{files.CENTERS}']) for layer in model.sources}


def completed(function, *arguments):
  """A futures.Future with the result of a call that is made at once."""
  future = futures.Future()
  future.set_result(function(*arguments))
  return future


def clip_opener(model, clip_seconds):
  """`open_clip` for the layers of a model, a function (clip, decoded). UserError where clip_seconds is too short."""
  shortest = max([receptive_field.minimum_input_length(table) for table in model.tables.values()], default=1)
  rate = model.settings.sample_rate_hz
  clip_samples = clip_seconds and round(durations.exact(clip_seconds) * rate)
  if clip_samples and clip_samples < shortest:
    raise UserError(f'clip_seconds is {clip_seconds}; these layers need at least {shortest / rate:.3f} s')
  shortest = 1 if registry.network(model.settings.student).pads_last_patch else shortest
  return functools.partial(open_clip, model, clip_samples or shortest, clip_samples)


def about_of(model, source, clip_seconds):
  """The dict `about` of `files`, as far as it is known before the sound is decoded."""
  return {
    'source': str(source),
    'student': model.settings.student,
    'model': model.digest,
    'sample_rate_hz': model.settings.sample_rate_hz,
    'layers': list(model.sources),
    'clip_seconds': clip_seconds,
  }


def deepest(model):
  """The layer that needs the longest sound; None for networks on windows."""
  minima = {
    layer: receptive_field.minimum_input_length(model.tables[source])
    for layer, source in model.sources.items()
    if model.tables
  }
  return max(minima, key=minima.get, default=None)


def digest_of(source):
  """SHA-256 of a file, hex. MediaError where it cannot be read."""
  with integrity.readable(source) as file:
    return digests.sha256(file)


def tell(source, error, unreadable):
  """Reports a file that cannot be read on stderr, and appends it to the list `unreadable`."""
  unreadable.append(str(source))
  line = ' '.join(f'{source}: {getattr(error, "reason", error)}'.split())
  tqdm.tqdm.write(f'error: {text.printable(line)}', file=sys.stderr)


def write_features(model, opened, writer, bar):
  """Runs the network on clips and writes their features.

  Args:
    model: layer_outputs.LayerOutputs.
    opened: iterable of (Clip, future of `open_clip`).
    writer: function of a Clip to a context manager that gives its `add`.
    bar: tqdm.

  Yields:
    (Clip, None) when its output is complete, or (Clip, MediaError) when it cannot be read.
  """
  seen = []
  try:
    yield from written(model, opened, writer, bar, seen)
  except DiskFullError as error:
    for clip in seen:
      if clip.writer:
        discard(clip, error)
    raise


def written(model, opened, writer, bar, seen):
  """`write_features`; appends every Clip to the list `seen`."""
  groups, begin, seconds = collections.defaultdict(list), time.monotonic(), 0
  for clip, future in opened:
    seen.append(clip)
    try:
      future.result()
      clip.waiting += 1  # itself, until all its pieces are in groups
      for piece in ahead(pieces(clip, model)):
        clip.waiting += 1
        groups[len(piece.pcm)].append((clip, piece))
        for group in full(groups):
          yield from run_batch(model, group, writer)
        seconds += len(piece.pcm) / model.settings.sample_rate_hz
        bar.set_postfix_str(f'{seconds / (time.monotonic() - begin):.0f} x real time', refresh=False)
        bar.update(0)
      yield from closed([clip], model)
    except MediaError as error:
      for length, group in groups.items():
        groups[length] = [item for item in group if item[0] is not clip]
      if clip.writer:
        discard(clip, error)
      yield clip, error
  for group in filter(None, groups.values()):
    yield from run_batch(model, group, writer)


def full(groups):
  """Removes and yields the groups that fill a batch, or all groups where too many samples wait."""
  sizes = {length: length * len(group) for length, group in groups.items()}
  for length, size in sizes.items():
    if size >= BATCH_SAMPLES or sum(sizes.values()) > WAITING_SAMPLES:
      yield groups.pop(length)


def discard(clip, error):
  """Closes the output file of a clip with an error, so that nothing of it is kept."""
  with contextlib.suppress(type(error)):
    clip.writer.__exit__(type(error), error, error.__traceback__)


def open_clip(model, shortest, clip_samples, clip, decoded):
  """Decodes a clip, or its beginning where it is long; sets its `chunks`, `first_sample` and entries of `about`."""
  settings = model.settings
  sound = prefetch.sound_of(clip.source, settings.sample_rate_hz, settings.mono, decoded)
  if not isinstance(clip.source, waveforms.Waveform):
    clip.about['source_sha256'] = digest_of(clip.source)
  clip.first_sample, first = next(sound, (0, np.zeros(0, np.int16)))
  try:
    times, chunks = chunking.repeated(itertools.chain([first], (pcm for _, pcm in sound)), shortest)
  except MediaError:
    raise
  except UserError as error:
    raise MediaError(clip.source, str(error)) from None
  clip.about |= {'repeats': times, 'repeated_for': deepest(model) if times > 1 and not clip_samples else None}
  if clip_samples:
    chunks = prefetch.cut(chunks, clip_samples)
  held, size = [], 0
  for chunk in chunks:
    held.append(chunk)
    size += len(chunk)
    if size > SOUND_SAMPLES:
      break
  clip.chunks = chunking.chained(held, chunks)


def pieces(clip, model):
  """Yields chunking.Piece of a clip's sound; for networks without steps one per window, with its start as `keep`."""
  rate = model.settings.sample_rate_hz
  chunks, network = counted(clip, rate), registry.network(model.settings.student)
  if model.tables:
    chunks = chunking.padded(chunks, list(network.layer_windows.values())[-1]) if network.pads_last_patch else chunks
    yield from chunking.pieces(chunks, model.tables)
    samples = round(clip.about['sound_seconds'] * rate)
    clip.about['heard_seconds'] = (
      samples if network.pads_last_patch else receptive_field.covered_samples(samples, model.tables)
    ) / rate
    return
  window = params.Framing(model.settings.window_seconds, model.settings.window_seconds, rate)
  repeat, count = network.short_input == 'repeat', 0
  for index, pcm in windows.windows(prefetch.placed(chunks, clip.first_sample), window, repeat):
    count += 1
    yield chunking.Piece(pcm, None, index * window.hop_seconds)
  samples = round(clip.about['sound_seconds'] * rate)
  clip.about['heard_seconds'] = min(samples, count * window.window_samples) / rate
  if repeat and samples < window.window_samples:
    seconds = dict.fromkeys(('sound_seconds', 'heard_seconds'), window.window_seconds)
    clip.about |= {'repeats': windows.repetitions(samples, window)} | seconds


def counted(clip, rate):
  """Yields the chunks of a clip; sets `sound_seconds` and `heard_seconds` in `about` to their length at the end."""
  samples = 0
  for chunk in clip.chunks:
    samples += len(chunk)
    yield chunk
  clip.about |= dict.fromkeys(('sound_seconds', 'heard_seconds'), samples / rate)


def run_batch(model, group, writer):
  """Runs the network on a group of (Clip, Piece) of equal length and writes the steps; yields as `write_features`."""
  outputs = model.activations(np.stack([piece.pcm for _, piece in group]))
  if not all(np.isfinite(values).all() for values in outputs.values()):
    raise UserError('activations are not finite: the training of this student diverged; use another student')
  for number, (clip, piece) in enumerate(group):
    if clip.writer is None:
      clip.writer = contextlib.ExitStack()
      clip.add = clip.writer.enter_context(writer(clip))
    for layer, source in model.sources.items():
      values = outputs[source][number]
      if model.tables:
        begin, end = piece.keep[source]
        add_steps(clip, model, layer, source, values[begin:end])
      else:
        center = piece.keep + model.settings.window_seconds / 2
        add_rows(clip, layer, values[None], np.array([center]))
    yield from closed([clip], model)


def file_writer(kind):
  """The writer of clips as files; `kind` is a key of files.FORMATS."""
  write, name = files.FORMATS[kind]

  @contextlib.contextmanager
  def opened(clip):
    clip.output.parent.mkdir(parents=True, exist_ok=True)
    with write(clip.output) as add:
      yield lambda array, rows: add(name(array), rows)

  return opened


@contextlib.contextmanager
def collected(clip):
  """The writer of clips in memory: `output` becomes a dict of array to the list of its parts."""
  yield lambda array, rows: clip.output.setdefault(array, []).append(np.array(rows))


def add_steps(clip, model, layer, source, values):
  """Writes steps f32 [n, width] of a layer with their times, or adds them to the sums of a mean over time."""
  if model.is_mean(layer):
    total, count = clip.sums.get(layer, (0, 0))
    clip.sums[layer] = total + values.sum(0, dtype=np.float64), count + len(values)
    return
  field = receptive_field.receptive_field(model.tables[source])
  numbers = clip.steps[layer] + np.arange(len(values))
  clip.steps[layer] += len(values)
  centers = clip.first_sample + field.first_center + field.stride * numbers
  add_rows(clip, layer, values, centers / model.settings.sample_rate_hz)


def add_rows(clip, layer, values, centers):
  clip.add(layer, values)
  clip.add(f'{layer}/{files.CENTERS}', centers)


def closed(clips, model):
  """Counts down the waiting pieces of each clip; at zero it closes the clip's file and yields (clip, None)."""
  for clip in clips:
    clip.waiting -= 1
    if clip.waiting:
      continue
    middle = clip.first_sample / model.settings.sample_rate_hz + clip.about['heard_seconds'] / 2
    for layer, (total, count) in clip.sums.items():
      add_rows(clip, layer, (total / count)[None].astype(np.float32), np.array([middle]))
    clip.add('about', np.array([json.dumps(clip.about)]))
    clip.writer.close()
    yield clip, None
