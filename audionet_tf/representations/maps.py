"""Data of maps of clips: one feature vector per clip, and the groups that colour them."""

import collections
import itertools
import pathlib

import numpy as np
import tqdm

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables
from audionet_tf.inference import readers
from audionet_tf.media.containers import integrity
from audionet_tf.plotting import tsne
from audionet_tf.representations import files

SUFFIXES = ('.npz', '.h5', '.tfrecord')


def read_features(paths, layer):
  """Reads the mean over time of a layer for every clip.

  Args:
    paths: files of audionet_tf.features, or folders with such files, searched recursively.
    layer: name of the layer.

  Returns:
    (names of the clips, relative to the folder and without suffix; f32 [clips, width]).

  Raises:
    UserError: a file is missing or damaged, there are too few, or a layer is missing or differs in width.
  """
  paths = [pathlib.Path(path) for path in paths]
  inside = {path: sorted(p for p in path.rglob('*') if p.suffix in SUFFIXES) for path in paths if path.is_dir()}
  for file in itertools.chain(*inside.values()):
    integrity.check_regular(file)
  folders = {file: path if path in inside else file.parent for path in paths for file in inside.get(path, [path])}
  if len(folders) < tsne.FEWEST:
    places = ', '.join(map(str, paths[:3]))
    raise UserError(f'{places}: {len(folders)} clips with features, a map needs {tsne.FEWEST}; features writes them')
  rows = [read_mean(file, layer) for file in tqdm.tqdm(folders, desc='reading', unit=' clips', delay=2)]
  for file, row in zip(folders, rows, strict=True):
    if row.shape != rows[0].shape:
      raise UserError(f'{file}: {layer} has {row.size} channels, that of {next(iter(folders)).name} has {rows[0].size}')
  return [file.relative_to(folder).with_suffix('').as_posix() for file, folder in folders.items()], np.stack(rows)


def read_mean(path, layer):
  """Mean over time of a layer in a file of features, f32 [width]. UserError where it is missing or damaged."""
  layers = files.read_about(path).get('layers', [])
  if layer not in layers:
    raise UserError(f'{path}: no layer {layer!r} in it; it has {", ".join(map(str, layers))}')
  values, _ = files.read(path, [layer])[1][layer]  # [T, width]
  if not values.size or not np.isfinite(values).all():
    raise UserError(f'{path}: {layer} is empty or not finite; write this file again with features')
  return values.mean(0, dtype=np.float64).astype(np.float32)


def categories(path, names):
  """Categories of clips, from a table of clips (`clip_tables`).

  Args:
    path: of the CSV.
    names: list of str, paths of clips as in the table, or file names that are unique in it.

  Returns:
    list of str, one per name.

  Raises:
    UserError: the table is missing or damaged, or does not list the category of a clip.
  """
  clips = {clip.name: clip for clip in clip_tables.read(path)}
  counts = collections.Counter(clip.path.name for clip in clips.values())
  by_name = {clip.path.name: clip.category for clip in clips.values() if counts[clip.path.name] == 1}
  by_name |= {name: clip.category for name, clip in clips.items()}
  missing = [name for name in names if not by_name.get(name)]
  if missing:
    raise UserError(f'{path}: lists no category of {text.first_of(missing)}')
  return [by_name[name] for name in names]


def student_top1(folder, names):
  """The student's top-1 class of every clip: the highest mean probability over its windows.

  Args:
    folder: with `<name>.npz` or `<name>.json` of audionet_tf.infer.
    names: list of str, file names of the clips.

  Returns:
    list of str, class names.

  Raises:
    UserError: a file is missing or damaged.
  """
  folder = pathlib.Path(folder)
  classes = []
  for name in tqdm.tqdm(names, desc='predictions', unit=' clips', delay=2):
    paths = [folder / f'{name}{suffix}' for suffix in ('.npz', '.json')]
    inference = readers.read_inference(next((path for path in paths if path.is_file()), paths[0]))
    classes.append(inference.class_names[int(inference.probabilities.mean(0, dtype=np.float64).argmax())])
  return classes
