"""Features of many clips: files decoded in threads, sounds of equal length heard together, one file a clip."""

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
from audionet_tf.core import prefetch as core_prefetch
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.data import params
from audionet_tf.inference import chunking, windows
from audionet_tf.media import integrity, prefetch, waveforms
from audionet_tf.models import receptive_field, registry
from audionet_tf.representations import files

BATCH_SAMPLES = 1 << 19
WAITING_SAMPLES = 1 << 23  # in all groups
SOUND_SAMPLES = 1 << 22  # of a clip that is held as a whole; longer ones are read while they are heard


@dataclasses.dataclass
class Clip:
  """A clip on its way.

  Attributes:
    source: path, or a waveforms.Waveform.
    output: path of its file, or a dict that takes its arrays (`collected`).
    about: dict of `files`.
    first_sample: where its sound starts.
    chunks: iterator of int16 [n].
    writer: contextlib.ExitStack that its output file hangs on; `add` takes arrays.
    waiting: pieces that are not heard yet.
    steps: dict of layer to how many are written.
    sums: dict of layer to (sum of its source's steps f64 [width], how many), for means over time.
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
  """Writes `folder/<name>.<kind>` for every source that is not done; a file that cannot be read is told on stderr.

  Done is what holds this model's features of a source of the same bytes; those of another sound are written anew.

  Args:
    model: layer_models.LayerModel.
    sources: paths of sound or video files, or of ones packed as .gz.
    folder: exists.
    kind: key of feature_files.FORMATS.
    clip_seconds: every sound is repeated whole times, or cut, to this length; None: as it is, repeated only where it is
      too short for a layer. What fills a last step with silence, as YAMNet does, does so here.
    names: what they are called, no two the same, perhaps with sub-folders, which are made; None: their file names.

  Returns:
    dict: `outputs`, of source to path, in the order of `sources`, of what is there now; `unreadable`, paths; `renewed`,
    the outputs that held another sound.

  Raises:
    UserError: an output that is another model's; a layer too deep for `clip_seconds`; values that are not finite.
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
    for clip, error in heard_clips(model, opened, file_writer(kind), bar):
      bar.update()
      if error:
        tell(clip.source, error, unreadable)
        del outputs[clip.source]
  return {'outputs': outputs, 'unreadable': unreadable, 'renewed': renewed}


def features(model, sound, clip_seconds=None):
  """What `extract` writes of one sound, as arrays.

  Args:
    model: layer_models.LayerModel.
    sound: path of a sound or video file, or of one packed as .gz; or a waveforms.Waveform.
    clip_seconds: as for `extract`.

  Returns:
    dict of layer to (f32 [T, width], f64 [T] seconds, the middles of what the steps hear).

  Raises:
    MediaError: unreadable, damaged or without sound.
    UserError: as for `extract`.
  """
  opener, clip = clip_opener(model, clip_seconds), Clip(sound, {}, about_of(model, sound, clip_seconds))
  if isinstance(sound, waveforms.Waveform):
    opened = [(clip, completed(opener, clip, (sound.sample_rate_hz, sound.samples)))]
  else:
    integrity.check_regular(sound)
    opened = prefetch.opened_ahead([sound], [clip], opener)
  with tqdm.tqdm(disable=True) as bar:
    ((_, error),) = heard_clips(model, opened, collected, bar)
  if error:
    raise error
  arrays = {name: np.concatenate(parts) for name, parts in clip.output.items()}
  return {layer: (arrays[layer], arrays[f'{layer}/{files.CENTERS}']) for layer in model.sources}


def completed(function, *arguments):
  """The futures.Future of a call that is over."""
  future = futures.Future()
  future.set_result(function(*arguments))
  return future


def clip_opener(model, clip_seconds):
  """`open_clip` for the layers of a model; `clip_seconds` as for `extract`. UserError where these are too few."""
  shortest = max([receptive_field.minimum_input_length(table) for table in model.tables.values()], default=1)
  rate = model.settings.sample_rate_hz
  clip_samples = clip_seconds and round(durations.exact(clip_seconds) * rate)
  if clip_samples and clip_samples < shortest:
    raise UserError(f'clip_seconds is {clip_seconds}; these layers need at least {shortest / rate:.3f} s')
  shortest = 1 if registry.network(model.settings.student).fills else shortest
  return functools.partial(open_clip, model, clip_samples or shortest, clip_samples)


def about_of(model, source, clip_seconds):
  """The dict `about` of `files`, as far as it is known before the sound is heard."""
  return {
    'source': str(source),
    'student': model.settings.student,
    'model': model.digest,
    'sample_rate_hz': model.settings.sample_rate_hz,
    'layers': list(model.sources),
    'clip_seconds': clip_seconds,
  }


def deepest(model):
  """The layer that needs the longest sound; None of networks that hear windows."""
  needs = {
    layer: receptive_field.minimum_input_length(model.tables[source])
    for layer, source in model.sources.items()
    if model.tables
  }
  return max(needs, key=needs.get, default=None)


def digest_of(source):
  """sha256 of a source's bytes, hex. MediaError where it cannot be read."""
  with integrity.readable(source) as file:
    return digests.sha256(file)


def tell(source, error, unreadable):
  """Names a file that cannot be used, on stderr and in the list."""
  unreadable.append(str(source))
  line = ' '.join(f'{source}: {getattr(error, "reason", error)}'.split())
  tqdm.tqdm.write(f'error: {text.printable(line)}', file=sys.stderr)


def heard_clips(model, opened, writer, bar):
  """Yields (Clip, None) when its output is written, or (Clip, error) when it cannot be read.

  Args:
    model: layer_models.LayerModel.
    opened: iterable of (Clip, future of `open_clip`).
    writer: Clip -> context manager that gives its `add`.
    bar: tqdm.
  """
  groups, begin, heard = collections.defaultdict(list), time.monotonic(), 0
  for clip, future in opened:
    try:
      future.result()
      clip.waiting += 1  # itself, until all its pieces are in groups
      for piece in core_prefetch.ahead(pieces(clip, model)):
        clip.waiting += 1
        groups[len(piece.pcm)].append((clip, piece))
        for group in full(groups):
          yield from hear(model, group, writer)
        heard += len(piece.pcm) / model.settings.sample_rate_hz
        bar.set_postfix_str(f'{heard / (time.monotonic() - begin):.0f} x real time', refresh=False)
        bar.update(0)
      yield from closed([clip], model)
    except MediaError as error:
      for length, group in groups.items():
        groups[length] = [item for item in group if item[0] is not clip]
      if clip.writer:
        discard(clip, error)
      yield clip, error
  for group in filter(None, groups.values()):
    yield from hear(model, group, writer)


def full(groups):
  """Takes the groups out that fill a batch, or all where many clips of different lengths wait; yields them."""
  sizes = {length: length * len(group) for length, group in groups.items()}
  for length, size in sizes.items():
    if size >= BATCH_SAMPLES or sum(sizes.values()) > WAITING_SAMPLES:
      yield groups.pop(length)


def discard(clip, error):
  """Ends a clip's half-written file, which vanishes."""
  with contextlib.suppress(type(error)):
    clip.writer.__exit__(type(error), error, error.__traceback__)


def open_clip(model, shortest, clip_samples, clip, decoded):
  """Decodes a clip, or its beginning where it is long, and sets what is known of its sound."""
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
  """chunking.Piece of a clip's sound; of networks without steps, a window each, its `keep` the window's start."""
  rate = model.settings.sample_rate_hz
  heard, network = counted(clip, rate), registry.network(model.settings.student)
  if model.tables:
    heard = chunking.filled(heard, list(network.layers.values())[-1]) if network.fills else heard
    yield from chunking.pieces(heard, model.tables)
    samples = round(clip.about['sound_seconds'] * rate)
    clip.about['heard_seconds'] = (
      samples if network.fills else receptive_field.heard_samples(samples, model.tables)
    ) / rate
    return
  window = params.Framing(model.settings.window_seconds, model.settings.window_seconds, rate)
  repeat, count = network.short == 'repeat', 0
  for index, pcm in windows.windows(prefetch.placed(heard, clip.first_sample), window, repeat):
    count += 1
    yield chunking.Piece(pcm, None, index * window.hop_seconds)
  samples = round(clip.about['sound_seconds'] * rate)
  clip.about['heard_seconds'] = min(samples, count * window.window_samples) / rate
  if repeat and samples < window.window_samples:
    seconds = dict.fromkeys(('sound_seconds', 'heard_seconds'), window.window_seconds)
    clip.about |= {'repeats': windows.fillings(samples, window)} | seconds


def counted(clip, rate):
  """The chunks of a clip; afterwards `about` says how many seconds they are, all of them heard as yet."""
  samples = 0
  for chunk in clip.chunks:
    samples += len(chunk)
    yield chunk
  clip.about |= dict.fromkeys(('sound_seconds', 'heard_seconds'), samples / rate)


def hear(model, group, writer):
  """Gives the pieces of a group to the network and the steps to their clips' outputs; yields as `heard_clips`."""
  outputs = model.activations(np.stack([piece.pcm for _, piece in group]))
  if not all(np.isfinite(values).all() for values in outputs.values()):
    raise UserError('the student gives numbers that are not finite: its training diverged')
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
  """The writer of clips as files; `kind` is a key of feature_files.FORMATS."""
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
  """Writes steps with their times, or adds them to a mean."""
  if model.is_mean(layer):
    total, count = clip.sums.get(layer, (0, 0))
    clip.sums[layer] = total + values.sum(0, dtype=np.float64), count + len(values)
    return
  steps = receptive_field.receptive_field(model.tables[source])
  numbers = clip.steps[layer] + np.arange(len(values))
  clip.steps[layer] += len(values)
  centers = clip.first_sample + steps.first_center + steps.hop * numbers
  add_rows(clip, layer, values, centers / model.settings.sample_rate_hz)


def add_rows(clip, layer, values, centers):
  clip.add(layer, values)
  clip.add(f'{layer}/{files.CENTERS}', centers)


def closed(clips, model):
  """Counts a heard piece of each clip; those that were the last end their clip's file, which is yielded."""
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
