"""When, in which sound files, the units of a layer are excited most (Aytar, Vondrick, Torralba 2016, figure 6)."""

import dataclasses
import itertools
import mimetypes
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import tqdm

from audionet_tf.core import text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.inference import chunking
from audionet_tf.media import decoding, integrity
from audionet_tf.models import receptive_field, registry, student_file
from audionet_tf.saved_model import layer_outputs
from audionet_tf.units.activations import merge, strongest_of


@dataclasses.dataclass(frozen=True)
class UnitProbe:
  """A layer of a student, to be asked.

  Attributes:
    hear: int16 [samples] -> f32 [T, width].
    layer: its name.
    table: of the layer (`receptive_field`).
    settings: students.StudentSettings.
  """

  hear: Callable
  layer: str
  table: list
  settings: student_file.StudentConfig


def load_ear(path, layer):
  """The Ear at `path`, a run, an export or a .keras file. UserError where it has no such layer with steps in time."""
  model = layer_outputs.load(path, [layer])
  source, name = model.sources[layer], model.settings.student
  if not model.tables or model.is_mean(layer):
    tables = registry.network(name).layers
    known = f'those of {name} are {", ".join(tables)}' if tables else f'{name} has none'
    raise UserError(f'layer is {layer!r}, allowed is one that has steps in time; {known}')
  return UnitProbe(lambda pcm: model.activations(pcm[None])[source][0], layer, model.tables[source], model.settings)


def media_files(paths):
  """Sound and video files: those named, and of a folder and those in it those that their names tell to be such, sorted.

  Raises UserError where there is none.
  """
  found = []
  for path in map(pathlib.Path, paths):
    inside = sorted(p for p in path.rglob('*') if is_media(p)) if path.is_dir() else [path]
    if not inside:
      raise UserError(f'{path}: no sound or video files in this folder or those in it')
    found += inside
  return found


def is_media(path):
  kind = mimetypes.guess_type(path.name)[0] or ''  # of x.wav.gz too
  return path.is_file() and not path.name.startswith('.') and kind.partition('/')[0] in ('audio', 'video')


def listen(ear, path, number):
  """Hears a file once, in constant memory: the strongest moment of every unit in each of its pieces (`chunking`).

  Args:
    ear: Ear.
    path: of a sound or video file.
    number: of the file, as the moments name it.

  Returns:
    Strongest. Sound too short for one step is repeated; its moments lie in the first turn.

  Raises:
    UserError: a file that cannot be read (MediaError), or numbers that are not finite.
  """
  steps, settings = receptive_field.receptive_field(ear.table), ear.settings
  chunks = decoding.decode_audio(path, settings.sample_rate_hz, settings.mono)
  begin, first = next(chunks)
  times, sound = chunking.repeated(
    itertools.chain([first], (pcm for _, pcm in chunks)), receptive_field.minimum_input_length(ear.table)
  )
  before, found, length = 0, None, 0
  for piece in chunking.pieces(sound, {ear.layer: ear.table}):
    length = len(piece.pcm)
    activations = ear.hear(piece.pcm)[slice(*piece.keep[ear.layer])]  # [T, width]
    if not np.isfinite(activations).all():
      raise UserError('the student gives numbers that are not finite: its training diverged')
    if len(activations):
      one = strongest_of(activations, begin + steps.first_center + steps.hop * before, steps.hop, number)
      found = merge(found, one) if found else one
    before += len(activations)
  if times > 1:
    found.centers = begin + (found.centers - begin) % (length // times)
  return found


def listen_to_all(ear, paths):
  """(Strongest, list of unreadable paths). Raises UserError where none can be read."""
  found, unreadable = None, []
  for number, path in enumerate(tqdm.tqdm(paths, desc='listening', unit=' files', delay=1)):
    try:
      with integrity.decompressed(path) as sound:
        one = listen(ear, sound, number)
    except MediaError as error:
      unreadable.append(path)
      tqdm.tqdm.write(text.printable(f'{path}: {error.reason}'), file=sys.stderr)
      continue
    found = merge(found, one) if found else one
  if found is None:
    raise UserError(f'none of the {len(paths)} files can be read')
  return found, unreadable
