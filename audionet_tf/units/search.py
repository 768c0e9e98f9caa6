"""Finds the moments in sound files that activate the units of a layer most.

Source: Aytar, Vondrick, Torralba 2016, figure 6.
"""

import dataclasses
import itertools
import mimetypes
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import tqdm

from audionet_tf.core import files, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.inference import chunking
from audionet_tf.media import decoding
from audionet_tf.media.containers import integrity
from audionet_tf.models import receptive_field, registry, student_settings
from audionet_tf.saved_model import layer_outputs
from audionet_tf.units.activations import merge, top_in_piece


@dataclasses.dataclass(frozen=True)
class UnitProbe:
  """A layer of a student.

  Attributes:
    activations: function of sound, int16 [samples], to activations f32 [T, width].
    layer: its name.
    table: its sliding windows, a list of (kernel, stride, padding) (`receptive_field`).
    settings: student_settings.StudentConfig.
  """

  activations: Callable
  layer: str
  table: list
  settings: student_settings.StudentConfig


def load_unit_probe(path, layer):
  """Loads a layer of a student.

  Args:
    path: of a run, an export or a .keras file.
    layer: name of a layer with steps in time.

  Returns:
    UnitProbe.

  Raises:
    UserError: the student cannot be read, or has no such layer with steps in time.
  """
  model = layer_outputs.load(path, [layer])
  source, name = model.sources[layer], model.settings.student
  if not model.tables or model.is_mean(layer):
    tables = registry.network(name).layer_windows
    allowed = f'those of {name} are {", ".join(tables)}' if tables else f'{name} has none'
    raise UserError(f'layer is {layer!r}, allowed are layers with steps in time; {allowed}')
  return UnitProbe(lambda pcm: model.activations(pcm[None])[source][0], layer, model.tables[source], model.settings)


def media_files(paths):
  """Sound and video files.

  Args:
    paths: files, taken as they are, and folders, searched recursively for names of sound and video files.

  Returns:
    list of pathlib.Path, sorted within each folder.

  Raises:
    UserError: a folder holds no such file.
  """
  found = []
  for path in map(pathlib.Path, paths):
    inside = sorted(p for p in path.rglob('*') if is_media(p)) if path.is_dir() else [path]
    if not inside:
      raise UserError(f'{path}: no sound or video files in this folder or its subfolders')
    found += inside
  return found


def is_media(path):
  """Whether a path is that of no folder, not hidden, with the name of a sound or video file."""
  kind = mimetypes.guess_type(path.name)[0] or ''  # works for x.wav.gz too
  return files.is_no_folder(path) and not path.name.startswith('.') and kind.partition('/')[0] in ('audio', 'video')


def search_file(probe, path, number):
  """Top activations in a file, in one pass and constant memory: one moment per unit and piece (`chunking`).

  Args:
    probe: UnitProbe.
    path: of a sound or video file.
    number: index of the file, for `TopActivations.files`.

  Returns:
    TopActivations. Sound too short for one step is repeated; its moments lie in the first repetition.

  Raises:
    UserError: the file cannot be read (MediaError), or activations are not finite.
  """
  field, settings = receptive_field.receptive_field(probe.table), probe.settings
  chunks = decoding.decode_audio(path, settings.sample_rate_hz, settings.mono)
  begin, first = next(chunks)
  times, sound = chunking.repeated(
    itertools.chain([first], (pcm for _, pcm in chunks)), receptive_field.minimum_input_length(probe.table)
  )
  steps, top, length = 0, None, 0
  for piece in chunking.pieces(sound, {probe.layer: probe.table}):
    length = len(piece.pcm)
    activations = probe.activations(piece.pcm)[slice(*piece.keep[probe.layer])]  # [T, width]
    if not np.isfinite(activations).all():
      raise UserError('activations are not finite: the training of this student diverged; use another student')
    if len(activations):
      piece_top = top_in_piece(activations, begin + field.first_center + field.stride * steps, field.stride, number)
      top = merge(top, piece_top) if top else piece_top
    steps += len(activations)
  if times > 1:
    top.centers = begin + (top.centers - begin) % (length // times)
  return top


def search_files(probe, paths):
  """Top activations in several files.

  Args:
    probe: UnitProbe.
    paths: list of pathlib.Path of sound and video files.

  Returns:
    (TopActivations, list of the paths that cannot be read, which are reported on stderr).

  Raises:
    UserError: none of the files can be read.
  """
  top, unreadable = None, []
  for number, path in enumerate(tqdm.tqdm(paths, desc='searching', unit=' files', delay=1)):
    try:
      with integrity.decompressed(path) as sound:
        file_top = search_file(probe, sound, number)
    except MediaError as error:
      unreadable.append(path)
      tqdm.tqdm.write(text.printable(f'{path}: {error.reason}'), file=sys.stderr)
      continue
    top = merge(top, file_top) if top else file_top
  if top is None:
    raise UserError(f'none of the {len(paths)} files can be read')
  return top, unreadable
