"""When, in which sound files, the units of a layer are excited most (Aytar, Vondrick, Torralba 2016, figure 6)."""

import dataclasses
import itertools
import mimetypes
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import tqdm

from audionet_tf import geometry, layer_models, local_files, media, streaming, students, text
from audionet_tf.errors import MediaError, UserError

UNITS = 12  # shown where none are named
MOMENTS = 10  # shown of a unit


@dataclasses.dataclass(frozen=True)
class Ear:
  """A layer of a student, to be asked.

  Attributes:
    hear: int16 [samples] -> f32 [T, width].
    layer: its name.
    table: of the layer (`geometry`).
    settings: students.StudentSettings.
  """

  hear: Callable
  layer: str
  table: list
  settings: students.StudentSettings


def load_ear(path, layer):
  """The Ear at `path`, a run, an export or a .keras file. UserError where it has no such layer with steps in time."""
  model = layer_models.load(path, [layer])
  source, name = model.sources[layer], model.settings.student
  if not model.tables or model.is_mean(layer):
    tables = students.network(name).layers
    known = f'those of {name} are {", ".join(tables)}' if tables else f'{name} has none'
    raise UserError(f'layer is {layer!r}, allowed is one that has steps in time; {known}')
  return Ear(lambda pcm: model.hear(pcm[None])[source][0], layer, model.tables[source], model.settings)


def media_files(paths):
  """Sound and video files: those named, and of a folder those that their names tell to be such, sorted.

  Raises UserError where there is none.
  """
  found = []
  for path in map(pathlib.Path, paths):
    inside = sorted(p for p in path.iterdir() if is_media(p)) if path.is_dir() else [path]
    if not inside:
      raise UserError(f'{path}: no sound or video files in this folder')
    found += inside
  return found


def is_media(path):
  kind = mimetypes.guess_type(path.name)[0] or ''  # of x.wav.gz too
  return path.is_file() and not path.name.startswith('.') and kind.partition('/')[0] in ('audio', 'video')


@dataclasses.dataclass
class Strongest:
  """The strongest moments of every unit so far, and its statistics.

  Attributes:
    activations: f32 [n, width], falling; n is MOMENTS at the most.
    centers: f64 [n, width], the middle of what was heard, in samples from time zero of its file.
    files: int [n, width], position in the list of files.
    steps: how many were heard.
    sums, squares: f64 [width], of the activations of all steps.
  """

  activations: np.ndarray
  centers: np.ndarray
  files: np.ndarray
  steps: int
  sums: np.ndarray
  squares: np.ndarray

  def deviation(self):
    """f64 [width], over all steps."""
    return np.sqrt(np.maximum(0, self.squares / self.steps - np.square(self.sums / self.steps)))

  def selectivity(self):
    """f64 [width]: how far the mean of the moments lies above that of all steps, in deviations; 0 for the deaf."""
    spread = self.deviation()
    above = self.activations.mean(0, dtype=np.float64) - self.sums / self.steps
    return np.divide(above, spread, out=np.zeros_like(above), where=spread > 1e-6 * np.abs(above))


def joined(one, other):
  """The strongest moments and the statistics of two Strongest."""
  activations = np.concatenate([one.activations, other.activations])
  order = np.argsort(-activations, axis=0, kind='stable')[:MOMENTS]
  parts = (activations, np.concatenate([one.centers, other.centers]), np.concatenate([one.files, other.files]))
  return Strongest(
    *(np.take_along_axis(part, order, 0) for part in parts),
    one.steps + other.steps,
    one.sums + other.sums,
    one.squares + other.squares,
  )


def listen(ear, path, number):
  """Hears a file once, in constant memory: the strongest moment of every unit in each of its pieces (`streaming`).

  Args:
    ear: Ear.
    path: of a sound or video file.
    number: of the file, as the moments name it.

  Returns:
    Strongest. Sound too short for one step is repeated; its moments lie in the first turn.

  Raises:
    UserError: a file that cannot be read (MediaError), or numbers that are not finite.
  """
  steps, settings = geometry.steps(ear.table), ear.settings
  chunks = media.sound_chunks(path, settings.sample_rate_hz, settings.mono)
  begin, first = next(chunks)
  times, sound = streaming.repeated(itertools.chain([first], (pcm for _, pcm in chunks)), geometry.shortest(ear.table))
  before, found, length = 0, None, 0
  for piece in streaming.pieces(sound, {ear.layer: ear.table}):
    length = len(piece.pcm)
    activations = ear.hear(piece.pcm)[slice(*piece.keep[ear.layer])]  # [T, width]
    if not np.isfinite(activations).all():
      raise UserError('the student gives numbers that are not finite: its training diverged')
    if len(activations):
      one = strongest_of(activations, begin + steps.first_center + steps.hop * before, steps.hop, number)
      found = joined(found, one) if found else one
    before += len(activations)
  if times > 1:
    found.centers = begin + (found.centers - begin) % (length // times)
  return found


def strongest_of(activations, center, hop, number):
  """Strongest of one piece.

  Args:
    activations: f32 [T, width].
    center, hop: of its first step, and from step to step, in samples.
    number: of the file.
  """
  best = activations.argmax(0)[None]  # [1, width]
  return Strongest(
    np.take_along_axis(activations, best, 0),
    center + hop * best.astype(np.float64),
    np.full_like(best, number),
    len(activations),
    activations.sum(0, dtype=np.float64),
    np.square(activations, dtype=np.float64).sum(0),
  )


def listen_to_all(ear, paths):
  """(Strongest, list of unreadable paths). Raises UserError where none can be read."""
  found, unreadable = None, []
  for number, path in enumerate(tqdm.tqdm(paths, desc='listening', unit=' files', delay=1)):
    try:
      with local_files.unpacked(path) as sound:
        one = listen(ear, sound, number)
    except MediaError as error:
      unreadable.append(path)
      tqdm.tqdm.write(text.printable(f'{path}: {error.reason}'), file=sys.stderr)
      continue
    found = joined(found, one) if found else one
  if found is None:
    raise UserError(f'none of the {len(paths)} files can be read')
  return found, unreadable


def chosen_units(found, wanted):
  """Numbers of the units to show: those wanted, or the UNITS most selective. UserError where there is no such unit."""
  width = len(found.sums)
  wrong = [unit for unit in wanted if not 0 <= unit < width]
  if wrong:
    raise UserError(f'unit {wrong[0]}: the layer has {width}, allowed is 0 to {width - 1}')
  return list(wanted) or np.argsort(-found.selectivity(), kind='stable')[:UNITS].tolist()


def moments(found, unit):
  """[(file number, center in samples, activation)] of a unit, the strongest first; those above its mean alone."""
  rows = zip(found.files[:, unit], found.centers[:, unit], found.activations[:, unit], strict=True)
  mean = found.sums[unit] / found.steps
  return [(int(file), float(center), float(value)) for file, center, value in rows if value > mean]
